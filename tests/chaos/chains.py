"""The README's first example as a chain three deep with fan-out 10, under kills: `python -m tests.chaos.chains --runs 100 --seed 1`.

Each run submits one chain (1 + 10 + 100 jobs; the example's keys, its two scripts in a folder of the run, leaving a line each) and
kills -9 `relay serve`, workers, and workers with their guards, at times drawn from the run's seed; all are started again at once.
Then every edge must have exactly one child and every job an end. Runs follow each other on one set of servers, since what a run leaves
behind must not hurt the next. `--seed S --runs 1` plays run S alone: the same kills at the same times; when they meet what is the
machine's business.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.chaos import chain_facts, faults, scene, stores
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.chaos.chain_facts import Facts
    from tests.chaos.scene import Scene

DEPTH = 2  # generations after the root
FAN_OUT = 10
WITHIN_S = 60.0
REQUEST_S = 10.0
AGAIN_S = 0.1
KILLS = (faults.kill_serve, faults.kill_worker, faults.kill_both)
COUNT = (3, 5)
GAP_S = (0.05, 0.9)
SCRIPTS = ("process-data.sh", "notify.sh")
SCRIPT = """#!/bin/sh
echo "start $RELAY_JOB_ID $RELAY_ATTEMPT" >> {lines}
sleep 0.{tenths}
echo "end $RELAY_JOB_ID $RELAY_ATTEMPT" >> {lines}
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: its seed, the kills with the seconds at which they came, and what became of the chain."""

    seed: int
    kills: Sequence[str]
    seconds: float
    facts: Facts
    violations: Sequence[str]

    def __str__(self) -> str:
        jobs, dead = self.facts.jobs, sum(job.status == "DEAD" for job in self.facts.jobs)
        told = (
            f"seed {self.seed}: {len(jobs)} jobs in {self.seconds:.1f} s, {self.facts.lost} attempts lost, {dead} dead"
        )
        bad = "".join(f"\n  VIOLATION {each}" for each in self.violations)
        return f"{told}; kills: {', '.join(self.kills) or 'none'}{bad}"


class Chains:
    """Plays runs on one scene."""

    def __init__(self, staged: Scene, folder: Path) -> None:
        self._scene = staged
        self._folder = folder
        self._lines = folder / "lines"

    def prepare(self) -> None:
        """Put the example's scripts where the chains find them."""
        self._folder.mkdir()
        self._lines.touch()
        for tenths, name in enumerate(SCRIPTS, start=1):
            script = self._folder / name
            script.write_text(SCRIPT.format(lines=self._lines, tenths=tenths))
            script.chmod(0o755)

    async def play(self, seed: int) -> Outcome:
        """Submit a chain, kill while it runs, wait for its end, and judge."""
        began, notes = time.time(), len(self._scene.notes)
        label = f"{seed}-{time.time_ns()}"
        async with asyncio.TaskGroup() as group:
            killing = group.create_task(self._kill(random.Random(f"kills {seed}")))
            await self._submit(label)
            facts = await self._ended(label)
            seconds = time.time() - began
            killing.cancel()
        kills = [f"{note.fault} {note.detail} at {note.began - began:.1f}" for note in self._scene.notes[notes:]]
        return Outcome(seed, kills, seconds, facts, chain_facts.violations(facts))

    async def _kill(self, rng: random.Random) -> None:
        for _ in range(rng.randint(*COUNT)):
            gap_s, fault, own = rng.uniform(*GAP_S), rng.choice(KILLS), random.Random(rng.random())
            await asyncio.sleep(gap_s)
            await fault(self._scene, own)

    async def _submit(self, label: str) -> None:
        """Submit the chain until it is acknowledged: its key makes sending it again harmless."""
        headers = {"Authorization": f"Bearer {self._scene.token}", "Idempotency-Key": label}
        spec = self._spec(DEPTH) | {"labels": {"chain": label}}
        (api,) = self._scene.apis()

        async def send() -> bool:
            try:
                async with asyncio.timeout(REQUEST_S), session.post(f"{api}/v1/jobs", json=spec) as answer:
                    assert answer.status in {200, 201, 503}, await answer.text()
                    return answer.status != 503
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(AGAIN_S)
                return False

        async with aiohttp.ClientSession(headers=headers) as session:
            await until(send, within_s=WITHIN_S, what="the chain's acknowledgement")

    def _spec(self, depth: int) -> dict[str, Any]:
        """The example: `process-data.sh` with children while there is depth, `notify.sh` at the end."""
        if depth == 0:
            return {"type": "SHELL", "payload": {"command": str(self._folder / "notify.sh")}}
        payload = {
            "command": str(self._folder / "process-data.sh"),
            "args": ["--input", "/data/file.csv"],
            "timeout": "5m",
        }
        children = [self._spec(depth - 1)] * FAN_OUT
        return {"type": "SHELL", "payload": payload, "on_success": children, "max_retries": 3, "backoff": "exponential"}

    async def _ended(self, label: str) -> Facts:
        """The chain's facts once it has ended; as they are then, if it does not."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            facts = await chain_facts.gather(self._scene, label, lines=self._lines, depth=DEPTH, fan_out=FAN_OUT)
            if facts.is_ended or time.monotonic() > deadline:
                return facts
            await asyncio.sleep(AGAIN_S)


async def play(folder: Path, seeds: Sequence[int], *, stack: str = "embedded") -> list[Outcome]:
    """Play a run for each seed, and print it."""
    outcomes = []
    running = await stores.start(folder / "stores", stack=stack)
    try:
        async with scene.on(running, folder / "relay", serves=1, works=2) as staged:
            chains = Chains(staged, folder / "scripts")
            chains.prepare()
            for seed in seeds:
                outcomes.append(await chains.play(seed))
                print(outcomes[-1], flush=True)
    finally:
        await running.end()
    return outcomes


def main() -> int:
    """Play the runs, sum up, and keep the logs where something did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.chains", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, help="the first run's; the others follow (default: a new one, printed)")
    parser.add_argument("--stack", choices=("embedded", "apache"), default="embedded")
    parser.add_argument("--folder", help="where stores and logs go, and stay")
    given = parser.parse_args()
    first = given.seed if given.seed is not None else random.randrange(1_000_000)
    folder = Path(given.folder or tempfile.mkdtemp(prefix="relay-chains-"))
    sys.stderr.write(f"seeds {first} to {first + given.runs - 1}; logs in {folder}\n")
    outcomes = asyncio.run(play(folder, range(first, first + given.runs), stack=given.stack))
    bad = [outcome for outcome in outcomes if outcome.violations]
    kills, lost = sum(len(each.kills) for each in outcomes), sum(each.facts.lost for each in outcomes)
    jobs = sum(len(each.facts.jobs) for each in outcomes)
    print(f"{len(outcomes)} runs, {jobs} jobs, {kills} kills, {lost} attempts lost; {len(bad)} runs with violations")
    if not bad and not given.folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
