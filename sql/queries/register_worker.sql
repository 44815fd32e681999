-- Register a worker that starts; its id is fresh.
-- $1 text              host
-- $2 text              boot id of the host's kernel
-- $3 bigint            inode of the pid namespace
-- $4 integer           pid of the worker
-- $5 bigint            its start time in clock ticks since boot
-- $6 text              Relay's version
-- $7 text[]            queues
-- $8 integer           slots
-- $9 double precision  lease TTL in seconds
-- Always one row.
INSERT INTO workers (host, boot_id, pid_ns, pid, pid_start, version, queues, slots, lease_ttl_s)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id
