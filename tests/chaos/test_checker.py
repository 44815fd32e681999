"""The checker can fail: for each invariant there are facts that break it, and Relay without one of its safeguards breaks some."""

from __future__ import annotations

import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.chaos import checker, evidence, fleet
from tests.chaos.facts import Attempt, Facts, Job, Lock, Output
from tests.chaos.journal import Acknowledged, CancelAcknowledged, Order, Sent, Surprise
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.chaos.stage import Stages

BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
CLAIM = "claim-1"
ORDER = Order("tag", "plain", 1)
GIVE_UP_S = 3.0  # what can't end needs no patience


def at(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def line(what: str, **other: object) -> evidence.Line:
    made = evidence.Line(what, "tag", 1, 1, CLAIM, 1, 1, at(1.5).timestamp(), 0 if what == "end" else None)
    return replace(made, **other)  # type: ignore[arg-type]


def attempt(**other: object) -> Attempt:
    made = Attempt(1, 1, CLAIM, 0, 1, "succeeded", None, 0, at(1), at(2), 0, 0)
    return replace(made, **other)  # type: ignore[arg-type]


def job(**other: object) -> Job:
    made = Job(1, "COMPLETED", None, 1, 0, 3, 0, False, None, None, None, at(0), at(2), None, None, None, None, False)
    return replace(made, **other)  # type: ignore[arg-type]


def facts() -> Facts:
    """One job that has been accepted, run and completed."""
    stored = evidence.printed("tag", 1, 1)
    return Facts(
        entries=[Sent(ORDER, at(0).timestamp()), Acknowledged("tag", 1, False, at(0.1).timestamp())],
        lines=[line("start"), line("end")],
        jobs={1: job()},
        attempts={1: [attempt()]},
        output={(1, 1): Output(1, 1, 1, stored)},
        keys={"tag": 1},
    )


def ordered(kind: str) -> list[Sent | Acknowledged]:
    return [Sent(Order("tag", kind, 1), 0), Acknowledged("tag", 1, False, 0)]


def child(**other: object) -> Job:
    return job(**{"id": 2, "attempt": 0, "parent_id": 1, "parent_edge": "on_success", "edge_index": 0, **other})


def put(facts: Facts, **forged: dict[Any, Any] | list[Any]) -> None:
    """Add to the facts, or replace what they say of the same."""
    for name, value in forged.items():
        known = getattr(facts, name)
        known.update(value) if isinstance(value, dict) else known.extend(value)


FORGERIES: dict[str, list[Callable[[Facts], object]]] = {
    "acknowledged_jobs_exist_and_end": [
        lambda facts: facts.jobs.clear(),
        lambda facts: put(facts, jobs={1: job(status="PENDING", finished_at=None)}),
    ],
    "jobs_end_as_meant": [
        lambda facts: put(facts, jobs={1: job(status="DEAD", reason="worker_lost")}),
        lambda facts: put(facts, jobs={2: child(status="DEAD", reason="exit")}),
    ],
    "jobs_end_once": [
        lambda facts: put(facts, attempts={1: [attempt(), attempt(attempt=2)]}),
        lambda facts: put(facts, attempts={1: [attempt(), attempt(attempt=2, outcome="lost")]}),
    ],
    "attempts_never_overlap": [lambda facts: put(facts, lines=[line("overlap")])],
    "named_locks_exclude": [
        lambda facts: put(facts, lines=[line("lock_overlap")]),
        lambda facts: put(facts, held_twice=["lock-1"]),
    ],
    "claims_start_once": [
        lambda facts: put(facts, lines=[line("start")]),
        lambda facts: put(facts, lines=[line("start", claim_id="claim-2")]),
    ],
    "attempts_have_no_gaps": [
        lambda facts: put(facts, jobs={1: job(attempt=2)}),
        lambda facts: facts.lines.clear(),
    ],
    "completed_jobs_did_complete": [
        lambda facts: put(facts, attempts={1: [attempt(outcome="failed")]}),
        lambda facts: facts.lines.pop(),
        lambda facts: put(facts, lines=[line("end", code=3)]),
        lambda facts: put(facts, lines=[line("end", at=at(3).timestamp())]),
    ],
    "starts_are_bounded": [
        lambda facts: put(facts, attempts={1: [attempt(outcome="lost", attempt=n) for n in range(1, 6)]}),
        lambda facts: put(facts, jobs={1: job(fail_on_loss=True)}, lines=[line("start", attempt=2)]),
    ],
    "fenced_finishes_are_noted": [
        lambda facts: setattr(facts, "fenced_logged", 1),
        lambda facts: put(facts, fenced=[(1, CLAIM)]),
    ],
    "open_attempts_run": [
        lambda facts: put(facts, attempts={1: [attempt(outcome=None)]}),
        lambda facts: put(facts, jobs={1: job(status="RUNNING", claim_id=CLAIM)}),
    ],
    "chains_are_whole": [
        lambda facts: put(facts, children={1: {"on_success": 1, "on_failure": 0}}),
        lambda facts: put(facts, jobs={2: child(created_at=at(3))}),
        lambda facts: put(facts, children={1: {"on_success": 1}}, jobs={2: child(created_at=at(1))}),
    ],
    "output_is_what_was_printed": [
        lambda facts: facts.output.clear(),
        lambda facts: put(facts, output={(1, 1): Output(2, 1, 3, evidence.printed("tag", 1, 1))}),
        lambda facts: put(facts, output={(1, 1): Output(1, 1, 1, b"other")}),
        lambda facts: put(facts, attempts={1: [attempt(outcome="lost")]}, output={(1, 1): Output(1, 1, 1, b"other")}),
    ],
    "nothing_is_left_running": [
        lambda facts: put(facts, carriers={7: CLAIM}),
        lambda facts: put(facts, zombies=[7]),
    ],
    "locks_end": [
        lambda facts: put(facts, locks=[Lock(1, CLAIM, 1000)]),
        lambda facts: put(facts, jobs={1: job(claim_id=CLAIM)}, locks=[Lock(1, CLAIM, -1)]),
    ],
    "keys_accept_once": [
        lambda facts: put(facts, entries=[Acknowledged("tag", 2, True, 0)]),
        lambda facts: put(facts, jobs={2: job(id=2)}),
    ],
    "nothing_starts_too_early_or_too_late": [
        lambda facts: put(facts, entries=[CancelAcknowledged(1, "CANCELLED", at(0.5).timestamp())]),
        lambda facts: put(facts, entries=ordered("delayed"), attempts={1: [attempt(started_at=at(0.5))]}),
    ],
    "kafka_is_read_to_its_end": [
        lambda facts: setattr(facts, "lag", 3),
        lambda facts: setattr(facts, "lag", -1),
    ],
    "answers_are_expected": [
        lambda facts: put(facts, entries=[Surprise("tag", 500, "", 0)]),
        lambda facts: put(facts, leaks=["token in work-1.log"]),
        lambda facts: put(facts, tracebacks=["work-1.log: KeyError"]),
    ],
}


def test_true_facts_break_nothing() -> None:
    assert checker.check(facts()) == {}


def test_every_invariant_has_its_forgery() -> None:
    assert FORGERIES.keys() == {invariant.__name__ for invariant in checker.INVARIANTS}


@pytest.mark.parametrize(
    ("name", "forge"), [(name, forge) for name, forgeries in FORGERIES.items() for forge in forgeries]
)
def test_a_forgery_is_found(name: str, forge: Callable[[Facts], object]) -> None:
    forged = facts()
    forge(forged)
    assert name in checker.check(forged)


@pytest.mark.asyncio(loop_scope="session")
async def test_it_goes_red_without_the_fence(stage: Stages) -> None:
    async with stage(without="fence") as on:
        place, other = on.scene.fleet.works
        other.hold()
        other.kill()
        await place.replace(RELAY_FAILPOINTS="before_finish=stop")
        await on.scene.ready_at(place)
        await on.submit(1, kinds={"long": 1}, long_s=2.0)
        (first,) = await on.scene.started(1)
        await until(lambda: fleet.is_stopped(first.worker_pid), within_s=20, what="the stop before the finish")
        other.release()
        await on.scene.started(2)
        fleet.send(first.worker_pid, signal.SIGCONT)

        found = await on.violations(within_s=GIVE_UP_S)

    assert "completed_jobs_did_complete" in found


@pytest.mark.asyncio(loop_scope="session")
async def test_it_goes_red_without_renewal(stage: Stages) -> None:
    async with stage(without="renewal") as on:
        await on.submit(2, kinds={"long": 1}, long_s=7.0)
        await on.scene.said("overlap")

        found = await on.violations(within_s=GIVE_UP_S)

    assert "attempts_never_overlap" in found


@pytest.mark.asyncio(loop_scope="session")
async def test_it_goes_red_without_the_guard(stage: Stages) -> None:
    async with stage(without="guard") as on:
        await on.submit(8, kinds={"long": 1}, long_s=8.0)
        starts = await on.scene.started(8)
        place = next(each for each in on.scene.fleet.works if each.worker_pid == starts[0].worker_pid)
        place.hold()
        place.kill()
        await on.scene.said("overlap")

        found = await on.violations(within_s=GIVE_UP_S)

    assert "attempts_never_overlap" in found
