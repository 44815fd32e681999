-- All workers, oldest first. One that was asked to drain counts as draining before it has read so.
-- No row: no worker has a row.
SELECT id, host, pid, version, queues, slots, running, seen_at,
       CASE WHEN state = 'active' AND drain_requested_at IS NOT NULL THEN 'draining' ELSE state END AS state
  FROM workers
 ORDER BY id
