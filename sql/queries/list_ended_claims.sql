-- Which of these claims are over, however they ended: no process may carry them any more.
-- $1 bigint[]  job ids
-- $2 uuid[]    claim ids
-- No row: the claim is unknown here (another Relay's), or its attempt is still open.
SELECT attempts.claim_id
  FROM attempts
  JOIN unnest($1::bigint[], $2::uuid[]) AS carried (job_id, claim_id)
    ON attempts.job_id = carried.job_id AND attempts.claim_id = carried.claim_id
 WHERE attempts.job_id = ANY($1::bigint[]) AND attempts.outcome IS NOT NULL
