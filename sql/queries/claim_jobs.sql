-- Claim the jobs that are still PENDING, due and free of their named lock; a claim is a heartbeat of its worker.
-- $1 bigint     worker id
-- $2 bigint[]   job ids
-- $3 uuid[]     claim ids, one per job, made by the worker
-- No row for a job: a stale message (run, cancelled, not yet due, its lock taken or waited for by an earlier job), or the
-- worker's own row is gone. Unique violation: two jobs of one lock were claimed at once; claim them singly.
-- A lock's first waiter is looked up, not compared with: "no earlier one exists" reads all ten thousand waiters' index entries.
-- One that has expired holds up nobody, though it is PENDING until maintenance ends it.
WITH beat AS (
    UPDATE workers
       SET hb_seq = hb_seq + 1,
           seen_at = clock_timestamp(),
           state = CASE WHEN state = 'lost' THEN 'active' ELSE state END
     WHERE id = $1
    RETURNING id
), ready AS MATERIALIZED (
    SELECT jobs.id
      FROM beat, jobs
     WHERE jobs.id = ANY($2::bigint[])
       AND jobs.status = 'PENDING'
       AND jobs.run_at <= clock_timestamp()
       AND (jobs.expires_at IS NULL OR jobs.started_at IS NOT NULL OR jobs.expires_at > clock_timestamp())
       AND (jobs.lock IS NULL OR (
               NOT EXISTS (SELECT FROM jobs AS holder
                            WHERE holder.lock = jobs.lock AND holder.status = 'RUNNING')
           AND jobs.id = (SELECT head.id
                            FROM jobs AS head
                           WHERE head.lock = jobs.lock AND head.queue = jobs.queue AND head.status = 'PENDING'
                             AND head.run_at <= clock_timestamp()
                             AND (head.expires_at IS NULL OR head.started_at IS NOT NULL
                                  OR head.expires_at > clock_timestamp())
                           ORDER BY head.lane, head.id
                           LIMIT 1)))
     ORDER BY jobs.id
       FOR UPDATE OF jobs SKIP LOCKED
), claimed AS (
    UPDATE jobs
       SET status = 'RUNNING',
           attempt = jobs.attempt + 1,
           claim_id = wanted.claim_id,
           worker_id = $1,
           dispatched = true,
           started_at = coalesce(jobs.started_at, clock_timestamp())
      FROM ready
      JOIN unnest($2::bigint[], $3::uuid[]) AS wanted (job_id, claim_id) ON wanted.job_id = ready.id
     WHERE jobs.id = ready.id
    RETURNING jobs.id, jobs.queue, jobs.lane, jobs.attempt, jobs.round, jobs.claim_id, jobs.retries_used, jobs.lock,
              jobs.parent_id, jobs.parent_edge, jobs.parent_round
), opened AS (
    INSERT INTO attempts (job_id, attempt, claim_id, round, worker_id)
    SELECT claimed.id, claimed.attempt, claimed.claim_id, claimed.round, $1 FROM claimed
)
SELECT claimed.id, claimed.queue, claimed.lane, claimed.attempt, claimed.claim_id, claimed.retries_used, claimed.lock,
       job_specs.spec::text AS spec,
       claimed.parent_id, claimed.parent_edge, parent.attempt AS parent_attempt, parent.exit_code AS parent_exit_code
  FROM claimed
  JOIN job_specs ON job_specs.job_id = claimed.id
  LEFT JOIN LATERAL (
        SELECT attempts.attempt, attempts.exit_code
          FROM attempts
         WHERE attempts.job_id = claimed.parent_id AND attempts.round = claimed.parent_round
         ORDER BY attempts.attempt DESC
         LIMIT 1) AS parent ON true
