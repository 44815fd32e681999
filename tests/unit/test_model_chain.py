from __future__ import annotations

import pytest

from relay.model.chain import children
from relay.model.spec import parse_spec
from relay.model.states import JobStatus

FAMILY = parse_spec(
    {
        "payload": {"command": "parent"},
        "on_success": [{"payload": {"command": "first"}}, {"payload": {"command": "second"}}],
        "on_failure": {"payload": {"command": "alarm"}},
    }
)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (JobStatus.COMPLETED, [("on_success", 0, "first"), ("on_success", 1, "second")]),
        (JobStatus.DEAD, [("on_failure", 0, "alarm")]),
        (JobStatus.CANCELLED, []),
        (JobStatus.FAILED, []),
        (JobStatus.PENDING, []),
        (JobStatus.RUNNING, []),
    ],
)
def test_an_end_brings_about_the_children_of_its_edge(status: JobStatus, expected: list[tuple[str, int, str]]) -> None:
    assert expected == [(edge, position, child.name) for edge, position, child in children(FAMILY, status)]


def test_a_child_is_a_job_of_its_own_without_its_parents_chain() -> None:
    (child,) = children(FAMILY, JobStatus.DEAD)
    assert child.spec == parse_spec({"payload": {"command": "alarm"}})
