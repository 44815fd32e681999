"""The store's own lifecycle: a Hypothesis machine drives the real statements against a model, and checks after every step.

Workers, maintenance and users are interleaved at random: submits, claims, finishes on time, late and forged, losses, cancels,
retries by hand, deletes, and time that passes. One connection, so statements do not overlap (the tests of claims and the
chaos runs do that); what is shown is that no order of them breaks an invariant. The run is derandomized: it is the same
everywhere, must meet every legal transition by every statement that makes it, and no other.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncpg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from relay.model.states import LEGAL, JobStatus
from relay.store import queries
from tests.integration import working
from tests.integration.lifecycle_machine import Lifecycle, World
from tests.stack import databases

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.stack import Stack

EXAMPLES, STEPS_EACH = 330, 50
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
    "a claim that met a held lock",
    "a claim that met an earlier waiter",
    "a claim of a job past its expiry",
    "two of one lock claimed at once",
    "a fenced finish",
    "a finish recorded before",
    "a late finish beside the current one",
    "output of a closed attempt",
    "a loss refused",
}


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


def drive(made: World, *, phases: Sequence[Phase], examples: int = EXAMPLES) -> None:
    class Driven(Lifecycle):
        world = made

    run_state_machine_as_test(
        Driven,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS_EACH,
            deadline=None,
            derandomize=True,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def world(stack: Stack) -> Iterator[World]:
    with opened(stack) as made:
        yield made


@pytest.mark.timeout(600)  # a failure is shrunk first
def test_no_order_of_calls_breaks_an_invariant(world: World) -> None:
    drive(world, phases=[Phase.generate, Phase.shrink])

    assert world.steps >= 10_000
    assert {what: set(changes) for what, changes in world.ways.items()} == WAYS
    assert {what for what, times in world.met.items() if times} == MEETINGS


def test_the_run_meets_every_legal_transition() -> None:
    assert set().union(*WAYS.values()) == {(before, after) for before, afters in LEGAL.items() for after in afters}


BREAKAGES = {
    "a finish without its claim": ("finish_attempts", " AND result.claim_id = jobs.claim_id", ""),
    "a finish that forgets a cancel": ("finish_attempts", "jobs.cancel_requested_at IS NOT NULL", "false"),
    "output that goes by the job": ("finish_attempts", "chunk.claim_id = closed.claim_id", "true"),
    "a claim before run_at": ("claim_jobs", "AND jobs.run_at <= clock_timestamp()", ""),
    "a claim out of a lock's turn": ("claim_jobs", "jobs.id = (SELECT head.id", "jobs.id >= (SELECT head.id"),
    "a loss without its claim": ("lose_claims", " AND claim.claim_id = jobs.claim_id", ""),
    "a loss in spite of a heartbeat": ("lose_claims", "claim.hb_seq IS NULL", "true"),
    "a retry in the same round": ("retry_jobs", "round = jobs.round + 1", "round = jobs.round"),
    "an expiry after the first start": ("expire_jobs", "AND jobs.started_at IS NULL", ""),
    "output of a closed attempt": ("append_output", "AND attempts.outcome IS NULL", ""),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_the_machine_notices(breakage: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stem, sound, broken = BREAKAGES[breakage]
    text = queries.text
    assert sound in text(stem)
    monkeypatch.setattr(queries, "text", lambda name: text(name).replace(sound, broken) if name == stem else text(name))

    with pytest.raises((AssertionError, asyncpg.PostgresError)):
        drive(world, phases=[Phase.generate], examples=5 * EXAMPLES)
