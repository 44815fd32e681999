-- What PostgreSQL believes that a worker runs.
-- $1 bigint  worker id
-- No row: nothing.
SELECT jobs.id, jobs.claim_id, jobs.cancel_requested_at IS NOT NULL AS is_cancel_requested
  FROM jobs
 WHERE jobs.worker_id = $1 AND jobs.status = 'RUNNING'
