-- Jobs by id.
-- $1 bigint[]  job ids
-- No row for an id: there is no such job.
SELECT jobs.id, job_specs.name, jobs.queue, jobs.lane, jobs.status, jobs.reason, jobs.parent_id, jobs.worker_id,
       job_specs.labels, jobs.lock, jobs.run_at, jobs.created_at, jobs.started_at, jobs.finished_at, jobs.max_retries,
       jobs.retries_used, job_specs.spec, jobs.attempt, jobs.round, jobs.dispatched, jobs.expires_at,
       jobs.cancel_requested_at
  FROM jobs
  JOIN job_specs ON job_specs.job_id = jobs.id
 WHERE jobs.id = ANY($1::bigint[])
