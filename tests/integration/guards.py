"""A real guard with a real worker (`guarded.py`) below it. Test files import the fixtures `spawn` and `guarded`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.process import tree
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Spawn = Callable[..., Awaitable[asyncio.subprocess.Process]]


ROOT = Path(__file__).parents[2]


class Guarded:
    """A guard with its worker: `tell` the worker what to do."""

    def __init__(self, process: asyncio.subprocess.Process, worker: int, folder: Path) -> None:
        self.process = process
        self.worker = worker
        self._folder = folder

    async def tell(self, *words: object) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        return await self.line()

    async def line(self) -> str:
        return await line(self.process)

    async def start(self, claim_id: str, *, ttl_ms: int = 60_000, size: int = 4, cgroup: Path | None = None) -> Family:
        file = self._folder / claim_id
        file.touch()
        answer = await self.tell("start", claim_id, ttl_ms, str(file), size, cgroup and str(cgroup))
        pids = await until(lambda: numbers(file, size), what="the family's pids")
        return Family({pid: tree.start_time(pid) for pid in pids}, deadline_ns=int(answer))

    async def ended(self, *, within_s: float = 5) -> int:
        async with asyncio.timeout(within_s):
            return await self.process.wait()


class Family:
    """A job's processes, known by pid and start time."""

    def __init__(self, starts: dict[int, int | None], *, deadline_ns: int) -> None:
        self.starts = starts
        self.deadline_ns = deadline_ns

    @property
    def living(self) -> list[int]:
        procs = tree.snapshot()
        return [
            pid
            for pid, start in self.starts.items()
            if start and pid in procs and procs[pid].start == start and not tree.is_dead(procs[pid])
        ]

    async def dead(self, *, within_s: float) -> None:
        await until(lambda: not self.living, within_s=within_s, what="the end of the whole family")


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Start a guard on a command; it is gone when the test is over."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*argv: str, **environ: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"from relay.process import link; link.exec_guard({argv!r})",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        procs = tree.snapshot()
        if process.returncode is None and process.pid in procs:
            tree.signal_each([procs[process.pid]], signal.SIGCONT)
            tree.signal_each(tree.descendants(process.pid, procs=procs), signal.SIGKILL)
        async with asyncio.timeout(5):
            await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # asyncio offers no other way to close the pipes


@pytest.fixture
async def guarded(spawn: Spawn, tmp_path: Path) -> Guarded:
    process = await spawn(sys.executable, "-m", "tests.integration.guarded")
    return Guarded(process, int(await line(process)), tmp_path)


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(40):
        return (await process.stdout.readline()).decode().rstrip()


def numbers(file: Path, count: int) -> list[int] | None:
    lines = file.read_text().split()
    return [int(line) for line in lines] if len(lines) == count else None


def state(pid: int) -> str:
    return tree.snapshot()[pid].state
