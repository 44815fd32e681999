-- Wait until no other process migrates this database; held until the end of the transaction, and without a statement timeout in it.
-- Always one row.
SELECT pg_advisory_xact_lock(7523490123041), set_config('statement_timeout', '0', true)
