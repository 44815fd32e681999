"""The lease model's workers: Relay's own parts and guard, with processes that are only said to run.

`assemble` makes the same heart, claimer, roster, attempts and finisher as in a real worker; the pipe to the guard is a list, and
the guard's rules are the real ones too. What is played is the machine below: processes, which start, end and are killed when
the model says so, and the operating system, which can stop a worker between "starting" and the fork for as long as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum, auto
from typing import TYPE_CHECKING, cast

from relay import errors
from relay.model.results import Ending, Result
from relay.process import guard, link
from relay.process.tree import Start
from relay.worker.drain import Drain
from relay.worker.parts import assemble
from relay.worker.stores import Stores
from tests.integration.lease_model_calls import GatedLeases, Site

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from relay.bus import Consumer, Publisher
    from relay.config import Settings
    from relay.model.records import JobRef
    from relay.process.command import Command
    from relay.store.connection import Pool
    from tests.integration.lease_model import World


class State(Enum):
    """Where a process is: before "starting", between it and the fork, alive, dead."""

    WAITING = auto()
    FORKING = auto()
    ALIVE = auto()
    DEAD = auto()


class Process:
    """Stands for `process.run.Execution`, whose `run` is one step from its first line to the fork."""

    cgroup = None

    def __init__(
        self,
        worker: Worker,
        command: Command,
        *,
        on_starting: Callable[[], None],
        on_started: Callable[[int, Start], None],
    ) -> None:
        self.worker = worker
        self.claim_id = command.claim_id
        self.job_id = int(command.env["RELAY_JOB_ID"])
        self.state = State.WAITING
        self._on_starting, self._on_started = on_starting, on_started
        self._ending: Ending | None = None
        loop = asyncio.get_running_loop()
        self._may_start: asyncio.Future[None] = loop.create_future()
        self._end: asyncio.Future[Result] = loop.create_future()
        self._result: Result | None = None  # of a process that was alive and is dead

    async def run(self) -> Result:
        await self._may_start
        if self._ending is not None:
            self.state = State.DEAD
            return Result(self._ending)
        self.state = State.DEAD  # unless the guard lets it start
        self._on_starting()
        self.state = State.FORKING
        return await self._end

    def start(self) -> None:
        """Let the worker come to the fork."""
        self._may_start.set_result(None)

    @property
    def is_asked_to_start(self) -> bool:
        return self._may_start.done()

    def fork(self) -> None:
        self.state = State.ALIVE
        self._on_started(1, Start(1, 1))

    def end(self, exit_code: int) -> None:
        """End by itself; the worker has yet to hear of it."""
        self.state = State.DEAD
        self._result = Result(self._ending or Ending.EXITED, exit_code=None if self._ending else exit_code)

    def release(self) -> None:
        """Be stopped as by a drain: the job is PENDING again at once."""
        self.stop(Ending.RELEASED)

    def die(self) -> None:
        """Be killed by somebody; the worker has yet to hear of it."""
        if self.state is State.ALIVE:
            self.state = State.DEAD
            self._result = Result(self._ending or Ending.SIGNALED, signal="KILL")

    @property
    def is_to_reap(self) -> bool:
        return self._result is not None and not self._end.done()

    def reap(self) -> None:
        """Let the worker hear of the end."""
        assert self._result is not None
        self._end.set_result(self._result)

    def kill(self) -> None:
        self._ending = self._ending or Ending.RELEASED
        self.die()

    def stop(self, ending: Ending) -> None:
        self._ending = self._ending or ending
        self.die()


class Guard(guard.Guard):
    """The real rules about messages and deadlines; scans and signals are a list of the model's."""

    def __init__(self, worker: Worker) -> None:
        self._sim = worker
        self._rest = b""
        self._claims = {}
        self._dying = {}
        self._dying_since, self._clean_scans = 0.0, 0
        self._nearest_ns = None
        self.pipe: list[str] = []
        self.killed = 0

    def hear(self) -> None:
        """Read what is in the pipe."""
        lines, self.pipe = self.pipe, []
        try:
            for line in lines:
                self._hear(line)
        except (ValueError, LookupError):
            self._kill_worker()

    @property
    def deadline_ns(self) -> int | None:
        """The nearest deadline that has not passed, of what it was told."""
        claims = {line.split(" ")[1]: int(line.split(" ")[2]) for line in self.pipe if line.startswith("starting ")}
        ends = [claim.deadline_ns for claim in self._claims.values() if not claim.is_passed]
        return min([*ends, *claims.values()], default=None)

    def act(self) -> None:
        """Do what it would do by itself: hear, let deadlines pass, kill."""
        self.hear()
        self._pass_deadlines()
        for claim_id in list(self._dying):
            for process in self._sim.processes:
                if process.claim_id == claim_id:
                    self.killed += process.state is State.ALIVE
                    process.die()
        self._dying.clear()
        if not self._sim.is_alive:
            self._sim.kill_processes()

    def _kill_worker(self) -> None:
        self._sim.is_killed_at_fork = self._sim.forking is not None
        self._sim.die()


class Link(link.GuardLink):
    """The worker's end of the pipe."""

    def __init__(self, worker: Worker) -> None:
        self._sim = worker
        self._closed = asyncio.Event()

    def _send(self, lines: str) -> None:
        if self._sim.is_alive:
            self._sim.guard.pipe += lines.splitlines()


class Silent:
    """Kafka is no part of the protocol: a worker is told what to want."""

    def publish(self, refs: Sequence[JobRef]) -> None:
        """Tell nobody."""


class Worker:
    """One worker and its guard. It acts only when the model lets it: `beat`, `renew`, `lapse`, the steps of its processes."""

    def __init__(self, world: World, settings: Settings, worker_id: int) -> None:
        self.id = worker_id
        self.is_alive = True
        self.is_killed_at_fork = False
        self.died_ms: int | None = None
        self.processes: list[Process] = []
        self.next_beat_ms = self.next_renewal_ms = 0
        self._world = world
        self._loop = asyncio.get_running_loop()
        self._tasks: list[asyncio.Task[object]] = []
        self._loops: dict[str, asyncio.Task[object]] = {}
        self.guard = Guard(self)
        self.link = Link(self)
        site, silent = cast("Pool", Site(world.wire, self)), Silent()
        leases = GatedLeases(world.redis, world.wire, self)
        stores = Stores(site, site, leases, cast("Publisher", silent), cast("Consumer", silent))
        tasks = cast("asyncio.TaskGroup", self)
        self.parts = assemble(settings, stores, tasks, worker_id=worker_id, link=self.link, drain=Drain())
        for serving in (self.parts.claimer, self.parts.finisher, self.parts.aftermath):
            self.create_task(serving.serve())

    def create_task(self, coroutine: Coroutine[object, object, object]) -> asyncio.Task[object]:
        """Stand for the worker's task group."""
        task = self._loop.create_task(coroutine)
        self._tasks.append(task)
        return task

    @property
    def is_free(self) -> bool:
        """Whether its event loop runs: it lives, and is not about to fork."""
        return self.is_alive and self.forking is None

    @property
    def forking(self) -> Process | None:
        return next((process for process in self.processes if process.state is State.FORKING), None)

    def is_busy(self, loop: str) -> bool:
        """Whether this loop ("beat", "renew") is in the middle of a round."""
        return loop in self._loops and not self._loops[loop].done()

    def beat(self) -> None:
        self._loops["beat"] = self.create_task(self._beat())

    def renew(self) -> None:
        self._loops["renew"] = self.create_task(self._renew())

    async def _beat(self) -> None:
        self.next_beat_ms = self._world.now_ms + 1000
        with contextlib.suppress(errors.Unavailable):
            await self.parts.heart._beat_once()
            self.next_beat_ms = self._world.now_ms + 5000

    async def _renew(self) -> None:
        is_renewed = await self.parts.heart._renew_once()
        self.next_renewal_ms = self._world.now_ms + (5000 if is_renewed else 1000)

    def lapse(self) -> None:
        self.parts.heart._give_up_lapsed()

    def die(self) -> None:
        """Be killed: nothing that it has begun goes on, what it has sent may still arrive, its processes are the guard's."""
        if self.is_alive:
            self.is_alive = False
            self.died_ms = self._world.now_ms
            self._world.wire.abandon(self)
            for process in self.processes:
                if process.state in (State.WAITING, State.FORKING):
                    process.state = State.DEAD
            for task in self._tasks:
                task.cancel()

    @property
    def has_processes(self) -> bool:
        return any(process.state is State.ALIVE for process in self.processes)

    def attend_processes(self) -> None:
        """Do at once what a worker that nothing holds up does with its processes."""
        for process in self.processes:
            if process.state is State.WAITING and not process.is_asked_to_start:
                process.start()
            elif process.state is State.FORKING:
                process.fork()
            elif process.is_to_reap:
                process.reap()

    def raise_errors(self) -> None:
        """Raise what none of its tasks should have ended with."""
        for task in [each for each in self._tasks if each.done() and not each.cancelled()]:
            self._tasks.remove(task)
            task.result()

    def kill_processes(self) -> None:
        for process in self.processes:
            process.die()

    async def close(self) -> None:
        self.die()
        await asyncio.gather(*self._tasks, return_exceptions=True)
