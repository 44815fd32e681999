-- Note who did what.
-- $1 actor text
-- $2 action text
-- $3 job_id bigint: null: it is not about a job
-- $4 detail jsonb
-- Never a row.
INSERT INTO audit (actor, action, job_id, detail) VALUES ($1, $2, $3, $4)
