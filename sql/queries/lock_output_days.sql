-- Let one process at a time make and drop partitions; the lock ends with the transaction.
-- No row never happens; false: another process is at it.
SELECT pg_try_advisory_xact_lock(hashtextextended('relay.output_days', 0)) AS is_mine, set_config('lock_timeout', '2s', true)
