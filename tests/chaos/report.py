"""What a chaos run has shown: jobs, faults, how long recoveries took, and every violation."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.chaos.evidence import Line
    from tests.chaos.facts import Facts
    from tests.chaos.scene import Kill, Note, Scene

MOST_SHOWN = 20
Claimed: TypeAlias = "Mapping[tuple[int, int], float]"  # by job and attempt
NONE: Claimed = {}


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, 95th percentile and maximum, in seconds."""

    count: int
    p50: float
    p95: float
    max: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} s, p95 {self.p95:.2f} s, max {self.max:.2f} s ({self.count})"


@dataclass(frozen=True, slots=True)
class Rerun:
    """A job that ran again: the death that made it necessary, and how long after that its attempt started."""

    fault: str
    killed_at: float
    job_id: int
    attempt: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """One run's result."""

    seed: int
    minutes: float
    ttl_s: float
    jobs: dict[str, int]
    attempts: dict[str, int]
    faults: dict[str, int]
    kills: int
    fenced: int
    recoveries: dict[str, Spread]
    """From a worker's death to the re-run's start, by fault."""
    gone: dict[str, Spread]
    """From a worker's death until no process of its jobs was left, by fault."""
    resumed: dict[str, Spread]
    """From a fault's end to the next start of any job, by fault."""
    violations: dict[str, list[str]]

    def record(self, file: Path, kind: str) -> None:
        """Put it into a file of the last reports, by kind."""
        recorded = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**recorded, kind: asdict(self)}, indent=1, sort_keys=True) + "\n")

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}, {self.minutes:.1f} min, lease {self.ttl_s:g} s",
            f"jobs      {_counts(self.jobs)}",
            f"attempts  {_counts(self.attempts)}",
            f"faults    {_counts(self.faults)}",
            f"kills     {self.kills}, fenced finishes {self.fenced}",
        ]
        lines += [f"re-run after {fault}: {spread}" for fault, spread in self.recoveries.items()]
        lines += [f"processes gone after {fault}: {spread}" for fault, spread in self.gone.items()]
        lines += [f"jobs start after {fault}: {spread}" for fault, spread in self.resumed.items()]
        for name, violations in self.violations.items():
            lines.append(f"VIOLATED  {name} ({len(violations)})")
            lines += [f"          {violation}" for violation in violations[:MOST_SHOWN]]
        lines.append("all invariants held" if not self.violations else "NOT all invariants held")
        return "\n".join(lines)


def make(scene: Scene, facts: Facts, violations: dict[str, list[str]], *, seed: int, minutes: float) -> Report:
    """Sum up a run."""
    return Report(
        seed=seed,
        minutes=minutes,
        ttl_s=scene.ttl_s,
        jobs=dict(Counter(job.status for job in facts.jobs.values())),
        attempts=dict(Counter(str(each.outcome) for attempts in facts.attempts.values() for each in attempts)),
        faults=dict(Counter(note.fault for note in scene.notes)),
        kills=len(scene.felled),
        fenced=len(facts.fenced),
        recoveries=recoveries(scene.kills, facts.lines, claim_times(facts)),
        gone=_by_fault([(kill.fault, kill.gone_s) for kill in scene.kills if kill.gone_s is not None and kill.claims]),
        resumed=resumed(scene.notes, facts.lines),
        violations=violations,
    )


def recoveries(kills: Sequence[Kill], lines: Sequence[Line], claimed: Claimed = NONE) -> dict[str, Spread]:
    """From a worker's death to the start of the next attempt of each job that ran on it, by fault."""
    return _by_fault([(each.fault, each.seconds) for each in reruns(kills, lines, claimed)])


def reruns(kills: Sequence[Kill], lines: Sequence[Line], claimed: Claimed = NONE) -> list[Rerun]:
    """Each job that ran again after its worker's death.

    Where the next attempt's worker died too before the job could say a word, `claimed` tells when that was claimed.
    """
    starts = {(line.job_id, line.attempt): line.at for line in lines if line.what == "start"}
    claims = {line.claim_id: line for line in lines if line.what == "start"}
    found: list[Rerun] = []
    for kill in kills:
        for was in (claims[claim] for claim in kill.claims & claims.keys()):
            again = was.job_id, was.attempt + 1
            at = starts.get(again, claimed.get(again))
            if at is not None:
                found.append(Rerun(kill.fault, kill.at, *again, at - kill.at))
    return found


def resumed(notes: Sequence[Note], lines: Sequence[Line]) -> dict[str, Spread]:
    """How long after the end of a fault the next job started."""
    starts = sorted(line.at for line in lines if line.what == "start")
    after = [(note.fault, next((at for at in starts if at >= note.ended), None), note.ended) for note in notes]
    return _by_fault([(fault, at - ended) for fault, at, ended in after if at is not None])


def claim_times(facts: Facts) -> Claimed:
    """When each attempt was claimed, as the tables say."""
    rows = [each for attempts in facts.attempts.values() for each in attempts]
    return {(each.job_id, each.attempt): each.started_at.timestamp() for each in rows}


def slowest(kills: Sequence[Kill], facts: Facts, began: float) -> str:
    """The five slowest re-runs, for those who look for a cause."""
    found = sorted(reruns(kills, facts.lines, claim_times(facts)), key=lambda each: -each.seconds)[:5]
    return "\n".join(
        f"{each.killed_at - began:8.1f} s  {each.fault}: job {each.job_id}/{each.attempt} {each.seconds:.2f} s later"
        for each in found
    )


def faults_by_time(notes: Sequence[Note], began: float) -> str:
    """A line per fault, for those who look for what broke an invariant."""
    return "\n".join(
        f"{note.began - began:8.1f} s  {note.fault} {note.detail} (for {note.ended - note.began:.1f} s)"
        for note in notes
    )


def _by_fault(values: Sequence[tuple[str, float]]) -> dict[str, Spread]:
    by_fault: dict[str, list[float]] = {}
    for fault, value in values:
        by_fault.setdefault(fault, []).append(value)
    return {fault: _spread(sorted(each)) for fault, each in sorted(by_fault.items())}


def _spread(values: Sequence[float]) -> Spread:
    return Spread(len(values), *(round(values[round(part * (len(values) - 1))], 3) for part in (0.5, 0.95, 1)))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"
