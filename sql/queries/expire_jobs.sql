-- End PENDING jobs that have not had their first start by expires_at: DEAD, reason expired.
-- $1 bigint  at most so many
-- No row: none has expired. Their on_failure children are inserted in the same transaction; a named lock's line may move on.
WITH late AS MATERIALIZED (
    SELECT jobs.id
      FROM jobs
     WHERE jobs.status = 'PENDING'
       AND jobs.started_at IS NULL
       AND jobs.expires_at IS NOT NULL
       AND jobs.expires_at <= (SELECT clock_timestamp())
     ORDER BY jobs.expires_at
     LIMIT $1
       FOR UPDATE SKIP LOCKED
)
UPDATE jobs
   SET status = 'DEAD', reason = 'expired', finished_at = clock_timestamp()
  FROM late
 WHERE jobs.id = late.id
RETURNING jobs.id, jobs.round, jobs.lock, jobs.has_children
