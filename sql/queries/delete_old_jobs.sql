-- Delete terminal jobs past retention with their specs, attempts and idempotency keys. Their output goes with its day.
-- $1 double precision  retention in seconds
-- $2 bigint            at most so many
-- No row: there is none. A job stays while a child of it is still to run: that may read its output.
-- (A scalar subquery, since NOT EXISTS might be planned as a join with all jobs.)
WITH old AS MATERIALIZED (
    SELECT jobs.id
      FROM jobs
     WHERE jobs.finished_at < (SELECT clock_timestamp() - make_interval(secs => $1))
       AND (SELECT true FROM jobs AS child
             WHERE child.parent_id = jobs.id AND child.status IN ('PENDING', 'RUNNING', 'FAILED')
             LIMIT 1) IS NULL
     ORDER BY jobs.finished_at
     LIMIT $2
       FOR UPDATE OF jobs SKIP LOCKED
), deleted AS (
    DELETE FROM jobs USING old WHERE jobs.id = old.id RETURNING jobs.id
), forgotten_specs AS (
    DELETE FROM job_specs USING deleted WHERE job_specs.job_id = deleted.id
), forgotten_keys AS (
    DELETE FROM idempotency_keys USING deleted WHERE idempotency_keys.job_id = deleted.id
), forgotten_attempts AS (
    DELETE FROM attempts USING deleted WHERE attempts.job_id = deleted.id
)
SELECT deleted.id FROM deleted
