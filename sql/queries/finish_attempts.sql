-- Record attempts' results, each only while its claim holds: attempt, job and last output in one statement.
-- $1 bigint[]             job ids
-- $2 uuid[]               claim ids
-- $3 text[]               the job's next status: COMPLETED, FAILED, DEAD, PENDING (released) or CANCELLED
-- $4 text[]               outcomes
-- $5 text[]               reasons, null when succeeded, released or cancelled
-- $6 double precision[]   seconds until the retry, for FAILED
-- $7 integer[]            exit codes
-- $8 text[]               signals
-- $9 text[]               broken limits
-- $10 text[]              texts of start errors
-- $11 double precision[]  CPU seconds
-- $12 bigint[]            peak memory in bytes
-- $13 integer[]           processes left over and killed
-- $14 bigint[]            bytes written to stdout
-- $15 bigint[]            bytes written to stderr
-- $16 bigint[]            bytes dropped
-- $17 uuid[]              output: claim ids
-- $18 bigint[]            output: sequence numbers
-- $19 smallint[]          output: streams
-- $20 timestamptz[]       output: times of arrival
-- $21 bytea[]             output: data
-- No row for a claim: it does not hold (fenced), or an earlier call had committed and its answer was lost.
-- Who has the claim is RUNNING (a CHECK). Saying so here would lead the planner to the index of running jobs, which has an entry
-- for every claim since the last vacuum.
-- A job whose cancellation was asked for ends CANCELLED, unless it succeeded.
WITH held AS MATERIALIZED (
    SELECT jobs.id, jobs.attempt, result.*,
           CASE WHEN jobs.cancel_requested_at IS NOT NULL AND result.status <> 'COMPLETED'
                THEN 'CANCELLED' ELSE result.status END AS next_status
      FROM jobs
      JOIN unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::double precision[], $7::integer[],
                  $8::text[], $9::text[], $10::text[], $11::double precision[], $12::bigint[], $13::integer[],
                  $14::bigint[], $15::bigint[], $16::bigint[])
           AS result (job_id, claim_id, status, outcome, reason, retry_delay_s, exit_code, signal, broken_limit, error,
                      cpu_s, peak_memory_bytes, leftover_processes, stdout_bytes, stderr_bytes, dropped_bytes)
        ON result.job_id = jobs.id AND result.claim_id = jobs.claim_id
     WHERE jobs.id = ANY($1::bigint[])
     ORDER BY jobs.id
       FOR UPDATE OF jobs
), ended AS (
    UPDATE jobs
       SET status = held.next_status,
           reason = CASE WHEN held.next_status IN ('FAILED', 'DEAD') THEN held.reason END,
           claim_id = NULL,
           retries_used = jobs.retries_used + (held.next_status = 'FAILED')::integer,
           run_at = CASE WHEN held.next_status = 'FAILED' THEN clock_timestamp() + make_interval(secs => held.retry_delay_s)
                         ELSE jobs.run_at END,
           dispatched = held.next_status <> 'FAILED',
           finished_at = CASE WHEN held.next_status IN ('COMPLETED', 'DEAD', 'CANCELLED') THEN clock_timestamp() END
      FROM held
     WHERE jobs.id = held.id
    RETURNING jobs.id, jobs.status, jobs.queue, jobs.lane, jobs.lock, jobs.round, jobs.has_children, held.claim_id
), closed AS (
    UPDATE attempts
       SET outcome = held.outcome,
           reason = held.reason,
           exit_code = held.exit_code,
           signal = held.signal,
           broken_limit = held.broken_limit,
           error = held.error,
           finished_at = clock_timestamp(),
           cpu_s = held.cpu_s,
           peak_memory_bytes = held.peak_memory_bytes,
           leftover_processes = held.leftover_processes,
           stdout_bytes = held.stdout_bytes,
           stderr_bytes = held.stderr_bytes,
           dropped_bytes = held.dropped_bytes
      FROM held
     WHERE attempts.job_id = held.id AND attempts.attempt = held.attempt AND attempts.claim_id = held.claim_id
    RETURNING attempts.job_id, attempts.attempt, attempts.claim_id, attempts.output_day
), written AS (
    INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)
    SELECT closed.output_day, closed.job_id, closed.attempt, chunk.seq, chunk.stream, chunk.ts, chunk.data
      FROM closed
      JOIN unnest($17::uuid[], $18::bigint[], $19::smallint[], $20::timestamptz[], $21::bytea[])
           AS chunk (claim_id, seq, stream, ts, data) ON chunk.claim_id = closed.claim_id
)
SELECT ended.id, ended.status, ended.queue, ended.lane, ended.lock, ended.round, ended.has_children, ended.claim_id
  FROM ended
