-- Forget a worker that has stopped with nothing running.
-- $1 bigint  worker id
-- No row: it is gone already, or PostgreSQL still counts an attempt as its own (rescue needs the row then).
DELETE FROM workers
 WHERE id = $1
   AND NOT EXISTS (SELECT FROM jobs WHERE jobs.worker_id = $1 AND jobs.status = 'RUNNING')
RETURNING id
