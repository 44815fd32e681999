"""A mixed chaos run: load and faults for some minutes, then silence, then judgement; and once more with Kafka wiped.

Load and faults each draw from random numbers of their own, made from the seed: the same seed gives the same jobs and the same faults in
the same order. When exactly they meet is the machine's business, so a replay is a good try, no proof.
"""

from __future__ import annotations

import asyncio
import math
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos import checker, facts, faults, load, quiet, report, scene, stores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.chaos.report import Report
    from tests.chaos.scene import Scene

GAP_S = (0.5, 4.0)
LONGER_THAN_TTL = 1.5
KILLED_LONG_S = 6.0  # of workers that die every few seconds: what never ends in time would only pile up
SLACK = 8.0  # slots for so many times the work: what a recovery takes shall not be the time in a queue


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is to do. `faults` empty: all kinds, worker deaths most often.

    With `kills` it is only workers' deaths until so many that ran jobs have died, however long that takes.
    """

    folder: Path
    seed: int
    minutes: float
    kills: int = 0
    stack: str = "embedded"
    faults: Sequence[str] = field(default_factory=tuple)
    per_s: float = 8.0
    ttl_s: float = 6.0
    serves: int = 2
    works: int = 3

    @property
    def long_s(self) -> float:
        """How long a long job takes."""
        return KILLED_LONG_S if self.kills else LONGER_THAN_TTL * self.ttl_s

    @property
    def slots(self) -> int:
        """Each worker's slots: all find room, also while a worker is missing."""
        return math.ceil(SLACK * self.per_s * load.mean_s(self.long_s) / self.works)

    @property
    def weights(self) -> dict[str, int]:
        """The faults to draw from."""
        if self.kills:
            return dict(faults.KILLS)
        return {name: faults.WEIGHTS[name] for name in self.faults or faults.FAULTS}


async def run(plan: Plan) -> Report:
    """Do it, and say on stderr what is going on."""
    running = await stores.start(plan.folder / "stores", stack=plan.stack)
    try:
        async with scene.on(
            running,
            plan.folder / "relay",
            serves=plan.serves,
            works=plan.works,
            ttl_s=plan.ttl_s,
            concurrency=plan.slots,
        ) as staged:
            return await _play(staged, plan)
    finally:
        await running.end()


async def _play(staged: Scene, plan: Plan) -> Report:
    began = time.time()
    generator = load.Load(
        staged.apis,
        staged.token,
        folder=staged.folder,
        journal=staged.journal,
        rng=random.Random(f"load {plan.seed}"),
        long_s=plan.long_s,
    )
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(quiet.watch(staged))
        loading = group.create_task(generator.run(per_s=plan.per_s, over=over))
        await _hurt(staged, plan)
        over.set()
        await staged.fleet.heal()
        await loading
        _say("faults are over; waiting until it is quiet")
        violations = await quiet.check(staged)
        watching.cancel()
    _say("Kafka is wiped; checking again")
    await staged.stores.restart_kafka(is_wiped=True)
    found = await facts.gather(staged)
    violations |= {f"{name} (after Kafka was wiped)": each for name, each in checker.check(found).items()}
    _say("faults\n" + report.faults_by_time(staged.notes, began))
    _say("slowest re-runs\n" + report.slowest(staged.kills, found, began))
    return report.make(staged, found, violations, seed=plan.seed, minutes=(time.time() - began) / 60)


async def _hurt(staged: Scene, plan: Plan) -> None:
    """One fault after the other, drawn from the seed."""
    rng = random.Random(f"faults {plan.seed}")
    names, weights = list(plan.weights), list(plan.weights.values())
    until = time.monotonic() + 60 * plan.minutes
    while len(staged.felled) < plan.kills if plan.kills else time.monotonic() < until:
        (name,) = rng.choices(names, weights)
        own = random.Random(rng.random())  # so that what one fault draws does not change the next
        await asyncio.sleep(rng.uniform(*GAP_S))
        _say(f"{name} ({len(staged.felled)} workers killed)")
        await faults.FAULTS[name](staged, own)
        if plan.kills:
            await staged.staffed()  # what a recovery takes shall not be how many workers are missing


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
