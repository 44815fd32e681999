from __future__ import annotations

import pytest

from relay.model.states import LEGAL, TERMINAL, JobStatus, Lane, is_legal

P, R, F, C, D, X = (
    JobStatus.PENDING,
    JobStatus.RUNNING,
    JobStatus.FAILED,
    JobStatus.COMPLETED,
    JobStatus.DEAD,
    JobStatus.CANCELLED,
)
DOCUMENTED = {(P, R), (R, C), (R, F), (F, P), (R, D), (R, P), (R, X), (P, X), (P, D), (F, X), (D, P), (X, P)}


@pytest.mark.parametrize("before", JobStatus)
@pytest.mark.parametrize("after", JobStatus)
def test_the_legal_transitions_are_the_documented_ones(before: JobStatus, after: JobStatus) -> None:
    assert ((before, after) in DOCUMENTED) == is_legal(before, after)


def test_every_state_has_its_transitions() -> None:
    assert set(JobStatus) == set(LEGAL)


def test_a_terminal_job_only_ever_goes_back_to_the_start() -> None:
    assert {P} == frozenset[JobStatus]().union(*(LEGAL[status] for status in TERMINAL))


def test_a_completed_job_stays_completed() -> None:
    assert frozenset() == LEGAL[C]


def test_lanes_sort_by_urgency_and_name_themselves() -> None:
    assert [lane.label for lane in sorted(Lane)] == ["high", "normal", "low"]
