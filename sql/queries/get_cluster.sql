-- The one row that says which Relay this database is.
-- No row: the row was deleted by hand.
SELECT cluster_id, lease_ttl_s FROM cluster
