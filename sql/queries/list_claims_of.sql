-- The claims that PostgreSQL counts as running on these workers.
-- $1 bigint[]  worker ids
-- No row: they run nothing.
SELECT jobs.id, jobs.claim_id, jobs.worker_id
  FROM jobs
 WHERE jobs.status = 'RUNNING' AND jobs.worker_id = ANY($1::bigint[])
 ORDER BY jobs.worker_id, jobs.id
