-- Count jobs by queue and state, all but COMPLETED, from the indexes that hold these states alone.
-- oldest_at: when the longest waiting PENDING job fell due, or will; null for other states.
-- No row for a queue and state: there is no such job.
WITH part AS (
    SELECT queue, status, count(*) AS jobs, min(run_at) AS oldest_at
      FROM jobs
     WHERE status = 'PENDING' AND lock IS NULL
     GROUP BY queue, status
    UNION ALL
    SELECT queue, status, count(*), min(run_at)
      FROM jobs
     WHERE status = 'PENDING' AND lock IS NOT NULL
     GROUP BY queue, status
    UNION ALL
    SELECT queue, status, count(*), NULL FROM jobs WHERE status = 'RUNNING' GROUP BY queue, status
    UNION ALL
    SELECT queue, status, count(*), NULL
      FROM jobs
     WHERE status IN ('FAILED', 'DEAD', 'CANCELLED')
     GROUP BY queue, status
)
SELECT queue, status, sum(jobs)::bigint AS jobs, min(oldest_at) AS oldest_at, clock_timestamp() AS now
  FROM part
 GROUP BY queue, status
 ORDER BY queue, status
