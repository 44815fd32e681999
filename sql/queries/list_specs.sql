-- The normalised specs of these jobs.
-- $1 bigint[]  job ids
-- No row for a job: it was deleted.
SELECT job_id, spec FROM job_specs WHERE job_id = ANY($1::bigint[])
