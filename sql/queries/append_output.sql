-- Store output of running attempts, while their claims are open.
-- $1 bigint[]       job ids
-- $2 integer[]      attempts
-- $3 uuid[]         claim ids
-- $4 bigint[]       sequence numbers
-- $5 smallint[]     streams: 1 stdout, 2 stderr
-- $6 timestamptz[]  times of arrival
-- $7 bytea[]        data
-- No row for a chunk: its attempt is closed (fenced), or an earlier call had stored it and its answer was lost.
INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)
SELECT attempts.output_day, chunk.job_id, chunk.attempt, chunk.seq, chunk.stream, chunk.ts, chunk.data
  FROM unnest($1::bigint[], $2::integer[], $3::uuid[], $4::bigint[], $5::smallint[], $6::timestamptz[], $7::bytea[])
       AS chunk (job_id, attempt, claim_id, seq, stream, ts, data)
  JOIN attempts ON attempts.job_id = chunk.job_id AND attempts.attempt = chunk.attempt
               AND attempts.claim_id = chunk.claim_id AND attempts.outcome IS NULL
ON CONFLICT DO NOTHING
