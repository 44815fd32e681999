-- A worker's heartbeat.
-- $1 bigint   worker id
-- $2 integer  attempts it runs
-- $3 boolean  it is draining
-- No row: the worker's row was removed (it had been silent for very long): the worker must start anew.
UPDATE workers
   SET hb_seq = hb_seq + 1,
       seen_at = clock_timestamp(),
       running = $2,
       state = CASE WHEN $3 THEN 'draining' ELSE 'active' END
 WHERE id = $1
RETURNING drain_requested_at IS NOT NULL AS is_drain_requested
