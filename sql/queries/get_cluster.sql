-- The one row that says which Relay this database is.
-- No row means: the row was deleted by hand.
SELECT cluster_id, lease_ttl_s FROM cluster
