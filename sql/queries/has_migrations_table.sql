-- Is the record of applied migrations there?
-- Always one row.
SELECT to_regclass('schema_migrations') IS NOT NULL AS is_there
