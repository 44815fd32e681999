-- Which of these claims have ended, and how: tells a lost answer from a fenced finish.
-- $1 bigint[]  job ids
-- $2 uuid[]    claim ids
-- No row: the claim is unknown, or its attempt is still open.
SELECT attempts.claim_id, attempts.outcome
  FROM attempts
  JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (job_id, claim_id)
    ON attempts.job_id = wanted.job_id AND attempts.claim_id = wanted.claim_id
 WHERE attempts.job_id = ANY($1::bigint[]) AND attempts.outcome IS NOT NULL
