"""The child watcher: one pidfd per child, reaped with `wait4` so that its CPU time is known.

Python 3.11's default watcher starts a thread per child; 3.12 and 3.13 choose pidfds by themselves but reap with `waitpid`.
This one also tells its caller of a child's birth before anything else can run, and of its death without asyncio's detour
through the transport, and it looks for a remaining process group in the same breath as the reaping: later, the number could
belong to somebody else. Child watchers are gone in Python 3.14, hence `requires-python`.

A job's child has pipes, a watcher and an end of its own, so the transport that `create_subprocess_exec` asks the loop for
has nothing left to do but to know the pid. asyncio's would cost a task, a future and four callbacks per child, an eighth of
what a short job costs a worker. Children that others start by asyncio get asyncio's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from relay.process import tree
from relay.process.poller import Poller
from relay.process.tree import Start

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Callback = Callable[..., object]


class Exit(NamedTuple):
    """A child's end.

    `returncode` is negative for a signal; `cpu_s` counts children that it waited for too; `has_group` tells whether its process
    group still had members right after it was reaped.
    """

    returncode: int
    cpu_s: float
    has_group: bool


class Child:
    """A child to be: `on_birth(pid, start)` is called synchronously after the fork; `exit` is None until it is reaped."""

    __slots__ = ("_on_birth", "_popen", "_waiter", "exit", "pid", "start")

    def __init__(self, on_birth: Callable[[int, Start], None]) -> None:
        self.pid: int | None = None
        self.start: Start | None = None
        self.exit: Exit | None = None
        self._on_birth: Callable[[int, Start], None] | None = on_birth
        self._popen: subprocess.Popen[bytes] | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it was born and is not reaped yet: only then is its pid certain to be its own."""
        return self.pid is not None and self.exit is None

    async def wait(self) -> Exit:
        """Wait until it is reaped. One waiter at a time; the wait can be cancelled and begun again."""
        while self.exit is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self.exit

    def signal_group(self, sig: signal.Signals) -> None:
        """Signal its process group, as long as the group's number is certain to be its own."""
        if self.is_alive and self.pid is not None:
            # PermissionError: every member runs as somebody else.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, sig)

    def be_born(self, popen: subprocess.Popen[bytes], start: Start) -> None:
        """Note the pid and the time; for the watcher."""
        self._popen, self.start = popen, start
        pid = self.pid = popen.pid
        on_birth, self._on_birth = self._on_birth, None  # a cycle less for the garbage collector, in each attempt
        if on_birth is not None:
            on_birth(pid, start)

    def end(self, end: Exit) -> None:
        """Note the end; for the watcher."""
        self.exit = end
        if self._popen is not None:
            self._popen.returncode = end.returncode  # else it would reap whoever has this pid by then
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Popen(subprocess.Popen[bytes]):
    """Without the closing of pipes that it has not made: an exit stack for nothing, a twentieth of a start's cost."""

    def _close_pipe_fds(self, *_: int) -> None:
        self._closed_child_pipe_fds = True


class _Transport(asyncio.SubprocessTransport):
    """What `create_subprocess_exec` needs of a transport: the pid."""

    def __init__(self, pid: int) -> None:
        super().__init__()
        self._pid = pid

    def get_pid(self) -> int:
        return self._pid


class Watcher(asyncio.PidfdChildWatcher):
    """Watches the children of one event loop, which runs in the main thread. `pids` are those not reaped yet.

    `poller` watches their pidfds, and is there for their pipes too.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._events: asyncio.AbstractEventLoop | None = loop
        self._make_others: Any = loop._make_subprocess_transport  # type: ignore[attr-defined] # noqa: SLF001
        loop._make_subprocess_transport = self._make_transport  # type: ignore[attr-defined] # noqa: SLF001
        self.poller = Poller(loop)
        self._children: dict[int, tuple[int, Callable[[Exit], object]]] = {}  # pid → pidfd, whom to tell
        self._expected: Child | None = None

    @property
    def pids(self) -> Mapping[int, object]:
        """The children that are known and not reaped, by pid."""
        return self._children

    async def start(
        self,
        child: Child,
        argv: Sequence[str] | Sequence[bytes],
        *,
        program: str,
        env: Mapping[str, str] | Mapping[bytes, bytes],
        cwd: str,
        stdin: int,
        stdout: int,
        stderr: int,
    ) -> None:
        """Start a child in its own session, by vfork. Raises OSError as `subprocess` does."""
        self._expected = child  # nothing else runs between here and `_make_transport`
        await asyncio.create_subprocess_exec(
            *argv,
            executable=program,
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    def is_active(self) -> bool:
        """Tell asyncio that it may start children."""
        return self._events is not None and self._events.is_running()

    def attach_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Let go of all children, and watch those that another loop starts by asyncio alone; None: none."""
        if loop is self._events:
            return
        self.close()
        if loop is not None:
            self._events, self.poller = loop, Poller(loop)

    def close(self) -> None:
        """Let go of all children."""
        self.poller.close()
        for pidfd, _ in self._children.values():
            os.close(pidfd)
        self._children.clear()
        self._events = None

    def add_child_handler(self, pid: int, callback: Callback, *args: object) -> None:
        """Watch a child that asyncio has started for somebody else."""
        self._watch(pid, lambda end: callback(pid, end.returncode, *args))

    def remove_child_handler(self, pid: int) -> bool:
        """Stop watching a child; it stays unreaped."""
        known = self._children.pop(pid, None)
        if known is None:
            return False
        self.poller.remove(known[0])
        os.close(known[0])
        return True

    async def _make_transport(
        self, protocol: object, args: object, shell: object, *streams: int, **kwargs: Any
    ) -> object:
        """Start a child as the loop's own method does (stdin, stdout, stderr and bufsize are `streams`)."""
        child, self._expected = self._expected, None
        if child is None:
            return await self._make_others(protocol, args, shell, *streams, **kwargs)
        stdin, stdout, stderr, _ = streams
        first = tree.now_ticks()
        # vfork blocks for as long as `exec` takes, as in asyncio's own.
        popen = _Popen(args, stdin=stdin, stdout=stdout, stderr=stderr, **kwargs)  # type: ignore[call-overload]
        try:
            self._watch(popen.pid, child.end)
        except OSError:  # out of descriptors: what can't be watched must not run
            os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            raise
        child.be_born(popen, Start(first, tree.now_ticks()))
        return _Transport(popen.pid)

    def _watch(self, pid: int, tell: Callable[[Exit], object]) -> None:
        pidfd = os.pidfd_open(pid)
        self.poller.add(pidfd, partial(self._reap, pid))
        self._children[pid] = pidfd, tell

    def _reap(self, pid: int) -> None:
        try:
            _, status, usage = os.wait4(pid, 0)
            returncode, cpu_s = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        except ChildProcessError:  # asyncio killed and reaped it itself: its start was cancelled
            returncode, cpu_s = -signal.SIGKILL, 0.0
        has_group = tree.group_exists(pid)
        pidfd, tell = self._children.pop(pid)
        self.poller.remove(pidfd)
        os.close(pidfd)
        tell(Exit(returncode, cpu_s, has_group))


def install() -> Watcher:
    """Make a watcher for the running loop and have asyncio use it."""
    watcher = Watcher(asyncio.get_running_loop())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from 3.12 on; see this module's docstring
        asyncio.set_child_watcher(watcher)
    return watcher
