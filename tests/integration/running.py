"""Run one command for a test, with real children, and see what is left of it."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from relay.model.payload import Limits
from relay.process import orphans, scratch, tree
from relay.process.command import Command
from relay.process.environ import PATH
from relay.process.output import Output
from relay.process.run import Execution

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.model.results import Result


class Run:
    """One execution, its output and what it told of its start."""

    def __init__(self, command: str | None, *args: str, output_bytes: int = 10 << 20, **more: Any) -> None:
        self.claim_id = str(uuid.uuid4())
        env = {"PATH": PATH, "LANG": "C.UTF-8", "RELAY_CLAIM": self.claim_id} | more.pop("env", {})
        limits = Limits(**more.pop("limits", {}))
        self.output = Output(output_bytes)
        self.started: list[tuple[int, tree.Start]] = []
        self.starting = 0
        self.execution = Execution(
            Command(claim_id=self.claim_id, command=command, args=args, env=env, limits=limits, **more),
            output=self.output,
            on_starting=self._note_starting,
            on_started=lambda pid, start: self.started.append((pid, start)),
        )

    async def end(self) -> Result:
        """Run it to its end."""
        return await self.execution.run()

    def read(self, stream: int = 1) -> bytes:
        """Everything that is kept of a stream and not yet read; the other stream's is dropped."""
        taken = []
        while chunks := self.output.take(1 << 20):
            taken += [chunk.data for chunk in chunks if chunk.stream == stream]
        return b"".join(taken)

    def living(self) -> list[tree.Proc]:
        """Its processes, by group, session and cookie."""
        return tree.find([tree.Target(self.claim_id, self.started[0][0] if self.started else None)])

    def _note_starting(self) -> None:
        self.starting += 1


def sh(script: str, **more: Any) -> Run:
    """Run a line of shell."""
    return Run("sh", "-c", script, **more)


async def run(command: str | None, *args: str, **more: Any) -> tuple[Result, bytes]:
    """Run a command: its result and stdout."""
    one = Run(command, *args, **more)
    result = await one.end()
    return result, one.read()


async def until(fact: Callable[[], object], *, within_s: float = 10) -> None:
    """Wait until something outside of this process is so."""
    async with asyncio.timeout(within_s):
        while not fact():  # noqa: ASYNC110 - files and /proc send no events
            await asyncio.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Whether a process is gone, or only its exit status is left."""
    proc = tree.snapshot().get(pid)
    return proc is None or tree.is_dead(proc)


def pid_in(path: Path) -> int:
    """A pid that a job wrote to a file."""
    return int(path.read_text())


def folders_in_use() -> list[str]:
    """What lies in the scratch root, spare folders left out."""
    spare = {Path(folder.path).name for folders in scratch._spare.values() for folder in folders}
    return sorted({path.name for path in Path(scratch.root()).iterdir()} - spare)


def open_descriptors() -> int:
    """How many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


def exists(path: str) -> bool:
    """Whether there is such a path."""
    return Path(path).exists()


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    """A test file that imports it checks after each test that no process, folder or descriptor is left."""
    fds, children = open_descriptors(), set(tree.child_pids())
    orphans.current()
    yield
    await until(lambda: set(tree.child_pids()) <= children)
    assert folders_in_use() == []
    assert open_descriptors() <= fds + 4  # the loop's own, /dev/null
