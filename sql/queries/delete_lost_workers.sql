-- Forget workers that have been lost for long and run nothing.
-- $1 double precision  not seen for at least this many seconds
-- No row: there is none.
DELETE FROM workers
 WHERE workers.state = 'lost'
   AND workers.seen_at < clock_timestamp() - make_interval(secs => $1)
   AND NOT EXISTS (SELECT FROM jobs WHERE jobs.worker_id = workers.id AND jobs.status = 'RUNNING')
RETURNING workers.id
