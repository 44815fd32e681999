"""A `relay dev` as its user starts it, with folders of the test's own."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from relay.process import tree
from tests.stack import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

StartDev: TypeAlias = "Callable[..., Coroutine[None, None, Dev]]"

READY_S = 60.0
END_S = 60.0


@dataclass(slots=True)
class Dev:
    """A `relay dev` that was started."""

    process: asyncio.subprocess.Process
    data: Path
    state: Path

    async def ready(self) -> dict[str, object]:
        """Wait for the READY line: what `dev.json` says."""
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        async with asyncio.timeout(READY_S):
            line = await self.process.stdout.readline()
            assert line.startswith(b"READY"), line or (await self.process.stderr.read()).decode()
        return dict(json.loads((self.data / "dev.json").read_text()))

    async def ended(self) -> tuple[int, bytes, bytes]:
        """Wait for the end: exit code, stdout, stderr."""
        async with asyncio.timeout(END_S):
            stdout, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, stdout, stderr

    async def cli(self, *words: str) -> bytes:
        """Run a command of the same user to its end, which must be a success: its stdout."""
        command = await asyncio.create_subprocess_exec(
            *processes.RELAY,
            *words,
            stdout=asyncio.subprocess.PIPE,
            env={**processes.base_environ(), "XDG_STATE_HOME": str(self.state.parents[1])},
        )
        async with asyncio.timeout(END_S):
            stdout, _ = await command.communicate()
        assert command.returncode == 0
        return stdout

    def descendants(self) -> list[tree.Proc]:
        """Everything that it has started."""
        return tree.descendants(self.process.pid, procs=tree.snapshot())


async def start(tmp_path: Path, *arguments: str, data: Path | None, environ: dict[str, str]) -> Dev:
    """Start `relay dev`; with `data` None in its default folder."""
    temporary = tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *processes.RELAY,
        "dev",
        *(["--data", str(data)] if data else []),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **processes.base_environ(),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "TMPDIR": str(temporary),
            **environ,
        },
    )
    state = tmp_path / "state" / "relay"
    return Dev(process, data or state / "dev", state / "dev.json")
