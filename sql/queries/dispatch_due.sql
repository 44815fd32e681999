-- Dispatch what has fallen due: FAILED jobs whose retry is due become PENDING, and delayed jobs count as published.
-- $1 double precision  due for at least this many seconds
-- $2 bigint            at most so many
-- No row: nothing is due. The caller publishes the rows after the commit: those without a lock themselves, for the others
-- the heads of their locks. SKIP LOCKED lets any number of processes share the work.
-- The time is a scalar subquery, since a volatile function can't bound an index scan: all delayed jobs would be read.
WITH due AS MATERIALIZED (
    SELECT jobs.id
      FROM jobs
     WHERE jobs.status IN ('PENDING', 'FAILED')
       AND NOT jobs.dispatched
       AND jobs.run_at <= (SELECT clock_timestamp() - make_interval(secs => $1))
     ORDER BY jobs.run_at, jobs.id
     LIMIT $2
       FOR UPDATE SKIP LOCKED
), dispatched AS (
    UPDATE jobs
       SET status = 'PENDING', reason = NULL, dispatched = true
      FROM due
     WHERE jobs.id = due.id
    RETURNING jobs.id, jobs.queue, jobs.lane, jobs.lock
), named AS (
    INSERT INTO named_locks (name)
    SELECT DISTINCT dispatched.lock FROM dispatched WHERE dispatched.lock IS NOT NULL ORDER BY dispatched.lock
    ON CONFLICT (name) DO NOTHING
)
SELECT dispatched.id, dispatched.queue, dispatched.lane, dispatched.lock
  FROM dispatched
 ORDER BY dispatched.lane, dispatched.id
