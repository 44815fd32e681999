-- The migrations that were applied, oldest first.
-- No row: none yet.
SELECT version, name, sha256 FROM schema_migrations ORDER BY version
