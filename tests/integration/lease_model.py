"""The lease protocol as a world of its own: Relay's workers, guards and rescuers, real SQL, real Lua, and time that is moved.

Everything that decides is Relay's code; the world decides when it gets on. Each step is one move of `moves`: a call is applied,
answered or lost, a process starts or ends, a guard wakes, a rescuer looks. Actors are lazy, so every pause, delay and outage is
a matter of which move comes next. Only guards are prompt: time does not pass beyond a deadline and the 3 s that they have.

Clocks run apart by 15 % at most: the worker's boot clock, the rescuers' monotonic ones and Redis's each have a rate.
The promise is checked after each step: two attempts of a job never run at the same time, and no attempt is recorded twice.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from relay.worker.roster import Phase
from tests.integration import seeding, working
from tests.integration.lease_model_calls import Call, Store, Wire, settle
from tests.integration.lease_model_redis import SimulatedRedis
from tests.integration.lease_model_rescuer import Watcher
from tests.integration.lease_model_worker import Process, State, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from relay.config import Settings
    from relay.process.command import Command
    from relay.process.tree import Start
    from relay.store.connection import Connection

TTL_S = 15.0
GUARD_MS = 3000  # within which a guard has killed, by its own clock
SLOW = 1 / 1.15
_BOOT_NS = 10**15
_ATTEMPTS = """
SELECT jobs.id, jobs.status, jobs.attempt, attempts.claim_id::text, attempts.outcome, attempts.attempt AS number,
       jobs.claim_id = attempts.claim_id AS is_current
  FROM jobs LEFT JOIN attempts ON attempts.job_id = jobs.id ORDER BY jobs.id, attempts.attempt"""
_EMPTY = "DELETE FROM workers; DELETE FROM attempts; DELETE FROM job_specs; DELETE FROM jobs; DELETE FROM audit"


class Overlap(AssertionError):
    """Two attempts of one job run at the same time."""


class Harm(AssertionError):
    """An attempt was lost although one store was healthy."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast clocks run, in their own seconds per true second."""

    worker: float = 1.0
    rescuer: float = 1.0
    redis: float = 1.0


EVEN = Rates()


class World:
    """One job at a time, and everyone who has to do with it. `healthy` is a store that is prompt; None: none need be."""

    def __init__(
        self, conn: Connection, settings: Settings, *, rates: Rates = EVEN, healthy: Store | None = None
    ) -> None:
        self.conn = conn
        self.settings = settings
        self.rates = rates
        self.healthy = healthy
        self.now_ms = 0
        self.wire = Wire(conn)
        self.workers: list[Worker] = []
        self.rescuers: list[Watcher] = []
        self.job_id = 0
        self.status = "PENDING"  # the job's, when it was last looked at
        self._outcomes: dict[str, str] = {}

    async def begin(self, *, workers: int = 2, rescuers: int = 1) -> None:
        """Empty the tables, submit a job, start the workers and rescuers."""
        await self.conn.execute(_EMPTY)
        cluster_id = str(await self.conn.fetchval("SELECT cluster_id FROM cluster"))
        self.redis = SimulatedRedis(self.settings.redis_url, cluster_id=cluster_id, ttl_s=TTL_S, rate=self.rates.redis)
        await self.redis.wipe()
        await self.submit()
        for _ in range(workers):
            await self.start_worker()
        self.rescuers = [Watcher(self) for _ in range(rescuers)]
        await settle()

    async def close(self) -> None:
        for actor in self._actors:
            await actor.close()
        await self.redis.close()

    @property
    def _actors(self) -> list[Worker | Watcher]:
        return [*self.workers, *self.rescuers]

    @property
    def boot_ns(self) -> int:
        """CLOCK_BOOTTIME of all workers' hosts."""
        return _BOOT_NS + int(self.now_ms * self.rates.worker * 1e6)

    @property
    def rescuer_s(self) -> float:
        """The rescuers' monotonic clock."""
        return 1000 + self.now_ms * self.rates.rescuer / 1000

    async def submit(self) -> None:
        self.job_id, self.status = await seeding.insert_one(self.conn, max_retries=1000), "PENDING"

    async def start_worker(self) -> None:
        worker = Worker(self, self.settings, await working.register(self.conn))
        self.workers.append(worker)
        worker.next_beat_ms, worker.next_renewal_ms = self.now_ms + 2000, self.now_ms + 4000

    @property
    def living(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.is_alive]

    @property
    def processes(self) -> list[Process]:
        return [process for worker in self.workers for process in worker.processes]

    def execution(
        self,
        command: Command,
        *,
        output: object,
        on_starting: Callable[[], None],
        on_started: Callable[[int, Start], None],
    ) -> Process:
        """Make what stands for an attempt's execution."""
        del output
        worker = next(each for each in self.workers if each.id == int(command.env["RELAY_WORKER"]))
        process = Process(worker, command, on_starting=on_starting, on_started=on_started)
        worker.processes.append(process)
        return process

    def summary(self) -> Counter[str]:
        """What has come of it all."""
        seen = Counter(f"an attempt {outcome}" for outcome in self._outcomes.values())
        seen["rescued by silence"] = sum(watcher.state.rescued for watcher in self.rescuers)
        for worker in self.workers:
            seen["a finish fenced"] += worker.parts.finisher.fenced
            seen["a process killed by its guard"] += worker.guard.killed
            seen["a worker killed at its fork"] += worker.is_killed_at_fork
        return seen

    async def advance(self, ms: int, *, is_deaf: bool = False) -> None:
        """Let time pass. Leases end; guards act when they must; until then they read their pipes, unless they are deaf."""
        end_ms = self.now_ms + ms
        while self.now_ms < end_ms:
            if not is_deaf:
                for worker in self.workers:
                    worker.guard.hear()
            stops = [end_ms, self.redis.next_end_ms, *map(self._guard_limit_ms, self.workers), *self._duties_ms()]
            self._set_time(max(self.now_ms, min(stop for stop in stops if stop is not None)))
            await self.redis.expire()
            for worker in self.workers:
                limit_ms = self._guard_limit_ms(worker)
                if limit_ms is not None and limit_ms <= self.now_ms:
                    worker.guard.act()
            await settle()
            await self.attend()

    def _set_time(self, now_ms: int) -> None:
        self.now_ms = self.wire.now_ms = self.redis.now_ms = now_ms

    def _guard_limit_ms(self, worker: Worker) -> int | None:
        """Until when this worker's guard must have acted."""
        limits = []
        if worker.died_ms is not None and worker.has_processes:
            limits.append(worker.died_ms + int(GUARD_MS / self.rates.worker))
        deadline_ns = worker.guard.deadline_ns
        if deadline_ns is not None:
            limits.append(int(((deadline_ns - _BOOT_NS) / 1e6 + GUARD_MS) / self.rates.worker))
        return min(limits, default=None)

    def _duties_ms(self) -> list[int]:
        """When a worker that isn't disturbed does something by itself, or gives a call up."""
        if self.healthy is None:
            return []
        beats = [each.next_beat_ms for each in self.living if not each.is_busy("beat")]
        renewals = [each.next_renewal_ms for each in self.living if not each.is_busy("renew")]
        return [*beats, *renewals, *(call.sent_ms + _patience_ms(call) for call in self._impatient())]

    def _impatient(self) -> list[Call]:
        """The calls of workers that are given up if they take too long."""
        return [call for call in self.wire.under_way if isinstance(call.sender, Worker) and _patience_ms(call)]

    async def attend(self) -> None:
        """With a healthy store: that store answers workers at once, and workers do what they must in time."""
        if self.healthy is None:
            return
        for worker in self.living:
            worker.lapse()
            self._check_harm()
            if not worker.is_busy("beat") and worker.next_beat_ms <= self.now_ms:
                worker.beat()
            if not worker.is_busy("renew") and worker.next_renewal_ms <= self.now_ms:
                worker.renew()
            worker.attend_processes()
        await settle()
        while True:
            due = [
                call for call in self.wire.under_way if call.store is self.healthy and isinstance(call.sender, Worker)
            ]
            late = [call for call in self._impatient() if call.sent_ms + _patience_ms(call) <= self.now_ms]
            if not due and not late:
                break
            await (self.wire.exchange(due[0]) if due else self.wire.lose(late[0]))
            for worker in self.living:
                worker.attend_processes()
            await settle()

    async def check(self) -> None:
        """What must hold at any time."""
        alive = Counter(process.job_id for process in self.processes if process.state is State.ALIVE)
        if any(count > 1 for count in alive.values()):
            raise Overlap(f"at {self.now_ms} ms")
        for actor in self._actors:
            actor.raise_errors()
        if self.wire.has_written:
            self.wire.has_written = False
            await self._check_tables()
        if self.healthy is not None:
            self._check_harm()

    async def _check_tables(self) -> None:
        rows = await self.conn.fetch(_ATTEMPTS)
        self.status = rows[-1]["status"]
        for _, group in groupby(rows, key=lambda row: row["id"]):
            attempts = list(group)
            status, last = attempts[0]["status"], attempts[0]["attempt"]
            assert [row["number"] for row in attempts if row["number"]] == list(range(1, last + 1))
            assert [row["is_current"] for row in attempts if last and row["outcome"] is None] == [True] * (
                status == "RUNNING"
            )
            outcomes = {row["claim_id"]: row["outcome"] for row in attempts if row["outcome"]}
            assert list(outcomes.values()).count("succeeded") == (status == "COMPLETED")
            assert all(outcomes.get(claim) == known for claim, known in self._outcomes.items() if claim in outcomes)
            self._outcomes |= outcomes

    def _check_harm(self) -> None:
        held = [(worker, claim) for worker in self.living for claim in worker.parts.roster]
        for worker, claim in held:
            if claim.phase is Phase.FINISHING:
                continue
            if claim.is_over or claim.trusted_until_ns <= self.boot_ns:
                raise Harm(f"worker {worker.id} had to give up a claim at {self.now_ms} ms")
            if claim.facts.claim_id in self._outcomes:
                raise Harm(f"a claim of worker {worker.id} was taken from it at {self.now_ms} ms")


def _patience_ms(call: Call) -> int:
    """How long a worker waits for an answer: a second for Redis, TTL/3 for a heartbeat, and very long else (0)."""
    if call.store is Store.REDIS:
        return 1000
    return 5000 if call.name in ("beat", "list_running_claims") else 0
