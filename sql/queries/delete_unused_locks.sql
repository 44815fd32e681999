-- Forget names of locks that nobody holds or waits for.
-- $1 double precision  made at least this many seconds ago
-- $2 bigint            at most so many
-- No row: all are in use. A FAILED job's lock may go: its name is written again when its retry falls due (dispatch_due).
WITH unused AS MATERIALIZED (
    SELECT named_locks.name
      FROM named_locks
     WHERE named_locks.created_at < clock_timestamp() - make_interval(secs => $1)
       AND NOT EXISTS (SELECT FROM jobs WHERE jobs.lock = named_locks.name AND jobs.status = 'PENDING')
       AND NOT EXISTS (SELECT FROM jobs WHERE jobs.lock = named_locks.name AND jobs.status = 'RUNNING')
     LIMIT $2
       FOR UPDATE SKIP LOCKED
)
DELETE FROM named_locks USING unused WHERE named_locks.name = unused.name
RETURNING named_locks.name
