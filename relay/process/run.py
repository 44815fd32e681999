"""Run one command to its end, and return only when no process of it is left.

The end of the main process is watched apart from the end of its output: a daemon that holds the pipes open must not keep
the attempt open. Then what is left of the tree is killed and counted, the pipes are drained for at most 2 s, the working
directory is removed. Whoever first asks for an end (timeout, limit, cancel, drain) names the ending. Stopping sends TERM
and CONT to the whole tree (a stopped process would never see the TERM), and KILL when the grace is over: also to what
outlived the main process, which has the rest of the grace.
Trouble of the host (no memory, processes, descriptors or disk) is no fault of the job: the attempt is RELEASED.
A process that this worker may not kill (the job went through sudo) keeps `run` from returning until it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from relay import log
from relay.model import results
from relay.model.results import Ending, Result
from relay.process import environ, limits, orphans, program, stdin
from relay.process.launch import Launch
from relay.process.monitor import Monitor
from relay.process.pipes import Pipes
from relay.process.program import StartError
from relay.process.tree import Target, signal_each
from relay.process.watcher import Child

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from relay.process.command import Command
    from relay.process.output import Output
    from relay.process.tree import Start

_log = log.get(__name__)
_DRAIN_S = 2.0
_ABORT_S = 5.0  # for killing everything when `run` is cancelled
_PAUSE_S, _MAX_PAUSE_S = 0.002, 0.25
_UNKILLABLE_S = 5.0
_IS_UTF8 = sys.getfilesystemencoding() == "utf-8"  # then `subprocess` encodes as we would, once instead of twice


class Execution:
    """One attempt's processes.

    `on_starting` is called right before the fork, `on_started(pid, start)` right after it, with the main process's pid
    and time of start. `run` is called once.
    """

    def __init__(
        self,
        command: Command,
        *,
        output: Output,
        on_starting: Callable[[], None],
        on_started: Callable[[int, Start], None],
    ) -> None:
        self._on_starting: Callable[[], object] = on_starting
        self._on_started: Callable[[int, Start], object] = on_started
        self._command = command
        self._output = output
        self._launch = Launch(command)
        self._child = Child(self._note_birth)
        self._ending: Ending | None = None
        self._broken_limit: str | None = None
        self._error: str | None = None
        self._kill_at: float | None = None  # by the loop's clock; set when it is asked to stop
        self._is_killed = False
        self._timers: list[asyncio.TimerHandle] = []
        self._peak_bytes: int | None = None
        self._leftover: set[tuple[int, int]] = set()

    @property
    def cgroup(self) -> str | None:
        """The folder of this attempt's own cgroup, where there is one; known from the start on."""
        return None if self._launch.cgroup is None else str(self._launch.cgroup.folder)

    async def run(self) -> Result:
        """Run the command; what goes wrong with it is in the result. If cancelled, everything is killed first."""
        if self._ending is not None:
            self._output.finish()
            return self._result()
        self._orphans = orphans.current()
        self._orphans.enter(self._command.claim_id)
        try:
            self._launch.prepare()
            await self._execute()
        except StartError as error:
            return Result(Ending.START_ERROR, exit_code=error.code, error=str(error))
        except OSError as error:
            return Result(Ending.RELEASED, error=f"this host is in trouble: {error}")
        finally:
            self._output.finish()
            self._orphans.leave(self._command.claim_id)
            await self._launch.clear()
            self._on_starting = self._on_started = _ignore  # they may lead back to here: no cycle is left
        return self._result()

    def stop(self, ending: Ending) -> None:
        """Ask the whole tree to end, kill it when the grace is over. Idempotent; the first to ask names the ending."""
        if self._child.exit is not None:
            return
        self._ending = self._ending or ending
        if self._kill_at is not None or not self._child.is_alive:
            return
        loop = asyncio.get_running_loop()
        self._kill_at = loop.time() + self._command.kill_grace_s
        self._timers.append(loop.call_at(self._kill_at, self.kill))
        self._signal_all(signal.SIGTERM, signal.SIGCONT)

    def kill(self) -> None:
        """Kill the tree at once; without a `stop` before, the attempt ends as RELEASED. Idempotent."""
        if self._child.exit is None:
            self._ending = self._ending or Ending.RELEASED
        self._kill_at = 0.0  # no grace any more
        self._is_killed = True
        self._child.signal_group(signal.SIGKILL)  # what left the group is found once the main process is gone

    async def _execute(self) -> None:
        pipes, feed = Pipes(self._output.add, self._orphans.watcher.poller), None
        try:
            if self._command.stdin is not None and not isinstance(self._command.stdin, str):
                feed = stdin.Feed()
            await self._spawn(pipes, feed)
            await self._attend(feed)
            await pipes.drain(_DRAIN_S)
        except BaseException:
            if self._child.pid is not None:
                await self._abort()
            raise
        finally:
            pipes.close()
            if feed is not None:
                feed.close()

    async def _spawn(self, pipes: Pipes, feed: stdin.Feed | None) -> None:
        """Start the main process. This process's copies of its descriptors are closed, whatever comes of it."""
        source, launch, own_stdin = self._command.stdin, self._launch, stdin.null()
        try:
            if isinstance(source, str):
                own_stdin = stdin.open_text(source)
            elif feed is not None:
                own_stdin = feed.child_end
            self._on_starting()
            await self._orphans.watcher.start(
                self._child,
                launch.argv if _IS_UTF8 else [word.encode() for word in launch.argv],
                program=launch.program,
                env=self._command.env if _IS_UTF8 else environ.encode(self._command.env),
                cwd=launch.cwd,
                stdin=own_stdin,
                stdout=pipes.stdout,
                stderr=pipes.stderr,
            )
        except OSError as error:
            if error.errno in program.HOST_ERRORS:
                raise
            raise program.explain(error, launch.program, launch.cwd) from error
        finally:
            pipes.close_child_ends()
            if own_stdin != stdin.null():
                os.close(own_stdin)

    async def _attend(self, feed: stdin.Feed | None) -> None:
        """See the started child through to its end, and to that of its tree."""
        source = self._command.stdin
        if feed is None or source is None or isinstance(source, str):
            await self._watch()
            return
        async with asyncio.TaskGroup() as group:
            feeder = group.create_task(self._feed(feed, source))
            await self._watch()
            feeder.cancel()

    async def _feed(self, feed: stdin.Feed, source: AsyncIterator[bytes]) -> None:
        try:
            await feed.run(source)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not go on with half of its input
            self._error = f"its standard input could not be read: {error}"
            self.stop(Ending.RELEASED)

    async def _watch(self) -> None:
        command = self._command
        if command.timeout_s:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(command.timeout_s, self.stop, Ending.TIMED_OUT))
        monitor = Monitor(command.limits, self._launch.cgroup, roots=self._roots, on_broken=self._break)
        monitor.start()
        try:
            await self._child.wait()
            monitor.stop()
            await self._clean()
        finally:
            monitor.stop()
            self._peak_bytes = monitor.peak_bytes
            for timer in self._timers:
                timer.cancel()

    async def _abort(self) -> None:
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ABORT_S):
                await self._child.wait()
                await self._clean()

    async def _clean(self) -> None:
        """Kill what outlived the main process, until nothing does; while the grace of a stop lasts, only wait for it."""
        end = self._child.exit
        assert end is not None
        if not end.has_group and not self._orphans.of(self._command.claim_id):
            return
        loop = asyncio.get_running_loop()
        began, pause_s, clean_looks, is_told = loop.time(), _PAUSE_S, 0, False
        while clean_looks < 2:
            clean_looks = 0 if self._look() else clean_looks + 1
            if loop.time() - began > _UNKILLABLE_S and not is_told and not self._has_grace():
                is_told = True
                _log.warning("attempt.unkillable", claim_id=self._command.claim_id)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _look(self) -> bool:
        """Look once for processes that are left, and kill them unless they still have grace. True: there are some."""
        try:
            if self._has_grace():
                return bool(self._orphans.left_by(self._target))
            found = self._orphans.kill_left_by(self._target)
        except OSError as error:  # out of descriptors: what can't be seen isn't clean
            _log.warning("attempt.unseen", claim_id=self._command.claim_id, error=str(error))
            return True
        if not self._is_killed:
            self._leftover.update((proc.pid, proc.start) for proc in found)
        return bool(found)

    @property
    def _target(self) -> Target:
        return Target(self._command.claim_id, self._child.pid, self._child.start, self.cgroup)

    def _has_grace(self) -> bool:
        return self._kill_at is not None and asyncio.get_running_loop().time() < self._kill_at

    def _signal_all(self, *sigs: signal.Signals) -> None:
        """Send the signals to the group, then to what left it."""
        for sig in sigs:
            self._child.signal_group(sig)
        others = [proc for proc in self._orphans.left_by(self._target) if proc.pgid != self._child.pid]
        for sig in sigs:
            signal_each(others, sig)

    def _roots(self) -> list[int]:
        return [self._child.pid, *self._orphans.of(self._command.claim_id)] if self._child.pid is not None else []

    def _break(self, limit: str) -> None:
        if self._ending is None:
            self._ending, self._broken_limit = Ending.LIMIT, limit
        self.kill()

    def _note_birth(self, pid: int, start: Start) -> None:
        self._orphans.lead(self._command.claim_id, pid)
        self._on_started(pid, start)

    def _result(self) -> Result:
        end = self._child.exit
        if end is not None and self._ending is None and limits.is_cpu_time_broken(self._command.limits, end):
            self._ending, self._broken_limit = Ending.LIMIT, "cpu_time"
        is_signaled = end is not None and end.returncode < 0
        return Result(
            ending=self._ending or (Ending.SIGNALED if is_signaled else Ending.EXITED),
            exit_code=None if end is None or is_signaled else end.returncode,
            signal=results.signal_name(-end.returncode) if end is not None and is_signaled else None,
            broken_limit=self._broken_limit,
            error=self._error,
            cpu_s=None if end is None else end.cpu_s,
            peak_memory_bytes=self._peak_bytes,
            leftover_processes=len(self._leftover),
            stdout_bytes=self._output.stdout_bytes,
            stderr_bytes=self._output.stderr_bytes,
            dropped_bytes=self._output.dropped_bytes,
        )


def _ignore(*_: object) -> None:
    """Do nothing."""
