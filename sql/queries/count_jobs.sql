-- Count jobs by state and queue: live ones exactly, terminal ones that ended within the last 15 minutes, dead letters all.
-- No parameters.
-- No row: there is no job of that state and queue.
SELECT jobs.queue, jobs.status, count(*) AS jobs
  FROM jobs
 WHERE jobs.status = 'PENDING'
    OR jobs.status = 'RUNNING'
    OR jobs.status = 'FAILED'
    OR jobs.status = 'DEAD'
    OR (jobs.finished_at > clock_timestamp() - interval '15 minutes' AND jobs.status IN ('COMPLETED', 'CANCELLED'))
 GROUP BY jobs.queue, jobs.status
 ORDER BY jobs.queue, jobs.status
