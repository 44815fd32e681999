-- Cancel a job: at once where it doesn't run; where it does, its worker is asked to, and the first request's time stands.
-- $1 bigint  job id
-- $2 text    actor
-- No row: there is no such job. Else status is the one before; COMPLETED, DEAD and CANCELLED are left as they are.
-- claim_id is null already in the row that was locked: see retry_jobs.
WITH target AS MATERIALIZED (
    SELECT jobs.id, jobs.status, jobs.lock, jobs.cancel_requested_at FROM jobs WHERE jobs.id = $1 FOR UPDATE
), cancelled AS (
    UPDATE jobs
       SET status = 'CANCELLED', claim_id = NULL, reason = NULL, finished_at = clock_timestamp()
      FROM target
     WHERE jobs.id = target.id AND target.status IN ('PENDING', 'FAILED')
    RETURNING jobs.id
), asked AS (
    UPDATE jobs
       SET cancel_requested_at = clock_timestamp()
      FROM target
     WHERE jobs.id = target.id AND target.status = 'RUNNING' AND target.cancel_requested_at IS NULL
    RETURNING jobs.id
), audited AS (
    INSERT INTO audit (actor, action, job_id)
    SELECT $2, 'job.cancel', changed.id FROM (SELECT id FROM cancelled UNION ALL SELECT id FROM asked) AS changed
)
SELECT target.id, target.status, target.lock FROM target
