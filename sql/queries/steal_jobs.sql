-- Find jobs that have been due for a while and that no message brought to a worker: candidates for a claim.
-- $1 text[]            queues
-- $2 double precision  due for at least this many seconds
-- $3 bigint            at most so many
-- No row: nothing is overdue. A candidate may be claimed by another worker first; only claim_jobs decides.
-- The time is a scalar subquery, since a volatile function can't bound an index scan: all delayed jobs would be read.
WITH queue AS (
    SELECT unnest($1::text[]) AS name
), lane AS (
    SELECT generate_series(0, 2)::smallint AS number
)
SELECT due.id, due.lane
  FROM queue
 CROSS JOIN lane
 CROSS JOIN LATERAL (
        SELECT jobs.id, jobs.lane, jobs.run_at
          FROM jobs
         WHERE jobs.status = 'PENDING' AND jobs.lock IS NULL
           AND jobs.queue = queue.name AND jobs.lane = lane.number
           AND jobs.run_at <= (SELECT clock_timestamp() - make_interval(secs => $2))
         ORDER BY jobs.run_at, jobs.id
         LIMIT $3) AS due
 ORDER BY due.lane, due.run_at, due.id
 LIMIT $3
