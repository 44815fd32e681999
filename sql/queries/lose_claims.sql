-- End attempts whose worker is lost; their jobs run again at once, or end.
-- $1 bigint[]  job ids
-- $2 uuid[]    claim ids, one per job
-- $3 bigint[]  workers' hb_seq that was seen, one per job; null: the worker is known to be gone; -1: it had no row
-- $4 bigint[]  ids of the workers
-- No row for a job: the claim does not hold any more, its worker has beaten since, or either is beating or finishing now.
-- The worker's row is share-locked: a heartbeat either is seen here, or waits and then finds its claim gone.
WITH worker AS MATERIALIZED (
    SELECT workers.id, workers.hb_seq
      FROM workers
     WHERE workers.id = ANY($4::bigint[])
     ORDER BY workers.id
       FOR SHARE SKIP LOCKED
), lost AS MATERIALIZED (
    SELECT jobs.id, jobs.attempt, jobs.claim_id,
           CASE WHEN jobs.cancel_requested_at IS NOT NULL THEN 'CANCELLED'
                WHEN jobs.fail_on_loss OR jobs.retries_used >= jobs.max_retries THEN 'DEAD'
                ELSE 'PENDING' END AS next_status
      FROM jobs
      JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS claim (job_id, claim_id, hb_seq)
        ON claim.job_id = jobs.id AND claim.claim_id = jobs.claim_id
      LEFT JOIN worker ON worker.id = jobs.worker_id
     WHERE jobs.id = ANY($1::bigint[])
       AND (claim.hb_seq IS NULL OR claim.hb_seq = coalesce(worker.hb_seq, -1))
     ORDER BY jobs.id
       FOR UPDATE OF jobs SKIP LOCKED
), ended AS (
    UPDATE jobs
       SET status = lost.next_status,
           reason = CASE WHEN lost.next_status = 'DEAD' THEN 'worker_lost' END,
           claim_id = NULL,
           retries_used = jobs.retries_used + (lost.next_status = 'PENDING')::integer,
           run_at = CASE WHEN lost.next_status = 'PENDING' THEN clock_timestamp() ELSE jobs.run_at END,
           dispatched = true,
           finished_at = CASE WHEN lost.next_status <> 'PENDING' THEN clock_timestamp() END
      FROM lost
     WHERE jobs.id = lost.id
    RETURNING jobs.id, jobs.status, jobs.queue, jobs.lane, jobs.lock, jobs.round, jobs.has_children
), closed AS (
    UPDATE attempts
       SET outcome = 'lost',
           reason = 'worker_lost',
           finished_at = clock_timestamp(),
           (stdout_bytes, stderr_bytes) = (
               SELECT coalesce(sum(octet_length(output.data)) FILTER (WHERE output.stream = 1), 0),
                      coalesce(sum(octet_length(output.data)) FILTER (WHERE output.stream = 2), 0)
                 FROM output
                WHERE output.day = attempts.output_day
                  AND output.job_id = attempts.job_id
                  AND output.attempt = attempts.attempt)
      FROM lost
     WHERE attempts.job_id = lost.id AND attempts.attempt = lost.attempt AND attempts.claim_id = lost.claim_id
)
SELECT ended.id, ended.status, ended.queue, ended.lane, ended.lock, ended.round, ended.has_children, lost.claim_id
  FROM ended
  JOIN lost ON lost.id = ended.id
