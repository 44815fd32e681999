"""The lifecycle machine: picks, at random, what happens next to the jobs that there are.

Hypothesis gives each example a random subset of a machine's rules. Here most subsets would be dull: without claims, or without
finishes, no job gets anywhere. So there is one rule, which draws among all that is possible now, each with its own arguments.
A pick counts from the newest item of a list, so that a shorter history shrinks to the same example.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from relay.model.states import JobStatus
from tests.integration.lifecycle_calls import STRANGER, Calls
from tests.integration.lifecycle_specs import KEYS, RESULTS, SHAPES

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from relay.model.results import Result
    from relay.store.claims import Claimed
    from relay.store.connection import Connection
    from tests.integration.lifecycle import Job
    from tests.integration.lifecycle_specs import Shape

T = TypeVar("T")
ENOUGH = 8  # living jobs: more would only wait
PICK = st.integers(0, 7)
PICKS = st.lists(PICK, min_size=1, max_size=4)
WORKER = st.integers(0, 1)
CALLS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "submit": {"requests": st.lists(st.tuples(SHAPES, KEYS), min_size=1, max_size=3)},
    "claim": {"worker": WORKER, "picks": PICKS},
    "claim_locked": {"worker": WORKER, "picks": PICKS},
    "claim_anything": {"is_known": st.booleans(), "picks": PICKS},
    "finish": {"ends": st.lists(st.tuples(PICK, RESULTS), min_size=1, max_size=2), "has_output": st.booleans()},
    "finish_late": {"n": PICK, "result": RESULTS, "is_forged": st.booleans(), "is_first": st.booleans()},
    "append_output": {"n": PICK, "is_old": st.booleans(), "is_forged": st.booleans()},
    "lose": {
        "n": PICK,
        "is_open": st.booleans(),
        "seen": st.sampled_from(["its last beat", "beaten since", "nothing"]),
    },
    "ask": {"what": st.sampled_from(["cancel", "retry", "retry", "delete"]), "n": PICK},
    "cancel_running": {"n": PICK},
    "make_due": {"n": PICK},
    "make_late": {"n": PICK},
    "dispatch": {},
    "expire": {},
}
ARGUED = {name: st.tuples(st.just(name), st.fixed_dictionaries(arguments)) for name, arguments in CALLS.items()}
OFTEN = {"claim", "finish", "lose"}


@dataclass
class World:
    """What outlives an example: the event loop, the connection, two workers, and what the run has seen."""

    runner: asyncio.Runner
    conn: Connection
    worker_ids: tuple[int, int]
    steps: int = 0
    ways: dict[str, Counter[tuple[JobStatus, JobStatus]]] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)


class Lifecycle(RuleBasedStateMachine):
    """One example, in the `world` that a subclass names."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.run = self.world.runner.run
        self.calls = Calls(self.world.conn, self.world.worker_ids, self.world.met)
        self.model = self.calls.model
        self.last = "begin"
        self.run(self.calls.begin())

    @rule(call=st.runner().flatmap(lambda machine: st.sampled_from(machine.possible()).flatmap(ARGUED.__getitem__)))
    def step(self, call: tuple[str, dict[str, Any]]) -> None:
        name, arguments = call
        getattr(self, name)(**arguments)

    @invariant()
    def all_is_well(self) -> None:
        changes = self.run(self.calls.check(has_time_passed=self.last == "time"))
        if changes:
            self.world.ways.setdefault(self.last, Counter()).update(changes)

    def do(self, what: str, call: Coroutine[object, object, None]) -> None:
        """Make a call; what it changes goes to the account of `what`."""
        self.last = what
        self.world.steps += 1
        self.run(call)

    def possible(self) -> list[str]:
        """What can be done now, in vain or not; what brings a job on counts twice."""
        is_known, has_claims, has_open = bool(self.known()), bool(self.calls.claimed), bool(self.claims(is_open=True))
        sleeping = self.model.in_status(JobStatus.PENDING, JobStatus.FAILED)
        can = {
            "submit": len(self.model.jobs) < ENOUGH,
            "claim": bool(self.waiting()),
            "claim_locked": bool(self.waiting(is_locked=True)),
            "claim_anything": is_known,
            "finish": has_open,
            "finish_late": bool(self.claims(is_open=False)),
            "append_output": has_claims,
            "lose": has_claims,
            "ask": is_known,
            "cancel_running": has_open,
            "make_due": bool(self.sleeping()),
            "make_late": bool(self.perishable()),
            "dispatch": any(not job.is_dispatched for job in sleeping),
            "expire": any(job.is_late for job in sleeping),
        }
        return [name for name, is_possible in can.items() for _ in range(1 + (name in OFTEN)) if is_possible]

    def known(self) -> list[int]:
        """The ids of all jobs, deleted ones too."""
        return sorted([*self.model.jobs, *self.model.deleted])

    def claims(self, *, is_open: bool) -> list[Claimed]:
        """The claims that hold, or those that don't: with the ones last (picked first) whose jobs run under another."""
        running = {job.id for job in self.model.in_status(JobStatus.RUNNING)}
        found = [claim for claim in self.calls.claimed if self.calls.is_open(claim) is is_open]
        return sorted(found, key=lambda claim: claim.job_id in running)

    def forged(self, claim: Claimed) -> Claimed:
        return replace(claim, claim_id=self.calls.new_claim_id())

    def waiting(self, *, is_locked: bool = False) -> list[int]:
        waiting = [job for job in self.model.jobs.values() if job.is_waiting]
        return [job.id for job in waiting if job.spec.lock or not is_locked]

    def sleeping(self) -> list[Job]:
        return [job for job in self.model.in_status(JobStatus.PENDING, JobStatus.FAILED) if not job.is_due]

    def perishable(self) -> list[Job]:
        """Jobs that may still expire or seem to: with those last (picked first) that have started before, which may not."""
        return sorted(
            (job for job in self.model.in_status(JobStatus.PENDING) if job.is_late is False),
            key=lambda job: bool(job.attempts),
        )

    def submit(self, requests: list[tuple[Shape, str | None]]) -> None:
        self.do("submit", self.calls.submit(requests))

    def claim(self, worker: int, picks: list[int]) -> None:
        self.run(self.calls.look())
        self.do("claim", self.calls.claim(self.world.worker_ids[worker], some(self.waiting(), picks)))

    def claim_locked(self, worker: int, picks: list[int]) -> None:
        locked = some(self.waiting(is_locked=True), picks)
        self.do("claim", self.calls.claim(self.world.worker_ids[worker], locked))

    def claim_anything(self, is_known: bool, picks: list[int]) -> None:
        worker_id = self.world.worker_ids[0] if is_known else STRANGER
        self.do("claim", self.calls.claim(worker_id, some(self.known(), picks)))

    def finish(self, ends: list[tuple[int, Result]], has_output: bool) -> None:
        found = {pick(self.claims(is_open=True), n): result for n, result in ends}
        self.do("finish", self.calls.finish(list(found.items()), has_output=has_output))

    def finish_late(self, n: int, result: Result, is_forged: bool, is_first: bool) -> None:
        """A stale or forged result, in one batch with that of the job's present claim if it has one."""
        late = pick(self.claims(is_open=False), n)
        beside = [(claim, result) for claim in self.claims(is_open=True) if claim.job_id == late.job_id]
        self.world.met["a late finish beside the current one"] += len(beside)
        ends = [*beside, (self.forged(late) if is_forged else late, result)]
        self.do("finish", self.calls.finish(ends[::-1] if is_first else ends, has_output=True))

    def append_output(self, n: int, is_old: bool, is_forged: bool) -> None:
        claim = pick(self.calls.claimed, n)
        self.do("output", self.calls.append_output(self.forged(claim) if is_forged else claim, is_old=is_old))

    def lose(self, n: int, is_open: bool, seen: str) -> None:
        claims = self.claims(is_open=is_open) or self.calls.claimed
        self.do("lose", self.calls.lose(pick(claims, n), seen))

    def ask(self, what: str, n: int) -> None:
        """A user's request for any job, whatever its state."""
        self.do(what, getattr(self.calls, what)(pick(self.known(), n)))

    def cancel_running(self, n: int) -> None:
        self.do("cancel", self.calls.cancel(pick(self.claims(is_open=True), n).job_id))

    def make_due(self, n: int) -> None:
        self.do("time", self.calls.make_due(pick(self.sleeping(), n)))

    def make_late(self, n: int) -> None:
        self.do("time", self.calls.make_late(pick(self.perishable(), n)))

    def dispatch(self) -> None:
        self.do("dispatch", self.calls.dispatch())

    def expire(self) -> None:
        self.do("expire", self.calls.expire())


def pick(items: list[T], n: int) -> T:
    """One of these, counted from the newest; n may be any number."""
    return items[-1 - n % len(items)]


def some(items: list[T], picks: list[int]) -> list[T]:
    """Several of these, each once."""
    return list(dict.fromkeys(pick(items, n) for n in picks))
