-- The first due waiter of each free named lock, one per queue: who may be claimed now that the lock is free.
-- $1 text[]  lock names
-- No row: the lock is held, or nobody waits (who has expired does not).
-- The recursion hops from queue to queue in the index, so that ten thousand waiters cost no more than one.
WITH RECURSIVE wanted AS (
    SELECT DISTINCT unnest($1::text[]) AS lock
), waiting AS (
    SELECT wanted.lock,
           (SELECT min(jobs.queue) FROM jobs WHERE jobs.lock = wanted.lock AND jobs.status = 'PENDING') AS queue
      FROM wanted
     WHERE NOT EXISTS (SELECT FROM jobs AS holder WHERE holder.lock = wanted.lock AND holder.status = 'RUNNING')
    UNION ALL
    SELECT waiting.lock,
           (SELECT min(jobs.queue) FROM jobs
             WHERE jobs.lock = waiting.lock AND jobs.status = 'PENDING' AND jobs.queue > waiting.queue)
      FROM waiting
     WHERE waiting.queue IS NOT NULL
)
SELECT head.id, head.queue, head.lane
  FROM waiting
 CROSS JOIN LATERAL (
        SELECT jobs.id, jobs.queue, jobs.lane
          FROM jobs
         WHERE jobs.lock = waiting.lock AND jobs.queue = waiting.queue AND jobs.status = 'PENDING'
           AND jobs.run_at <= clock_timestamp()
           AND (jobs.expires_at IS NULL OR jobs.started_at IS NOT NULL OR jobs.expires_at > clock_timestamp())
         ORDER BY jobs.lane, jobs.id
         LIMIT 1) AS head
