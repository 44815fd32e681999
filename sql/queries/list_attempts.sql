-- A job's attempts, first to last.
-- $1 bigint  job id
-- No row: it has not been started, or there is no such job.
SELECT attempt, outcome, reason, exit_code, signal, broken_limit, error, worker_id, started_at, finished_at, cpu_s,
       peak_memory_bytes, leftover_processes, stdout_bytes, stderr_bytes, dropped_bytes
  FROM attempts
 WHERE job_id = $1
 ORDER BY attempt
