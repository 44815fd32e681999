"""Many delayed jobs due within a minute: `python -m tests.bench.delays`. How late they start, and what maintenance costs."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from typing import TYPE_CHECKING

import asyncpg

from tests import stack as stacks
from tests.bench import cpu, rig

if TYPE_CHECKING:
    from pathlib import Path

LATENESS = """
    SELECT percentile_cont(ARRAY[0.5, 0.99, 1.0]) WITHIN GROUP (ORDER BY extract(epoch FROM started_at - run_at))
      FROM jobs WHERE id = ANY($1)"""
EARLY = "SELECT count(*) FROM jobs WHERE id = ANY($1) AND started_at < run_at"


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", choices=stacks.NAMES, default="apache")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--over-s", type=float, default=60.0)
    parser.add_argument("--ahead-s", type=float, default=60.0, help="time for submitting them before the first is due")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slots", type=int, default=64)
    chosen = parser.parse_args()
    with rig.folder() as folder, stacks.start(chosen.stack, folder) as stack:
        asyncio.run(_run(stack, folder, chosen))


async def _run(stack: stacks.Stack, folder: Path, chosen: argparse.Namespace) -> None:
    rng = random.Random(1)
    async with rig.cluster(stack, folder, workers=chosen.workers, slots=chosen.slots) as relay:
        began = time.time()
        specs = []
        for _ in range(chosen.jobs):
            due = time.gmtime(at := began + chosen.ahead_s + rng.random() * chosen.over_s)
            fraction = f"{at % 1:.6f}"[1:]
            specs.append({**rig.TRUE, "run_at": time.strftime("%Y-%m-%dT%H:%M:%S", due) + fraction + "Z"})
        ids = await rig.submit_all(relay, specs)
        rig.say(f"submitted in {time.time() - began:.0f} s")
        await asyncio.sleep(max(0.0, began + chosen.ahead_s - time.time()))
        used, since = cpu.used_s(relay.servers[0].pid), time.perf_counter()
        connection = await asyncpg.connect(relay.db_dsn)
        try:
            await rig.drained(connection)
            core = (cpu.used_s(relay.servers[0].pid) - used) / (time.perf_counter() - since)
            p50, p99, most = await connection.fetchval(LATENESS, ids)
            early = await connection.fetchval(EARLY, ids)
        finally:
            await connection.close()
        rig.say(
            f"{chosen.jobs} jobs due within {chosen.over_s:.0f} s: late p50 {p50:.3f} s, p99 {p99:.3f} s, max {most:.3f} s"
        )
        rig.say(f"{early} early; serve with maintenance used {100 * core:.0f} % of a core")
        assert early == 0


if __name__ == "__main__":
    main()
