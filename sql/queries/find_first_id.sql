-- The first job id at or after which no job is older than this: bisection over the ids, since there is no exact index on created_at.
-- $1 created_at timestamptz
-- Null: all jobs are older. Ids are handed out before created_at is taken, so leave a margin of more than a statement's duration.
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
