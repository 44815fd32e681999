-- Store a new token, with its audit row.
-- $1 bigint       id
-- $2 text         name
-- $3 text         scope
-- $4 bytea        SHA-256
-- $5 timestamptz  expires at; null: never
-- $6 text         actor
-- Always one row.
WITH created AS (
    INSERT INTO tokens (id, name, scope, sha256, expires_at) VALUES ($1, $2, $3, $4, $5)
    RETURNING id, name, scope, created_at, expires_at, revoked_at, sha256
), audited AS (
    INSERT INTO audit (actor, action, detail)
    SELECT $6, 'token.create', jsonb_build_object('token', created.id, 'name', created.name, 'scope', created.scope) FROM created
)
SELECT id, name, scope, created_at, expires_at, revoked_at, sha256 FROM created
