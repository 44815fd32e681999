-- Ask a worker to drain, with an audit row for the first time; the first request's time stands. A lost one is left as it is.
-- $1 bigint  worker id
-- $2 text    actor
-- No row: there is no such worker. State lost: nothing was asked.
WITH target AS MATERIALIZED (
    SELECT workers.id, workers.host, workers.pid, workers.version, workers.queues, workers.slots, workers.running,
           workers.seen_at, workers.state, workers.drain_requested_at
      FROM workers
     WHERE workers.id = $1
       FOR UPDATE
), asked AS (
    UPDATE workers
       SET drain_requested_at = coalesce(target.drain_requested_at, clock_timestamp())
      FROM target
     WHERE workers.id = target.id AND target.state <> 'lost'
), audited AS (
    INSERT INTO audit (actor, action, detail)
    SELECT $2, 'worker.drain', jsonb_build_object('worker', target.id)
      FROM target
     WHERE target.drain_requested_at IS NULL AND target.state <> 'lost'
)
SELECT id, host, pid, version, queues, slots, running, seen_at,
       CASE state WHEN 'active' THEN 'draining' ELSE state END AS state
  FROM target
