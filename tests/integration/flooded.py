"""A process that runs jobs which flood their stdout, and tells how much memory it came to need (`VmHWM`, in bytes)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.integration.running import Run


async def _flood(bytes_each: int) -> int:
    one = Run("head", "-c", str(bytes_each), "/dev/urandom")
    printed = (await one.end()).stdout_bytes
    one.read()
    one.output.close()
    return printed


async def _main(jobs: int, bytes_each: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        floods = [tasks.create_task(_flood(bytes_each)) for _ in range(jobs)]
    assert [flood.result() for flood in floods] == [bytes_each] * jobs


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(int(peak.split()[1]) * 1024)
