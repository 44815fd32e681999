-- Which of these jobs a worker runs should be stopped.
-- $1 bigint    worker id
-- $2 bigint[]  job ids
-- No row: the job isn't this worker's, or nobody asked to cancel it.
SELECT jobs.id, jobs.claim_id
  FROM jobs
 WHERE jobs.id = ANY($2::bigint[]) AND jobs.worker_id = $1
   AND jobs.status = 'RUNNING' AND jobs.cancel_requested_at IS NOT NULL
