-- How many jobs were submitted and how many ended in the last minute and the last 15.
-- $1 bigint  first id: one below all jobs of the last 15 minutes (find_first_id)
-- Always one row.
WITH clock AS MATERIALIZED (
    SELECT clock_timestamp() - interval '1 minute' AS minute_ago, clock_timestamp() - interval '15 minutes' AS quarter_ago
), submitted AS (
    SELECT count(*) FILTER (WHERE job_specs.created_at > clock.minute_ago) AS in_1_min, count(*) AS in_15_min
      FROM clock
      JOIN job_specs ON job_specs.job_id >= $1::bigint AND job_specs.created_at > clock.quarter_ago
), ended AS (
    SELECT count(*) FILTER (WHERE jobs.status = 'COMPLETED' AND jobs.finished_at > clock.minute_ago) AS completed_in_1_min,
           count(*) FILTER (WHERE jobs.status = 'COMPLETED') AS completed_in_15_min,
           count(*) FILTER (WHERE jobs.status = 'DEAD' AND jobs.finished_at > clock.minute_ago) AS dead_in_1_min,
           count(*) FILTER (WHERE jobs.status = 'DEAD') AS dead_in_15_min
      FROM clock
      JOIN jobs ON jobs.finished_at > clock.quarter_ago
)
SELECT submitted.in_1_min AS submitted_in_1_min, submitted.in_15_min AS submitted_in_15_min,
       ended.completed_in_1_min, ended.completed_in_15_min, ended.dead_in_1_min, ended.dead_in_15_min
  FROM submitted, ended
