"""A chain three deep with fan-out 10 while serve and worker are killed; `python -m tests.chaos.chains` plays a hundred of these.

That its judgement can fail is shown on forged facts: what is missing, doubled, early or unended is told by name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.chaos import chain_facts, chains
from tests.chaos.chain_facts import Facts, Job, Line

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(180)
async def test_each_child_is_created_once_per_edge_whatever_is_killed(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    outcomes = await chains.play(tmp_path, (4, 10), stack=request.config.getoption("--stack"))
    assert [outcome.violations for outcome in outcomes] == [[], []]
    assert [len(outcome.facts.jobs) for outcome in outcomes] == [111, 111]
    assert all(outcome.kills for outcome in outcomes)


def job(job_id: int, parent_id: int | None = None, edge_index: int | None = None) -> Job:
    edge = None if parent_id is None else "on_success"
    return Job(
        job_id, 0 if parent_id is None else 1, "COMPLETED", None, parent_id, edge, edge_index, succeeded=1, lost=0
    )


SOUND = Facts(
    roots=[1],
    jobs=[job(1), job(2, 1, 0), job(3, 1, 1)],
    lines=[Line(what, job_id, 1) for job_id in (1, 2, 3) for what in ("start", "end")],
    depth=1,
    fan_out=2,
)
ROOT, FIRST, SECOND = SOUND.jobs


def test_sound_facts_have_no_violation() -> None:
    assert chain_facts.violations(SOUND) == []


@pytest.mark.parametrize(
    ("forged", "told"),
    [
        (replace(SOUND, jobs=[ROOT, FIRST]), "0 children of edge"),
        (replace(SOUND, jobs=[*SOUND.jobs, replace(SECOND, id=4)]), "2 children of edge"),
        (replace(SOUND, jobs=[ROOT, FIRST, replace(SECOND, edge_index=2)]), "1 children of edge ('on_success', 2), not 0"),
        (replace(SOUND, jobs=[ROOT, FIRST, replace(SECOND, parent_edge="on_failure")]), "edge ('on_failure', 1), not 0"),
        (replace(SOUND, roots=[1, 9]), "2 roots"),
        (replace(SOUND, jobs=[ROOT, FIRST, replace(SECOND, status="RUNNING")]), "has not ended: RUNNING"),
        (replace(SOUND, jobs=[ROOT, FIRST, replace(SECOND, status="DEAD", reason="exit")]), "ended DEAD (exit)"),
        (replace(SOUND, jobs=[ROOT, FIRST, replace(SECOND, succeeded=2)]), "COMPLETED with 2 successes"),
        (replace(SOUND, lines=SOUND.lines[:-1]), "never came to its end"),
        (replace(SOUND, lines=[*SOUND.lines, SOUND.lines[2]]), "attempt 1 of job 2 started 2 times"),
        (replace(SOUND, lines=[SOUND.lines[2], *SOUND.lines[:2], *SOUND.lines[3:]]), "started before its parent"),
    ],
)  # fmt: skip
def test_what_must_not_be_is_found(forged: Facts, told: str) -> None:
    assert any(told in each for each in chain_facts.violations(forged)), chain_facts.violations(forged)
