-- Earlier workers of the same host, kernel boot and pid namespace as this one: whether their process lives can be seen there.
-- $1 bigint  worker id
-- No row: there is none. Claim columns are null for a worker that runs nothing.
SELECT earlier.id, earlier.pid, earlier.pid_start, earlier.hb_seq, jobs.id AS job_id, jobs.claim_id
  FROM workers AS own
  JOIN workers AS earlier
    ON earlier.host = own.host AND earlier.boot_id = own.boot_id AND earlier.pid_ns = own.pid_ns AND earlier.id < own.id
  LEFT JOIN jobs ON jobs.worker_id = earlier.id AND jobs.status = 'RUNNING'
 WHERE own.id = $1
 ORDER BY earlier.id, jobs.id
