-- The states of jobs, for those who wait for a change.
-- $1 bigint[]  job ids
-- No row for an id: there is no such job.
SELECT id, status, attempt, round, cancel_requested_at IS NOT NULL AS is_cancel_requested
  FROM jobs
 WHERE id = ANY($1::bigint[])
