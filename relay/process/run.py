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
from typing import TYPE_CHECKING

from relay import log
from relay.model import results
from relay.model.results import Ending, Result
from relay.process import limits, orphans, program, stdin
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

_log = log.get(__name__)
_DRAIN_S = 2.0
_ABORT_S = 5.0  # for killing everything when `run` is cancelled
_PAUSE_S, _MAX_PAUSE_S = 0.002, 0.25
_UNKILLABLE_S = 5.0


class Execution:
    """One attempt's processes.

    `on_starting` is called right before the fork, `on_started(pid, start)` right after it, with the main process's start in
    clock ticks since boot. `run` is called once.
    """

    def __init__(
        self,
        command: Command,
        *,
        output: Output,
        on_starting: Callable[[], None],
        on_started: Callable[[int, int], None],
    ) -> None:
        self._command = command
        self._output = output
        self._on_starting = on_starting
        self._on_started = on_started
        self._child = Child(self._note_birth)
        self._ending: Ending | None = None
        self._broken_limit: str | None = None
        self._error: str | None = None
        self._kill_at: float | None = None  # by the loop's clock; set when it is asked to stop
        self._is_killed = False
        self._timers: list[asyncio.TimerHandle] = []
        self._monitor: Monitor | None = None
        self._leftover: set[tuple[int, int]] = set()

    async def run(self) -> Result:
        """Run the command; what goes wrong with it is in the result. If cancelled, everything is killed first."""
        if self._ending is not None:
            self._output.finish()
            return self._result()
        self._orphans = orphans.current()
        self._orphans.enter(self._command.claim_id)
        launch = Launch(self._command)
        try:
            launch.prepare()
            await self._execute(launch)
        except StartError as error:
            return Result(Ending.START_ERROR, exit_code=error.code, error=str(error))
        except OSError as error:
            if error.errno not in program.HOST_ERRORS:
                return Result(Ending.START_ERROR, exit_code=program.NOT_EXECUTABLE, error=str(error))
            return Result(Ending.RELEASED, error=f"this host is in trouble: {error}")
        finally:
            self._output.finish()
            await launch.clear()
            self._orphans.leave(self._command.claim_id)
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
        self._signal_all(signal.SIGTERM)
        self._signal_all(signal.SIGCONT)

    def kill(self) -> None:
        """Kill the tree at once; without a `stop` before, the attempt ends as RELEASED. Idempotent."""
        if self._child.exit is None:
            self._ending = self._ending or Ending.RELEASED
        self._kill_at = 0.0
        self._is_killed = True
        self._child.signal_group(signal.SIGKILL)  # what left the group is found once the main process is gone

    async def _execute(self, launch: Launch) -> None:
        pipes = Pipes(self._output.add)
        feed: int | None = None
        try:
            own_stdin, feed = self._open_stdin()
            try:
                await self._spawn(launch, pipes, own_stdin)
            finally:
                pipes.close_child_ends()
                if own_stdin >= 0:
                    os.close(own_stdin)
            await self._attend(launch, feed)
            feed = None
            await pipes.drain(_DRAIN_S)
        finally:
            pipes.close()
            if feed is not None and self._child.pid is None:
                os.close(feed)

    def _open_stdin(self) -> tuple[int, int | None]:
        """Give the child's end (or DEVNULL), and the end to feed if it is a stream."""
        source = self._command.stdin
        if source is None:
            return asyncio.subprocess.DEVNULL, None
        if isinstance(source, str):
            return stdin.open_text(source), None
        return os.pipe2(os.O_CLOEXEC)

    async def _spawn(self, launch: Launch, pipes: Pipes, own_stdin: int) -> None:
        self._on_starting()
        try:
            await self._orphans.watcher.start(
                self._child,
                [word.encode() for word in launch.argv],
                program=launch.program,
                env={name.encode(): value.encode() for name, value in self._command.env.items()},
                cwd=launch.cwd,
                stdin=own_stdin,
                stdout=pipes.stdout,
                stderr=pipes.stderr,
            )
        except OSError as error:
            if error.errno in program.HOST_ERRORS:
                raise
            raise program.explain(error, launch.program, launch.cwd) from error

    async def _attend(self, launch: Launch, feed: int | None) -> None:
        """See the started child through to its end, and to that of its tree."""
        if feed is None:
            await self._watch(launch)
            return
        source = self._command.stdin
        assert source is not None
        assert not isinstance(source, str)
        async with asyncio.TaskGroup() as group:
            feeder = group.create_task(self._feed(feed, source))
            await self._watch(launch)
            feeder.cancel()

    async def _feed(self, fd: int, source: AsyncIterator[bytes]) -> None:
        try:
            await stdin.feed(fd, source)
        except Exception as error:  # noqa: BLE001 - whatever it is, the job must not go on with half of its input
            self._error = f"its standard input could not be read: {error}"
            self.stop(Ending.RELEASED)

    async def _watch(self, launch: Launch) -> None:
        command, loop = self._command, asyncio.get_running_loop()
        target = Target(
            command.claim_id, self._child.pid, self._child.start, launch.cgroup and str(launch.cgroup.folder)
        )
        if command.timeout_s:
            self._timers.append(loop.call_later(command.timeout_s, self.stop, Ending.TIMED_OUT))
        self._monitor = Monitor(command.limits, launch.cgroup, roots=self._roots, on_broken=self._break)
        self._monitor.start()
        try:
            await self._child.wait()
            await self._clean(target)
        except asyncio.CancelledError:
            self.kill()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ABORT_S):
                    await self._child.wait()
                    await self._clean(target)
            raise
        finally:
            self._monitor.stop()
            for timer in self._timers:
                timer.cancel()

    async def _clean(self, target: Target) -> None:
        """Kill what outlived the main process, until nothing does; while the grace of a stop lasts, only wait for it."""
        end = self._child.exit
        assert end is not None
        if not end.has_group and not self._orphans.of(target.claim_id):
            return
        loop = asyncio.get_running_loop()
        began, pause_s, clean_looks, is_told = loop.time(), _PAUSE_S, 0, False
        while clean_looks < 2:
            clean_looks = 0 if self._look(target) else clean_looks + 1
            if loop.time() - began > _UNKILLABLE_S and not is_told and not self._has_grace():
                is_told = True
                _log.warning("attempt.unkillable", claim_id=target.claim_id)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    def _look(self, target: Target) -> bool:
        """Look once for processes that are left, and kill them unless they still have grace. True: there are some."""
        try:
            if self._has_grace():
                return bool(self._orphans.left_by(target))
            found = self._orphans.kill_left_by(target)
        except OSError as error:  # out of descriptors: what can't be seen isn't clean
            _log.warning("attempt.unseen", claim_id=target.claim_id, error=str(error))
            return True
        if not self._is_killed:
            self._leftover.update((proc.pid, proc.start) for proc in found)
        return bool(found)

    def _has_grace(self) -> bool:
        return self._kill_at is not None and asyncio.get_running_loop().time() < self._kill_at

    def _signal_all(self, sig: signal.Signals) -> None:
        """Signal the group, then what left it."""
        self._child.signal_group(sig)
        pid = self._child.pid
        others = self._orphans.left_by(Target(self._command.claim_id, pid, self._child.start))
        signal_each([proc for proc in others if proc.pgid != pid], sig)

    def _roots(self) -> list[int]:
        return [self._child.pid, *self._orphans.of(self._command.claim_id)] if self._child.pid is not None else []

    def _break(self, limit: str) -> None:
        if self._child.exit is None and self._ending is None:
            self._ending = Ending.LIMIT
            self._broken_limit = limit
        self.kill()

    def _note_birth(self, pid: int, start: int) -> None:
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
            peak_memory_bytes=None if self._monitor is None else self._monitor.peak_bytes,
            leftover_processes=len(self._leftover),
            stdout_bytes=self._output.stdout_bytes,
            stderr_bytes=self._output.stderr_bytes,
            dropped_bytes=self._output.dropped_bytes,
        )
