-- Revoke a token, with its audit row; one that is revoked already stays as it is.
-- $1 bigint  id
-- $2 text    actor
-- No row: there is no such token.
WITH target AS MATERIALIZED (
    SELECT tokens.id, tokens.revoked_at FROM tokens WHERE tokens.id = $1 FOR UPDATE
), revoked AS (
    UPDATE tokens
       SET revoked_at = coalesce(target.revoked_at, clock_timestamp())
      FROM target
     WHERE tokens.id = target.id
    RETURNING tokens.id, tokens.name, tokens.scope, tokens.created_at, tokens.expires_at, tokens.revoked_at, tokens.sha256
), audited AS (
    INSERT INTO audit (actor, action, detail)
    SELECT $2, 'token.revoke', jsonb_build_object('token', target.id) FROM target WHERE target.revoked_at IS NULL
)
SELECT id, name, scope, created_at, expires_at, revoked_at, sha256 FROM revoked
