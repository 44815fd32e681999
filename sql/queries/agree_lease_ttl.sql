-- Set the cluster's lease TTL if nobody has yet, and tell which one holds.
-- $1 double precision  TTL in seconds
-- No row: the row of the cluster was deleted by hand.
UPDATE cluster SET lease_ttl_s = coalesce(lease_ttl_s, $1) RETURNING lease_ttl_s
