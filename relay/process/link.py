"""The worker's end of the pipe to its guard, and how a process becomes the guard.

Every message is in the pipe when the call returns, so "starting" is there before the fork whatever happens next, and the guard reads
it even if the worker has died. The pipe holds a second's worth of messages and the guard empties it every few milliseconds; should
it be full all the same, the call waits for room, two seconds at most, and then takes the guard for dead: a guard that does not read
would not kill either.

The guard's death shows at once, as an error on the pipe that nobody can read any more. Killing the jobs then is the worker's part.
"""

from __future__ import annotations

import asyncio
import os
import select
import stat
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from relay.errors import BadConfig, RelayError
from relay.process import guard, subreaper, tree

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence

_FULL_MS = 2000


class StartRefused(RelayError):
    """The guard is gone, or the claim's deadline has passed: the job must not start."""


class GuardLink:
    """Tells the guard which claims run and until when. Made and used in the event loop's thread."""

    def __init__(self, fd: int) -> None:
        """`fd` is the pipe's end to write, which this owns from now on."""
        os.set_inheritable(fd, False)
        os.set_blocking(fd, False)
        self._fd = fd
        self._closed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        # A pipe's writing end is never readable: epoll wakes its reader for an error only, that the reading end is gone.
        self._loop.add_reader(fd, self.close)

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str] = os.environ) -> GuardLink:
        """Connect to the guard that started this process, and take its variable out of the environment.

        Raises BadConfig if no guard did.
        """
        value = environ.pop(guard.PIPE_VARIABLE, "")
        if not value.isdecimal() or not _is_pipe(int(value)):
            raise BadConfig("a worker runs below its guard only: start it with 'relay work'")
        return cls(int(value))

    @property
    def is_closed(self) -> bool:
        """Whether the guard is gone."""
        return self._closed.is_set()

    async def wait_closed(self) -> None:
        """Wait until the guard is gone; then every job must be killed, and the worker exit."""
        await self._closed.wait()

    def starting(self, claim_id: str, deadline_ns: int) -> None:
        """Announce a claim's process, right before the fork; from `deadline_ns` (CLOCK_BOOTTIME) on it may not run.

        Follow it by `started` without delay, or by `ended` if nothing was forked: when the deadline passes in between, the guard
        kills this worker. Raises StartRefused: then nothing may be forked.
        """
        if time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= deadline_ns:
            raise StartRefused
        self._send(f"starting {claim_id} {deadline_ns}\n")
        if self.is_closed:
            raise StartRefused

    def started(self, claim_id: str, pid: int, start: tree.Start, *, cgroup: str | None = None) -> None:
        """Name the claim's first process, by pid and time of start, and the attempt's own cgroup folder."""
        self._send(f"started {claim_id} {pid} {start.first} {start.last}{' ' + cgroup if cgroup else ''}\n")

    def ended(self, claim_id: str) -> None:
        """Say that no process of the claim is left, or none was started. Sending it again does nothing."""
        self._send(f"ended {claim_id}\n")

    def renewed(self, deadlines: Mapping[str, int]) -> None:
        """Move claims' deadlines. The guard ignores claims that it doesn't know, earlier deadlines, and those that have passed."""
        claims: dict[int, list[str]] = {}
        for claim_id, deadline_ns in deadlines.items():
            claims.setdefault(deadline_ns, []).append(claim_id)
        self._send("".join(f"renewed {deadline_ns} {' '.join(ids)}\n" for deadline_ns, ids in claims.items()))

    def close(self) -> None:
        """Let go of the pipe, which makes the guard kill this process. Done by itself when the guard is gone."""
        if not self.is_closed:
            self._closed.set()
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _send(self, lines: str) -> None:
        data = memoryview(os.fsencode(lines))
        while data and not self.is_closed:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                if not self._wait_for_room():
                    self.close()
            except BrokenPipeError:
                self.close()

    def _wait_for_room(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        return bool(poll.poll(_FULL_MS))


def exec_guard(argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Replace this process by the guard, which runs `argv` as its child with this environment and the pipe's variable.

    `-I -S` keeps site packages and the user's variables out of the guard; it finds this very package by its folder, behind the
    standard library. NOTIFY_SOCKET and the like are the worker's, untouched.
    """
    folder = str(Path(__file__).resolve().parents[2])
    code = f"import sys; sys.path.append({folder!r}); from relay.process import guard; guard.main()"
    subreaper.become_subreaper()  # survives exec, and takes ctypes, half a megabyte that the guard is spared
    own = {guard.ENVIRON_VARIABLE: str(_keep_environ(environ))}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code, *argv], own)  # noqa: S606 - no shell on purpose


def _keep_environ(environ: Mapping[str, str]) -> int:
    """Put the environment where only the guard's child will look: jobs of the same user can read the guard's own in /proc."""
    fd = os.memfd_create("relay-environ", 0)
    data = b"\0".join(os.fsencode(f"{name}={value}") for name, value in environ.items())
    while data:
        data = data[os.write(fd, data) :]
    return fd


def _is_pipe(fd: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(fd).st_mode)
    except OSError:
        return False
