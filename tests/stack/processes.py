"""One `relay serve` or `relay work` of a test's cluster, and ways to hurt it. Everything goes by pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.dev import child
from relay.process import tree
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

RELAY = (sys.executable, "-P", "-m", "relay")
KEPT = ("PATH", "PYTHONPATH", "HOME", "LANG", "COVERAGE_PROCESS_START")
END_S = 30.0


def base_environ() -> dict[str, str]:
    """What a process of Relay gets from the tests' own environment."""
    return {name: os.environ[name] for name in KEPT if name in os.environ}


@dataclass(slots=True)
class Process:
    """A process that was started; `child` is the one the tests are the parent of."""

    child: child.Child

    @property
    def pid(self) -> int:
        """The process to signal: of a worker its own, not the guard's."""
        return self.child.pid

    @property
    def output(self) -> str:
        """What it has written so far: its log."""
        return self.child.log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9."""
        _signal(self.pid, signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP: a frozen process."""
        _signal(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        _signal(self.pid, signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM, as an init system sends it."""
        self.child.signal(signal.SIGTERM)

    async def ended(self, *, within_s: float = END_S) -> int:
        """Wait for the end: the exit code."""
        async with asyncio.timeout(within_s):
            return await self.child.ended()

    async def stop(self, *, within_s: float = END_S) -> int:
        """SIGTERM, and wait for the end: the exit code."""
        self.terminate()
        return await self.ended(within_s=within_s)

    async def end(self) -> None:
        """Leave nothing of it, whatever state it is in."""
        self.kill()
        with contextlib.suppress(TimeoutError):
            await self.ended()
        self.child.kill()


@dataclass(slots=True)
class Server(Process):
    """A `relay serve`."""

    api: str


@dataclass(slots=True)
class Worker(Process):
    """A `relay work`: the guard, and the worker that it runs. `id` is the worker's own, from its row."""

    id: int
    worker_pid: int

    @property
    def pid(self) -> int:
        return self.worker_pid

    @property
    def guard_pid(self) -> int:
        """The parent that enforces deadlines."""
        return self.child.pid

    def kill_guard(self) -> None:
        """kill -9 the guard alone."""
        _signal(self.guard_pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill the worker; the guard then kills the jobs and ends."""
        worker = [each for each in tree.snapshot().values() if each.pid == self.worker_pid]
        await Process.end(self)
        await until(lambda: not still_running(worker), what="the worker's end")


def still_running(noted: Collection[tree.Proc]) -> list[tree.Proc]:
    """Those of the processes that have not ended; a zombie has, whether or not somebody reaps it."""
    now = tree.snapshot()
    return [each for each in noted if _is(each, now.get(each.pid))]


def _is(noted: tree.Proc, now: tree.Proc | None) -> bool:
    return now is not None and now.start == noted.start and not tree.is_dead(now)


def spawn(
    name: str, *arguments: str, folder: Path, environ: Mapping[str, str], before: Sequence[str] = ()
) -> child.Child:
    """Start one role of Relay with exactly this environment. Its log is `<folder>/<name>.log`.

    `before` are the words of a program that prepares something and then executes the words that follow (`unshare …`).
    """
    argv = [*RELAY, *arguments]
    return child.spawn(name, argv, cwd=folder, log=folder / f"{name}.log", env=environ, before=before)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
