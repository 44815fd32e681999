-- Note a migration as applied; in the transaction that applies it.
-- $1 version int4
-- $2 name text
-- $3 sha256 bytea
-- Never a row.
INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)
