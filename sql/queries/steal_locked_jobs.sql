-- Find, for each free named lock, its first waiter that has not expired, if that has been due for a while.
-- $1 text[]            queues
-- $2 double precision  due for at least this many seconds
-- $3 bigint            at most so many
-- No row: every lock is held, or nobody has waited so long.
SELECT head.id, head.lane
  FROM named_locks
 CROSS JOIN unnest($1::text[]) AS queue (name)
 CROSS JOIN LATERAL (
        SELECT jobs.id, jobs.lane, jobs.run_at
          FROM jobs
         WHERE jobs.lock = named_locks.name AND jobs.queue = queue.name AND jobs.status = 'PENDING'
           AND jobs.run_at <= clock_timestamp()
           AND (jobs.expires_at IS NULL OR jobs.started_at IS NOT NULL OR jobs.expires_at > clock_timestamp())
         ORDER BY jobs.lane, jobs.id
         LIMIT 1) AS head
 WHERE NOT EXISTS (SELECT FROM jobs AS holder WHERE holder.lock = named_locks.name AND holder.status = 'RUNNING')
   AND head.run_at <= clock_timestamp() - make_interval(secs => $2)
 ORDER BY head.lane, head.run_at, head.id
 LIMIT $3
