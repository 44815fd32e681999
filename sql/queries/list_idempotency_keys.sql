-- Who has these idempotency keys.
-- $1 text[]  keys
-- No row for a key: its job was deleted in the meantime; the key is free again.
SELECT key, job_id, fingerprint FROM idempotency_keys WHERE key = ANY($1::text[])
