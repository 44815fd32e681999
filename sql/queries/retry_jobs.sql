-- Send jobs round again: DEAD, FAILED and CANCELLED ones become PENDING, due now, with fresh retries and no expiry.
-- $1 bigint[]  job ids
-- $2 text[]    statuses: of DEAD, FAILED, CANCELLED: those that may be retried now
-- $3 text      actor
-- No row for an id: there is no such job. Else status is the one before; is_retried tells whether it was one of $2.
-- claim_id is null already in the row that was locked. But where that lock was waited for, CHECKs are evaluated first over
-- the row of the statement's snapshot, which may be RUNNING still.
WITH target AS MATERIALIZED (
    SELECT jobs.id, jobs.status, jobs.queue, jobs.lane, jobs.lock
      FROM jobs
     WHERE jobs.id = ANY($1::bigint[])
     ORDER BY jobs.id
       FOR UPDATE
), retried AS (
    UPDATE jobs
       SET status = 'PENDING', claim_id = NULL, reason = NULL, finished_at = NULL, expires_at = NULL,
           cancel_requested_at = NULL, retries_used = 0, round = jobs.round + 1, run_at = clock_timestamp(), dispatched = jobs.lock IS NULL
      FROM target
     WHERE jobs.id = target.id AND target.status = ANY($2::text[]) AND target.status IN ('DEAD', 'FAILED', 'CANCELLED')
    RETURNING jobs.id, jobs.lock
), named AS (
    INSERT INTO named_locks (name)
    SELECT DISTINCT retried.lock FROM retried WHERE retried.lock IS NOT NULL ORDER BY retried.lock
    ON CONFLICT (name) DO NOTHING
), audited AS (
    INSERT INTO audit (actor, action, job_id, detail)
    SELECT $3, 'job.retry', retried.id, jsonb_build_object('status', target.status)
      FROM retried
      JOIN target ON target.id = retried.id
)
SELECT target.id, target.status, target.queue, target.lane, target.lock,
       target.id IN (SELECT retried.id FROM retried) AS is_retried
  FROM target
