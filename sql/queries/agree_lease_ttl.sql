-- Set the cluster's lease TTL if nobody has yet, and tell which one holds.
-- $1 ttl_s float8
-- No row means: the row of the cluster was deleted by hand.
UPDATE cluster SET lease_ttl_s = coalesce(lease_ttl_s, $1) RETURNING lease_ttl_s
