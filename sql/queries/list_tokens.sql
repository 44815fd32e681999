-- All tokens, oldest first.
-- No row: none was made yet.
SELECT id, name, scope, created_at, expires_at, revoked_at, sha256 FROM tokens ORDER BY id
