-- Note finishes that came too late: one audit row each, which is also their count.
-- $1 bigint    worker id
-- $2 bigint[]  job ids
-- $3 uuid[]    claim ids
-- Never a row.
INSERT INTO audit (actor, action, job_id, detail)
SELECT 'worker:' || $1::bigint, 'attempt.fenced', late.job_id, jsonb_build_object('claim_id', late.claim_id)
  FROM unnest($2::bigint[], $3::uuid[]) AS late (job_id, claim_id)
