-- Note who did what.
-- $1 text    actor
-- $2 text    action
-- $3 bigint  job id; null: it is not about a job
-- $4 jsonb   detail
-- Never a row.
INSERT INTO audit (actor, action, job_id, detail) VALUES ($1, $2, $3, $4)
