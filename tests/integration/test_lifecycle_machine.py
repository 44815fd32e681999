"""The store's own lifecycle: a Hypothesis machine drives the real statements against a model, and checks after every step.

Workers, maintenance and users are interleaved at random: submits, claims, finishes on time, late and forged, losses, cancels,
retries by hand, deletes, and time that passes. One connection, so statements do not overlap (the tests of claims and the
chaos runs do that); what is shown is that no order of them breaks an invariant. The run is derandomized: it is the same
everywhere, must meet every legal transition by every statement that makes it, and no other.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from relay.model.results import Ending, Result
from relay.model.states import LEGAL, JobStatus
from relay.store import queries
from tests.integration import lifecycle_specs, working
from tests.integration.lifecycle_calls import STRANGER, Calls
from tests.stack import databases

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from relay.store.claims import Claimed
    from relay.store.connection import Connection
    from tests.integration.lifecycle import Job
    from tests.integration.lifecycle_specs import Shape
    from tests.stack import Stack

T = TypeVar("T")
EXAMPLES, STEPS_EACH = 150, 80
PICK = st.integers(0, 11)  # of a list, from its newest item
PICKS = st.lists(PICK, min_size=1, max_size=3)
P, R, F, C, D, X = (
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.FAILED,
    JobStatus.COMPLETED,
    JobStatus.DEAD,
    JobStatus.CANCELLED,
)
WAYS = {
    "claim": {(P, R)},
    "finish": {(R, C), (R, F), (R, D), (R, P), (R, X)},
    "lose": {(R, P), (R, D), (R, X)},
    "cancel": {(P, X), (F, X)},
    "retry": {(D, P), (F, P), (X, P)},
    "dispatch": {(F, P)},
    "expire": {(P, D)},
}
MEETINGS = {
    "a key replayed",
    "a key reused for another spec",
    "a claim that met a held lock or an earlier waiter",
    "a claim of a job past its expiry",
    "two of one lock claimed at once",
    "a fenced finish",
    "a finish recorded before",
    "a late finish beside the current one",
    "output of a closed attempt",
    "a loss refused",
}


@dataclass
class World:
    """What outlives an example: the event loop, the connection, two workers, and what the run has seen."""

    runner: asyncio.Runner
    conn: Connection
    worker_ids: tuple[int, int]
    steps: int = 0
    ways: dict[str, set[tuple[JobStatus, JobStatus]]] = field(default_factory=dict)
    met: Counter[str] = field(default_factory=Counter)


class Lifecycle(RuleBasedStateMachine):
    """One example: rules pick what to call on, `Calls` makes the call."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.run = world.runner.run
        self.calls = Calls(world.conn, world.worker_ids, world.met)
        self.step = "begin"
        self.run(self.calls.begin())

    def do(self, step: str, call: Coroutine[object, object, None]) -> None:
        self.step = step
        self.world.steps += 1
        self.run(call)

    @invariant()
    def all_is_well(self) -> None:
        changes = self.run(self.calls.check(has_time_passed=self.step == "time"))
        if changes:
            self.world.ways.setdefault(self.step, set()).update(changes)

    def known(self) -> list[int]:
        """The ids of all jobs, deleted ones too."""
        return sorted([*self.calls.model.jobs, *self.calls.model.deleted])

    def claims(self, *, is_open: bool) -> list[Claimed]:
        return [claim for claim in self.calls.claimed if self.calls.is_open(claim) is is_open]

    def sleeping(self) -> list[Job]:
        return [job for job in self.calls.model.in_status(P, F) if not job.is_due]

    def perishable(self) -> list[Job]:
        return [job for job in self.calls.model.in_status(P) if job.is_late is False]

    @rule(requests=st.lists(st.tuples(lifecycle_specs.SHAPES, lifecycle_specs.KEYS), min_size=1, max_size=3))
    def submit(self, requests: list[tuple[Shape, str | None]]) -> None:
        self.do("submit", self.calls.submit(requests))

    @rule(key=lifecycle_specs.KEYS)
    def submit_plainly(self, key: str | None) -> None:
        self.do("submit", self.calls.submit([(lifecycle_specs.Shape(), key)]))

    @precondition(lambda self: bool(self.known()))
    @rule(worker=st.integers(0, 1), picks=PICKS)
    def claim_waiting(self, worker: int, picks: list[int]) -> None:
        waiting = [job.id for job in self.calls.model.in_status(P) if job.is_due] or self.known()
        self.do("claim", self.calls.claim(self.world.worker_ids[worker], some(waiting, picks)))

    @precondition(lambda self: bool(self.known()))
    @rule(is_known=st.booleans(), picks=PICKS)
    def claim_anything(self, is_known: bool, picks: list[int]) -> None:
        worker_id = self.world.worker_ids[0] if is_known else STRANGER
        self.do("claim", self.calls.claim(worker_id, some(self.known(), picks)))

    @precondition(lambda self: bool(self.claims(is_open=True)))
    @rule(ends=st.lists(st.tuples(PICK, lifecycle_specs.RESULTS), min_size=1, max_size=3), has_output=st.booleans())
    def finish(self, ends: list[tuple[int, Result]], has_output: bool) -> None:
        found = {pick(self.claims(is_open=True), n): result for n, result in ends}
        self.do("finish", self.calls.finish(list(found.items()), has_output=has_output))

    @precondition(lambda self: bool(self.claims(is_open=False)))
    @rule(n=PICK, result=lifecycle_specs.RESULTS, has_output=st.booleans())
    def finish_late(self, n: int, result: Result, has_output: bool) -> None:
        """A stale result, in one batch with the result of the job's present claim if it has one."""
        late = pick(self.claims(is_open=False), n)
        beside = [(claim, result) for claim in self.claims(is_open=True) if claim.job_id == late.job_id]
        self.world.met["a late finish beside the current one"] += len(beside)
        ends = [*beside, (late, result)]
        self.do("finish", self.calls.finish(ends[:: 1 if n % 2 else -1], has_output=has_output))

    @precondition(lambda self: bool(self.calls.claimed))
    @rule(n=PICK, result=lifecycle_specs.RESULTS)
    def finish_forged(self, n: int, result: Result) -> None:
        forged = replace(pick(self.calls.claimed, n), claim_id=self.calls.new_claim_id())
        self.do("finish", self.calls.finish([(forged, result)], has_output=True))

    @precondition(lambda self: bool(self.calls.claimed))
    @rule(n=PICK, is_old=st.booleans(), is_forged=st.booleans())
    def append_output(self, n: int, is_old: bool, is_forged: bool) -> None:
        claim = pick(self.calls.claimed, n)
        claim = replace(claim, claim_id=self.calls.new_claim_id()) if is_forged else claim
        self.do("output", self.calls.append_output(claim, is_old=is_old))

    @precondition(lambda self: bool(self.calls.claimed))
    @rule(n=PICK, is_open=st.booleans(), seen=st.sampled_from(["its last beat", "beaten since", "nothing"]))
    def lose(self, n: int, is_open: bool, seen: str) -> None:
        claims = self.claims(is_open=is_open) or self.calls.claimed
        self.do("lose", self.calls.lose(pick(claims, n), seen))

    @precondition(lambda self: bool(self.known()))
    @rule(n=PICK)
    def cancel(self, n: int) -> None:
        self.do("cancel", self.calls.cancel(pick(self.known(), n)))

    @precondition(lambda self: bool(self.known()))
    @rule(n=PICK)
    def retry(self, n: int) -> None:
        self.do("retry", self.calls.retry(pick(self.known(), n)))

    @precondition(lambda self: bool(self.known()))
    @rule(n=PICK)
    def delete(self, n: int) -> None:
        self.do("delete", self.calls.delete(pick(self.known(), n)))

    @precondition(lambda self: bool(self.sleeping()))
    @rule(n=PICK)
    def a_job_falls_due(self, n: int) -> None:
        self.do("time", self.calls.make_due(pick(self.sleeping(), n)))

    @precondition(lambda self: bool(self.perishable()))
    @rule(n=PICK)
    def a_job_passes_its_expiry(self, n: int) -> None:
        self.do("time", self.calls.make_late(pick(self.perishable(), n)))

    @rule()
    def dispatch(self) -> None:
        self.do("dispatch", self.calls.dispatch())

    @rule()
    def expire(self) -> None:
        self.do("expire", self.calls.expire())

    @rule()
    def look(self) -> None:
        self.do("look", self.calls.look())


def pick(items: list[T], n: int) -> T:
    """One of these, counted from the newest; n may be any number."""
    return items[-1 - n % len(items)]


def some(items: list[T], picks: list[int]) -> list[T]:
    """Several of these, each once."""
    return list(dict.fromkeys(pick(items, n) for n in picks))


@contextmanager
def opened(stack: Stack) -> Iterator[World]:
    """A world on a database of its own."""
    with asyncio.Runner() as runner:
        name = runner.run(databases.create(stack.pg_admin_dsn))
        conn = runner.run(asyncpg.connect(databases.dsn_of(stack.pg_admin_dsn, name)))
        try:
            yield World(runner, conn, (runner.run(working.register(conn)), runner.run(working.register(conn))))
        finally:
            runner.run(conn.close())
            runner.run(databases.drop(stack.pg_admin_dsn, name))


def drive(world: World, *, examples: int, phases: tuple[Phase, ...]) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: Lifecycle(world),
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=True,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def world(stack: Stack) -> Iterator[World]:
    with opened(stack) as made:
        yield made


@pytest.mark.timeout(600)  # a failure is shrunk first
def test_no_order_of_calls_breaks_an_invariant(world: World) -> None:
    drive(world, examples=EXAMPLES, phases=(Phase.generate, Phase.shrink))

    assert world.steps >= 10_000
    assert world.ways == WAYS
    assert {what for what, times in world.met.items() if times} == MEETINGS


def test_the_run_meets_every_legal_transition() -> None:
    assert set().union(*WAYS.values()) == {(before, after) for before, afters in LEGAL.items() for after in afters}


BREAKAGES = {
    "finish without its claim": ("finish_attempts", " AND result.claim_id = jobs.claim_id", ""),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_machine_notices(breakage: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stem, sound, broken = BREAKAGES[breakage]
    text = queries.text
    assert sound in text(stem)
    monkeypatch.setattr(queries, "text", lambda name: text(name).replace(sound, broken) if name == stem else text(name))

    with pytest.raises((AssertionError, asyncpg.PostgresError)):
        drive(world, examples=EXAMPLES, phases=(Phase.generate,))
