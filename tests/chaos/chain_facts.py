"""What became of a chain, and what must hold of it: each child exactly once per edge, whatever was killed meanwhile.

Two witnesses: the tables, and the lines that the chain's scripts append to one file (O_APPEND, one write each, so their order is the
order in time). The tables' own unique index can hide a second creation that was tried, never a child that is missing or came early;
the scripts' lines show what ran. `violations` is pure: a test forges facts to see that each of them is found.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.scene import Scene

TERMINAL = frozenset({"COMPLETED", "DEAD", "CANCELLED"})
ROOTS = """
    SELECT jobs.id FROM jobs JOIN job_specs ON job_specs.job_id = jobs.id
     WHERE jobs.parent_id IS NULL AND job_specs.labels ->> 'chain' = $1"""
CHAIN = """
    WITH RECURSIVE chain AS (
        SELECT jobs.id, 0 AS depth FROM jobs WHERE jobs.id = ANY($1::bigint[])
        UNION ALL
        SELECT jobs.id, chain.depth + 1 FROM jobs JOIN chain ON jobs.parent_id = chain.id)
    SELECT jobs.id, chain.depth, jobs.status, jobs.reason, jobs.parent_id, jobs.parent_edge, jobs.edge_index,
           (SELECT count(*) FROM attempts WHERE attempts.job_id = jobs.id AND outcome = 'succeeded') AS succeeded,
           (SELECT count(*) FROM attempts WHERE attempts.job_id = jobs.id AND outcome = 'lost') AS lost
      FROM chain JOIN jobs ON jobs.id = chain.id JOIN job_specs ON job_specs.job_id = jobs.id"""


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a chain, as the tables have it."""

    id: int
    depth: int
    status: str
    reason: str | None
    parent_id: int | None
    parent_edge: str | None
    edge_index: int | None
    succeeded: int
    lost: int


@dataclass(frozen=True, slots=True)
class Line:
    """What a script has said: `start` or `end`, and in which attempt of which job."""

    what: str
    job_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One chain. `depth` generations of `fan_out` children each follow the root."""

    roots: Sequence[int]
    jobs: Sequence[Job]
    lines: Sequence[Line]
    depth: int
    fan_out: int

    @property
    def lost(self) -> int:
        """Attempts that were lost with their workers."""
        return sum(job.lost for job in self.jobs)

    @property
    def is_ended(self) -> bool:
        """Whether nothing of it waits or runs."""
        return bool(self.jobs) and all(job.status in TERMINAL for job in self.jobs)


async def gather(scene: Scene, label: str, *, lines: Path, depth: int, fan_out: int) -> Facts:
    """Read both witnesses."""
    roots = [row["id"] for row in await scene.query(ROOTS, label)]
    jobs = [Job(**dict(row)) for row in await scene.query(CHAIN, roots)]
    return Facts(roots, jobs, read_lines(lines), depth, fan_out)


def read_lines(path: Path) -> list[Line]:
    """All that scripts have said so far; a line without its newline does not count."""
    *whole, _ = path.read_text().split("\n")
    return [Line(what, int(job_id), int(attempt)) for what, job_id, attempt in map(str.split, whole)]


def violations(facts: Facts) -> list[str]:
    """All that must not be, one sentence each."""
    return [*_ends(facts), *_edges(facts), *_runs(facts), *_order(facts)]


def _ends(facts: Facts) -> Iterator[str]:
    """One root; every job has ended, COMPLETED with one success or DEAD with its workers."""
    if len(facts.roots) != 1:
        yield f"{len(facts.roots)} roots: {facts.roots}"
    for job in facts.jobs:
        if job.status not in TERMINAL:
            yield f"job {job.id} has not ended: {job.status}"
        elif job.status != "COMPLETED" and job.reason != "worker_lost":
            yield f"job {job.id} ended {job.status} ({job.reason})"
        elif job.succeeded != (job.status == "COMPLETED"):
            yield f"job {job.id} is {job.status} with {job.succeeded} successes"


def _edges(facts: Facts) -> Iterator[str]:
    """Each edge of a completed job has exactly one child, and no other edge has any."""
    children: Mapping[int, Counter[tuple[str | None, int | None]]] = {job.id: Counter() for job in facts.jobs}
    for job in facts.jobs:
        if job.parent_id is not None and job.depth > 0:
            children[job.parent_id][job.parent_edge, job.edge_index] += 1
    for job in facts.jobs:
        due: dict[tuple[str | None, int | None], int] = {}
        if job.status == "COMPLETED" and job.depth < facts.depth:
            due = {("on_success", index): 1 for index in range(facts.fan_out)}
        for edge in sorted(children[job.id].keys() | due.keys(), key=repr):
            if children[job.id][edge] != due.get(edge, 0):
                yield f"job {job.id} ({job.status}): {children[job.id][edge]} children of edge {edge}, not {due.get(edge, 0)}"


def _runs(facts: Facts) -> Iterator[str]:
    """Each attempt starts at most once, and what completed has come to its script's end."""
    starts = Counter((line.job_id, line.attempt) for line in facts.lines if line.what == "start")
    ended = {line.job_id for line in facts.lines if line.what == "end"}
    for (job_id, attempt), count in starts.items():
        if count > 1:
            yield f"attempt {attempt} of job {job_id} started {count} times"
    for job in facts.jobs:
        if job.status == "COMPLETED" and job.id not in ended:
            yield f"job {job.id} is COMPLETED, and its script never came to its end"


def _order(facts: Facts) -> Iterator[str]:
    """No child starts before its parent has ended."""
    parents = {job.id: job.parent_id for job in facts.jobs}
    over: set[int] = set()
    for line in facts.lines:
        if line.what == "end":
            over.add(line.job_id)
        elif (parent := parents.get(line.job_id)) is not None and parent not in over:
            yield f"job {line.job_id} started before its parent {parent} had ended"
