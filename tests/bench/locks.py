"""Many jobs on one named lock: `python -m tests.bench.locks`. Never two at once, all done, and how many a second."""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import TYPE_CHECKING

import asyncpg

from tests import stack as stacks
from tests.bench import rig

if TYPE_CHECKING:
    from pathlib import Path

OVERLAPS = """
    SELECT count(*) FROM (
        SELECT started_at, lag(finished_at) OVER (ORDER BY started_at) AS before FROM attempts WHERE job_id = ANY($1)
    ) AS pairs WHERE started_at < before"""


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stack", choices=stacks.NAMES, default="apache")
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=4)
    chosen = parser.parse_args()
    with rig.folder() as folder, stacks.start(chosen.stack, folder) as stack:
        asyncio.run(_run(stack, folder, jobs=chosen.jobs, workers=chosen.workers))


async def _run(stack: stacks.Stack, folder: Path, *, jobs: int, workers: int) -> None:
    async with rig.cluster(stack, folder, workers=workers, slots=8) as relay:
        began = time.perf_counter()
        ids = await rig.submit_all(relay, [{**rig.TRUE, "lock": "bench"}] * jobs)
        connection = await asyncpg.connect(relay.db_dsn)
        try:
            await rig.drained(connection)
            seconds = time.perf_counter() - began
            done = await connection.fetchval(
                "SELECT count(*) FROM jobs WHERE id = ANY($1) AND status = 'COMPLETED'", ids
            )
            overlaps = await connection.fetchval(OVERLAPS, ids)
        finally:
            await connection.close()
        rig.say(
            f"{jobs} jobs on one lock, {workers} workers: {jobs / seconds:.0f}/s, {done} completed, {overlaps} overlaps"
        )
        assert done == jobs
        assert overlaps == 0


if __name__ == "__main__":
    main()
