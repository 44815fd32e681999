-- Note a migration as applied; in the transaction that applies it.
-- $1 integer  version
-- $2 text     name
-- $3 bytea    SHA-256
-- Never a row.
INSERT INTO schema_migrations (version, name, sha256) VALUES ($1, $2, $3)
