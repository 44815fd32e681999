"""A million jobs, quickly: what a busy Relay's tables look like after some weeks.

Nine tenths have ended, a tenth waits (some for a lock, some for their time), a few hundred run. Ids, times and states go
together as they do in life: what has ended is old, what waits is young, with stragglers on both sides.
"""

from __future__ import annotations

import asyncpg

JOBS = 1_000_000
RUNNING = 500

FILL = (
    f"""
    CREATE TEMP TABLE drawn AS
    SELECT n, hash, CASE WHEN hash % 1000 < 7 AND n < 995000 THEN 'DEAD'
                         WHEN hash % 1000 < 9 AND n < 995000 THEN 'CANCELLED'
                         WHEN hash % 1000 < 10 THEN 'FAILED'
                         WHEN n > {JOBS} - 20000 AND hash % 40 = 0 THEN 'RUNNING'
                         WHEN n > 900000 OR hash % 1000 = 999 THEN 'PENDING'
                         ELSE 'COMPLETED' END AS status
      FROM (SELECT n, abs(hashint8(n)) AS hash FROM generate_series(1, {JOBS}) AS n) AS numbers
    """,
    f"""
    INSERT INTO jobs (id, queue, lane, status, reason, dispatched, run_at, expires_at, attempt, max_retries, lock, claim_id,
                      worker_id, created_at, started_at, finished_at, parent_id, parent_edge, edge_index, parent_round)
    SELECT n, CASE hash % 10 WHEN 0 THEN 'gpu' WHEN 1 THEN 'mail' ELSE 'default' END,
           CASE WHEN hash % 20 = 3 THEN 0 WHEN hash % 20 = 4 THEN 2 ELSE 1 END,
           status,
           CASE WHEN status IN ('DEAD', 'FAILED') THEN 'exit' END,
           NOT (status = 'FAILED' OR (status = 'PENDING' AND hash % 5 = 1)),
           created_at + CASE WHEN status = 'FAILED' OR (status = 'PENDING' AND hash % 5 = 1) THEN interval '40 days'
                             ELSE '0' END,
           CASE WHEN hash % 50 = 6 THEN created_at + interval '50 days' END,
           CASE WHEN status = 'PENDING' THEN 0 ELSE 1 END, 3,
           CASE WHEN status = 'RUNNING' AND hash % 3 = 0 THEN 'lock' || n
                WHEN status <> 'RUNNING' AND hash % 100 = 7 THEN 'lock' || hash % 1000 END,
           CASE WHEN status = 'RUNNING' THEN gen_random_uuid() END,
           CASE WHEN status <> 'PENDING' THEN 1 + n / 20000 END,
           created_at,
           CASE WHEN status <> 'PENDING' THEN created_at END,
           CASE WHEN status IN ('COMPLETED', 'DEAD', 'CANCELLED') THEN created_at END,
           CASE WHEN hash % 10 = 8 AND n > 1 THEN n - 1 END, CASE WHEN hash % 10 = 8 AND n > 1 THEN 'on_success' END,
           CASE WHEN hash % 10 = 8 AND n > 1 THEN 0 END, CASE WHEN hash % 10 = 8 AND n > 1 THEN 0 END
      FROM (SELECT drawn.*, now() - make_interval(secs => ({JOBS} - n) * 2) AS created_at FROM drawn) AS dated
    """,
    """
    INSERT INTO job_specs (job_id, queue, name, labels, spec, created_at)
    SELECT id, queue, 'name' || abs(hashint8(id)) % 1000,
           CASE WHEN id % 100 = 0 THEN jsonb_build_object('customer', (id % 5000)::text) ELSE '{}' END,
           '{"payload": {"command": "/bin/true"}}', created_at
      FROM jobs
    """,
    """
    INSERT INTO attempts (job_id, attempt, claim_id, round, worker_id, outcome, started_at, finished_at)
    SELECT id, attempt, coalesce(claim_id, gen_random_uuid()), 0, worker_id,
           CASE WHEN status <> 'RUNNING' THEN 'failed' END, started_at, CASE WHEN status <> 'RUNNING' THEN started_at END
      FROM jobs
     WHERE status = 'RUNNING' OR (attempt > 0 AND id % 4 = 0)
    """,
    "INSERT INTO idempotency_keys SELECT 'key' || n, n, '' FROM generate_series(1, 50000) AS n",
    """
    INSERT INTO audit (actor, action, job_id)
    SELECT 'token:1', CASE WHEN n % 10 = 0 THEN 'job.cancel' ELSE 'job.submit' END, n FROM generate_series(1, 50000) AS n
    """,
    """
    INSERT INTO workers (host, boot_id, pid_ns, pid, pid_start, version, queues, slots, lease_ttl_s)
    SELECT 'host' || n, 'boot', 1, n, n, '0', '{default}', 64, 15 FROM generate_series(1, 51) AS n
    """,
    "INSERT INTO named_locks SELECT DISTINCT lock FROM jobs WHERE lock IS NOT NULL",
    "CREATE TABLE output_today PARTITION OF output FOR VALUES FROM ('2026-01-01') TO ('2126-01-01')",
    """
    INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)
    SELECT output_day, job_id, attempt, seq, 1, now(), 'line'
      FROM attempts CROSS JOIN generate_series(1, 5) AS seq
     WHERE job_id % 100 = 0
    """,
    "SELECT setval('jobs_id_seq', max(id)) FROM jobs",
)
TABLES = ("jobs", "job_specs", "attempts", "output", "idempotency_keys", "audit", "workers", "named_locks")
INDEXES = """
    SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid)
      FROM pg_index
     WHERE indrelid IN ('jobs'::regclass, 'job_specs'::regclass, 'attempts'::regclass)
       AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
"""


SETTINGS = {"synchronous_commit": "off", "work_mem": "64MB", "maintenance_work_mem": "256MB"}


async def fill(dsn: str) -> None:
    """Fill a migrated, empty database. Indexes are put aside meanwhile: built at once, they cost half as much."""
    conn = await asyncpg.connect(dsn, server_settings=SETTINGS)
    try:
        indexes = await conn.fetch(INDEXES)
        for name, _ in indexes:
            await conn.execute(f"DROP INDEX {name}")
        for statement in FILL:
            await conn.execute(statement)
        for _, definition in indexes:
            await conn.execute(definition)
        await conn.execute(f"VACUUM (ANALYZE) {', '.join(TABLES)}")
    finally:
        await conn.close()
