"""Relay's throughput, beside what the machine can do at all: `python -m tests.bench.throughput`.

In one run: two bare Python spawners before and after (the yardstick), then N `/bin/true` jobs through API, PostgreSQL,
Kafka, Redis, workers and back; CPU per job by part; latency of single jobs on the idle system; single POSTs a second.
A few thousand jobs go before, and are not counted: Kafka's Java is slow until it has compiled what it runs.
Quote the ratio, not the rate: the machine is shared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import asyncpg

from tests import stack as stacks
from tests.bench import cpu, posts, rig, spawners

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run."""

    stack: str
    jobs: int
    warm_up_jobs: int
    workers: int
    slots: int
    latency_jobs: int
    connections: int
    post_s: float


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stack", choices=stacks.NAMES, default="apache")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--warm-up-jobs", type=int, default=4_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=128, help="per worker")
    parser.add_argument("--latency-jobs", type=int, default=300)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--post-s", type=float, default=5.0)
    plan = Plan(**vars(parser.parse_args()))
    with rig.folder() as folder, stacks.start(plan.stack, folder) as stack:
        asyncio.run(_run(plan, stack, folder))


async def _run(plan: Plan, stack: stacks.Stack, folder: Path) -> None:
    async with rig.cluster(stack, folder, workers=plan.workers, slots=plan.slots) as relay:
        await _measure(plan, stack, relay)


async def _measure(plan: Plan, stack: stacks.Stack, relay: stacks.Cluster) -> None:
    rig.say(f"stack {plan.stack}, {plan.workers} workers with {plan.slots} slots, {plan.jobs} jobs")
    await _drain(plan.warm_up_jobs, stack, relay)
    before = spawners.rate_of_two(2000)
    drained, by_part = await _drain(plan.jobs, stack, relay)
    after = spawners.rate_of_two(2000)
    bare = (before + after) / 2
    rig.say(f"two bare spawners   {bare:8.0f}/s   (before {before:.0f}, after {after:.0f})")
    rig.say(f"drained             {drained:8.0f}/s   ratio to the spawners {drained / bare:.2f}")
    rig.say("CPU ms per job      " + ", ".join(f"{part} {ms:.3f}" for part, ms in by_part.items()))
    memory = [cpu.memory_mb(worker.worker_pid) for worker in relay.workers]
    rig.say("worker memory       " + ", ".join(f"{mb:.0f} MiB" for mb in memory))
    latencies = [await _one(relay) for _ in range(plan.latency_jobs)]
    p50, p95 = statistics.median(latencies), statistics.quantiles(latencies, n=20)[-1]
    rig.say(f"submit to done      p50 {p50 * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms (one job at a time)")
    body = json.dumps({**rig.TRUE, "queue": "unserved"}).encode()
    await posts.post_rate(relay.api, relay.token, body, connections=plan.connections, seconds=plan.post_s / 2)
    rate = await posts.post_rate(relay.api, relay.token, body, connections=plan.connections, seconds=plan.post_s)
    rig.say(f"single POSTs        {rate:8.0f}/s   over {plan.connections} connections")


async def _drain(jobs: int, stack: stacks.Stack, relay: stacks.Cluster) -> tuple[float, dict[str, float]]:
    """Submit everything in batches while the workers run; rate from the first start to the last finish."""
    parts = await _parts(stack, relay)
    used = {part: sum(map(cpu.used_s, pids)) for part, pids in parts.items()}
    ids = await rig.submit_all(relay, [rig.TRUE] * jobs)
    connection = await asyncpg.connect(relay.db_dsn)
    try:
        await rig.drained(connection)
        seconds: float = await connection.fetchval(
            "SELECT extract(epoch FROM max(finished_at) - min(started_at)) FROM jobs WHERE id = ANY($1)", ids
        )
        failed = await connection.fetchval(
            "SELECT count(*) FROM jobs WHERE id = ANY($1) AND (status <> 'COMPLETED' OR attempt <> 1)", ids
        )
    finally:
        await connection.close()
    assert failed == 0, f"{failed} jobs did not complete at their first attempt"
    spent = {part: sum(map(cpu.used_s, pids)) - used[part] for part, pids in parts.items()}
    return jobs / float(seconds), {part: 1000 * each / jobs for part, each in spent.items()}


async def _parts(stack: stacks.Stack, relay: stacks.Cluster) -> dict[str, list[int]]:
    ports = {
        "PostgreSQL": stack.pg_admin_dsn.rpartition(":")[2].partition("/")[0],
        "Redis": stack.redis_url.rpartition(":")[2].partition("/")[0],
        "Kafka": stack.kafka_brokers.rpartition(":")[2],
    }
    return {
        "workers and jobs": [worker.guard_pid for worker in relay.workers],
        "serve": [server.pid for server in relay.servers],
        **{name: cpu.listeners(int(port)) for name, port in ports.items()},
    }


async def _one(relay: stacks.Cluster) -> float:
    """Submit one job and wait for it: the seconds that took, as a client sees them."""
    began = time.perf_counter()
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {relay.token}"}) as session:
        began = time.perf_counter()
        async with session.post(f"{relay.api}/v1/jobs", json=rig.TRUE) as answer:
            job = await answer.json()
        async with session.get(f"{relay.api}/v1/jobs/{job['id']}?wait=30s") as answer:
            done = await answer.json()
    assert done["status"] == "COMPLETED", done
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
