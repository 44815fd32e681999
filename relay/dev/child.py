"""A child process that never outlives its parent.

`setpriv --pdeathsig` asks the kernel to signal the child when the thread that started it dies, even by `kill -9`; so start
children from the main thread only. Each child leads its own session: a Ctrl-C on the terminal reaches only the parent, which
then ends its children in order. Waiting uses a pidfd, because asyncio's child watchers would reap what belongs to `Popen`.

It does not promise anything about grandchildren, nor about a parent that dies before `setpriv` has run: what is left over
then is found by `relay.dev.leftovers` at the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Child:
    """One running child: `name` for messages, `log` the file that has its output."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """The process id; also of its session."""
        return self.process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet (reaps it if it has)."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal; nothing happens when the child has ended."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end and answer the exit code (-N: signal N)."""
        loop = asyncio.get_running_loop()
        while (code := self.process.poll()) is None:
            over = asyncio.Event()
            with contextlib.suppress(ProcessLookupError), _pidfd(self.pid) as descriptor:
                loop.add_reader(descriptor, over.set)
                try:
                    await over.wait()
                finally:
                    loop.remove_reader(descriptor)
        return code

    async def stop(self, number: int, *, grace_s: float) -> None:
        """Ask for the end, wait, then kill."""
        self.signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self.ended()
        self.kill()

    def kill(self) -> None:
        """Kill it at once and reap it."""
        self.process.kill()
        self.process.wait()

    def tail(self, lines: int = 5) -> str:
        """The last lines of its output: what it said before it failed."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.strip().splitlines()[-lines:])


@contextlib.contextmanager
def _pidfd(pid: int) -> Iterator[int]:
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def spawn(
    name: str,
    argv: Sequence[str],
    *,
    cwd: Path,
    log: Path,
    env: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGKILL,
    before: Sequence[str] = (),
) -> Child:
    """Start a child whose output goes to `log`.

    `before` is what must run before `setpriv` (a change of credentials clears the death signal, so it comes first).
    Raises BadConfig when `setpriv` is missing.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise errors.BadConfig("'setpriv' was not found: install util-linux")
    command = [*before, setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG"), "--", *argv]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Child(name, process, log)
