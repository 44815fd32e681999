-- One token, good or not.
-- $1 bigint  id
-- No row: there is no such token.
SELECT id, name, scope, created_at, expires_at, revoked_at, sha256 FROM tokens WHERE id = $1
