-- The first job id from which on no job is older than this. By bisection over the ids: created_at has no exact index.
-- $1 timestamptz  created at
-- Always one row; null where there are no jobs. Ids are drawn before created_at is taken, so leave a margin of more than
-- a statement's duration.
WITH RECURSIVE search AS (
    SELECT (SELECT min(job_specs.job_id) FROM job_specs) AS low, (SELECT max(job_specs.job_id) FROM job_specs) + 1 AS high
    UNION ALL
    SELECT CASE WHEN probe.created_at < $1 THEN probe.job_id + 1 ELSE search.low END,
           CASE WHEN probe.created_at < $1 THEN search.high ELSE search.low + (search.high - search.low) / 2 END
      FROM search
     CROSS JOIN LATERAL (
            SELECT job_specs.job_id, job_specs.created_at
              FROM job_specs
             WHERE job_specs.job_id >= search.low + (search.high - search.low) / 2
             ORDER BY job_specs.job_id
             LIMIT 1) AS probe
     WHERE search.low < search.high
)
SELECT max(search.low) AS first_id FROM search
