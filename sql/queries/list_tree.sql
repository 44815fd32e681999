-- The whole chain that a job belongs to, parents before their children, children in the order of their creation.
-- $1 bigint  job id
-- $2 bigint  at most so many
-- No row: there is no such job. The root is the first ancestor that was not deleted.
WITH RECURSIVE ancestor AS (
    SELECT jobs.id, jobs.parent_id, 0 AS height FROM jobs WHERE jobs.id = $1
    UNION ALL
    SELECT jobs.id, jobs.parent_id, ancestor.height + 1 FROM ancestor JOIN jobs ON jobs.id = ancestor.parent_id
), member AS (
    (SELECT ancestor.id, 0 AS depth FROM ancestor ORDER BY ancestor.height DESC LIMIT 1)
    UNION ALL
    SELECT jobs.id, member.depth + 1 FROM member JOIN jobs ON jobs.parent_id = member.id
)
SELECT jobs.id, job_specs.name, jobs.queue, jobs.lane, jobs.status, jobs.reason, jobs.parent_id, jobs.worker_id,
       job_specs.labels, jobs.lock, jobs.run_at, jobs.created_at, jobs.started_at, jobs.finished_at, jobs.max_retries,
       jobs.retries_used, job_specs.spec, jobs.attempt, jobs.round, jobs.dispatched, jobs.expires_at,
       jobs.cancel_requested_at
  FROM member
  JOIN jobs ON jobs.id = member.id
  JOIN job_specs ON job_specs.job_id = member.id
 ORDER BY member.depth, member.id
 LIMIT $2
