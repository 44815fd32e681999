-- Wait until no other process migrates this database, and lift the statement timeout; both until the transaction ends.
-- Always one row.
SELECT pg_advisory_xact_lock(7523490123041), set_config('statement_timeout', '0', true)
