-- All that says why one job is where it is: its state, its last attempt and worker, who holds its lock, and what waits.
-- $1 bigint  job id
-- No row: there is no such job. Counts of jobs ahead stop at 10,000, and leave out who has expired. A worker listens while
-- it is active and was seen within two of its lease TTLs.
WITH job AS MATERIALIZED (
    SELECT jobs.id, jobs.queue, jobs.lane, jobs.status, jobs.reason, jobs.dispatched, jobs.run_at, jobs.expires_at,
           jobs.attempt, jobs.max_retries, jobs.retries_used, jobs.lock, jobs.worker_id, jobs.cancel_requested_at,
           jobs.finished_at, jobs.parent_id
      FROM jobs
     WHERE jobs.id = $1
), listening AS MATERIALIZED (
    SELECT workers.id, workers.slots
      FROM job
      JOIN workers ON workers.state = 'active'
                  AND workers.drain_requested_at IS NULL
                  AND job.queue = ANY(workers.queues)
                  AND workers.seen_at > clock_timestamp() - make_interval(secs => 2 * workers.lease_ttl_s)
), holder AS MATERIALIZED (
    SELECT jobs.id, jobs.worker_id, attempts.started_at
      FROM job
      JOIN jobs ON jobs.lock = job.lock AND jobs.status = 'RUNNING' AND jobs.id <> job.id
      LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.attempt = jobs.attempt
)
SELECT job.id, job.queue, job.status, job.reason, job.dispatched, job.run_at, job.expires_at, job.attempt,
       job.max_retries, job.retries_used, job.lock, job.worker_id, job.cancel_requested_at, job.finished_at,
       clock_timestamp() AS now,
       attempts.started_at AS attempt_started_at, attempts.outcome, attempts.exit_code, attempts.signal,
       attempts.broken_limit, attempts.error,
       workers.host AS worker_host, workers.state AS worker_state, workers.seen_at AS worker_seen_at,
       COALESCE(workers.state = 'lost'
                OR workers.seen_at < clock_timestamp() - make_interval(secs => workers.lease_ttl_s),
                true) AS is_worker_silent,
       holder.id AS holder_id, holder.started_at AS holder_started_at,
       (SELECT count(*)::integer FROM listening) AS listening,
       (SELECT COALESCE(sum(listening.slots), 0)::integer FROM listening) AS slots,
       (SELECT count(*)::integer
          FROM jobs
         WHERE jobs.status = 'RUNNING' AND jobs.worker_id IN (SELECT listening.id FROM listening)) AS running,
       (SELECT count(*)::integer
          FROM (SELECT 1
                  FROM jobs
                 WHERE jobs.queue = job.queue AND jobs.status = 'PENDING' AND jobs.lock IS NULL
                   AND jobs.run_at <= (SELECT clock_timestamp())
                   AND (jobs.lane, jobs.run_at, jobs.id) < (job.lane, job.run_at, job.id)
                   AND (jobs.expires_at IS NULL OR jobs.started_at IS NOT NULL OR jobs.expires_at > clock_timestamp())
                 LIMIT 10000) AS ahead) AS ahead,
       (SELECT count(*)::integer
          FROM (SELECT 1
                  FROM jobs
                 WHERE jobs.lock = job.lock AND jobs.status = 'PENDING' AND jobs.run_at <= clock_timestamp()
                   AND jobs.id <> job.id
                   AND (jobs.expires_at IS NULL OR jobs.started_at IS NOT NULL OR jobs.expires_at > clock_timestamp())
                   AND (jobs.queue <> job.queue OR (jobs.lane, jobs.id) < (job.lane, job.id))
                 LIMIT 10000) AS ahead) AS ahead_for_lock
  FROM job
  LEFT JOIN attempts ON attempts.job_id = job.id AND attempts.attempt = job.attempt
  LEFT JOIN workers ON workers.id = job.worker_id
  LEFT JOIN holder ON true
