"""Many delayed jobs due within a minute: `python -m tests.bench.delays`. How late they start, and what maintenance costs.

A start is a claim (`attempts.started_at`), and the question is how late it comes while slots are free. 1,667 jobs a second are more
than two cores can run, so by default nothing is run: the jobs' own queue is served by the real consumer and the real claim, without
Redis and without processes, in this process: a worker whose slots never fill. What is measured is maintenance finding the job, Kafka
bringing it, and PostgreSQL granting it. `--workers N` has real workers run `/bin/true` instead: choose `--jobs` and `--over-s` so
that they keep up, or the figure tells their backlog. Maintenance's share is all that its `relay serve` and its sessions in PostgreSQL
used from the first job's time to the last one's start. The load of the machine is printed too: what others use is missing here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import time
import uuid
from typing import TYPE_CHECKING, Any

import asyncpg

from relay import config
from relay.bus import Consumer
from relay.store import claims, cluster, workers
from relay.store.connection import connection, open_pool
from tests import stack as stacks
from tests.bench import cpu, rig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.store.connection import Pool

OWN_QUEUE = "delays"  # served by no real worker
FETCH = 1000
LATENESS = """
    SELECT percentile_cont(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - run_at))
      FROM jobs WHERE id = ANY($1)"""
EARLY = "SELECT count(*) FROM jobs WHERE id = ANY($1) AND started_at < run_at"
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE application_name IN ('relay serve', 'relay maintenance')"
WAITING = "SELECT count(*) FROM jobs WHERE id = ANY($1) AND status = 'PENDING'"


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", choices=stacks.NAMES, default="apache")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--over-s", type=float, default=60.0)
    parser.add_argument("--ahead-s", type=float, default=60.0, help="time for submitting them before the first is due")
    parser.add_argument("--workers", type=int, default=0, help="real workers that run the jobs (default: claims only)")
    parser.add_argument("--slots", type=int, default=64, help="per worker")
    chosen = parser.parse_args()
    with rig.folder() as folder, stacks.start(chosen.stack, folder) as stack:
        asyncio.run(_run(stack, folder, chosen))


async def _run(stack: stacks.Stack, folder: Path, chosen: argparse.Namespace) -> None:
    async with rig.cluster(stack, folder, workers=chosen.workers or 1, slots=chosen.slots) as relay:
        serving = contextlib.nullcontext() if chosen.workers else _claiming(relay)
        async with serving:
            began = time.time()
            ids = await rig.submit_all(relay, list(_specs(chosen, began)))
            rig.say(f"submitted in {time.time() - began:.0f} s")
            await asyncio.sleep(max(0.0, began + chosen.ahead_s - time.time()))
            own = await asyncpg.connect(relay.db_dsn)
            try:
                used, since = await _used_s(relay, own), time.perf_counter()
                await stacks.until(lambda: _is_started(own, ids), within_s=rig.DRAIN_S, what="all starts")
                took_s = time.perf_counter() - since
                await _report(own, ids, chosen)
                shares = [
                    (after - before) / took_s for before, after in zip(used, await _used_s(relay, own), strict=True)
                ]
                rig.say(
                    "serve with maintenance used {:.0%} of a core, its sessions in PostgreSQL {:.0%}".format(*shares)
                )
            finally:
                await own.close()


def _specs(chosen: argparse.Namespace, began: float) -> list[dict[str, Any]]:
    rng = random.Random(1)
    specs = []
    for _ in range(chosen.jobs):
        due = time.gmtime(at := began + chosen.ahead_s + rng.random() * chosen.over_s)
        run_at = time.strftime("%Y-%m-%dT%H:%M:%S", due) + f"{at % 1:.6f}"[1:] + "Z"
        specs.append({**rig.TRUE, "run_at": run_at, "queue": "default" if chosen.workers else OWN_QUEUE})
    return specs


async def _is_started(own: asyncpg.Connection[asyncpg.Record], ids: list[int]) -> bool:
    await asyncio.sleep(0.5)
    return bool(await own.fetchval(WAITING, ids) == 0)


async def _used_s(relay: stacks.Cluster, own: asyncpg.Connection[asyncpg.Record]) -> tuple[float, float]:
    """CPU seconds of serve, and of its sessions in a PostgreSQL of this machine."""
    sessions = [row["pid"] for row in await own.fetch(SESSIONS)]
    return cpu.used_s(relay.servers[0].pid), sum(map(cpu.used_s, sessions))


async def _report(own: asyncpg.Connection[asyncpg.Record], ids: list[int], chosen: argparse.Namespace) -> None:
    p50, p99, most = await own.fetchval(LATENESS, ids)
    early = await own.fetchval(EARLY, ids)
    how = f"run by {chosen.workers} workers" if chosen.workers else "claimed only"
    rig.say(f"{chosen.jobs} jobs due within {chosen.over_s:.0f} s, {how}; load {os.getloadavg()[0]:.1f}")
    rig.say(f"late p50 {p50:.3f} s, p99 {p99:.3f} s, max {most:.3f} s; {early} early")
    assert early == 0


@contextlib.asynccontextmanager
async def _claiming(relay: stacks.Cluster) -> AsyncIterator[None]:
    """Claim whatever comes to the own queue, for a block."""
    settings = config.load({name: relay.environ[name] for name in relay.environ if "RELAY_" in name}, role="work")
    pool = await open_pool(settings, application="relay bench", size=2)
    async with connection(pool) as conn:
        cluster_id = (await cluster.get_cluster(conn)).cluster_id
        worker_id = await workers.register_worker(conn, _worker(settings))
    consumer = Consumer(settings, cluster_id, [OWN_QUEUE])
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(consumer.run())
            await stacks.until(lambda: consumer.is_up, within_s=30, what="the consumer")
            claiming = group.create_task(_claim(consumer, pool, worker_id))
            yield
            claiming.cancel()
            await consumer.close()
            running.cancel()
    finally:
        await pool.close()


async def _claim(consumer: Consumer, pool: Pool, worker_id: int) -> None:
    while True:
        messages = await consumer.fetch(FETCH, wait_s=0.5)
        if messages:
            async with connection(pool) as conn:
                await claims.claim(conn, worker_id, [(each.job_id, str(uuid.uuid4())) for each in messages])
            consumer.mark_done(messages)


def _worker(settings: config.Settings) -> workers.NewWorker:
    return workers.NewWorker(
        host="bench",
        boot_id="bench",
        pid_ns=1,
        pid=os.getpid(),
        pid_start=1,
        version="bench",
        queues=(OWN_QUEUE,),
        slots=FETCH,
        lease_ttl_s=settings.lease_ttl_s,
    )


if __name__ == "__main__":
    main()
