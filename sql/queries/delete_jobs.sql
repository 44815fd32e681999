-- Delete terminal jobs with all that belongs to them: spec, attempts, output, idempotency key. The audit stays.
-- $1 bigint[]  job ids
-- $2 text[]    statuses: of COMPLETED, DEAD, CANCELLED: those that may be deleted now
-- $3 text      actor
-- No row for an id: there is no such job. Else status is the last one; is_deleted tells whether it was one of $2.
WITH target AS MATERIALIZED (
    SELECT jobs.id, jobs.status
      FROM jobs
     WHERE jobs.id = ANY($1::bigint[])
     ORDER BY jobs.id
       FOR UPDATE
), deleted AS (
    DELETE FROM jobs
     USING target
     WHERE jobs.id = target.id AND target.status = ANY($2::text[]) AND target.status IN ('COMPLETED', 'DEAD', 'CANCELLED')
    RETURNING jobs.id
), forgotten_specs AS (
    DELETE FROM job_specs USING deleted WHERE job_specs.job_id = deleted.id RETURNING job_specs.job_id, job_specs.name
), forgotten_keys AS (
    DELETE FROM idempotency_keys USING deleted WHERE idempotency_keys.job_id = deleted.id
), forgotten_attempts AS (
    DELETE FROM attempts USING deleted WHERE attempts.job_id = deleted.id
    RETURNING attempts.job_id, attempts.attempt, attempts.output_day
), forgotten_output AS (
    DELETE FROM output
     USING forgotten_attempts
     WHERE output.day = forgotten_attempts.output_day
       AND output.job_id = forgotten_attempts.job_id
       AND output.attempt = forgotten_attempts.attempt
), audited AS (
    INSERT INTO audit (actor, action, job_id, detail)
    SELECT $3, 'job.delete', forgotten_specs.job_id, jsonb_build_object('name', forgotten_specs.name) FROM forgotten_specs
)
SELECT target.id, target.status, target.id IN (SELECT deleted.id FROM deleted) AS is_deleted FROM target
