-- Every worker's heartbeat counter, for rescue, which watches for those that stand still.
-- No row: there are no workers. A worker id that only running jobs name (its row is gone) is listed with hb_seq -1.
SELECT workers.id, workers.hb_seq, workers.lease_ttl_s, workers.state = 'lost' AS is_marked
  FROM workers
UNION ALL
SELECT DISTINCT jobs.worker_id, -1::bigint, 0::double precision, true
  FROM jobs
 WHERE jobs.status = 'RUNNING'
   AND NOT EXISTS (SELECT FROM workers WHERE workers.id = jobs.worker_id)
