"""A scene as a test uses it: load it, hurt it, ask what came of it, and have it judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp

from tests.chaos import load, quiet, report
from tests.stack.waiting import until

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from tests.chaos.fleet import Place
    from tests.chaos.network import Network
    from tests.chaos.scene import Scene
    from tests.chaos.stores import Stores

TTL_S = 3.0
PART_S = 20.0


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene, and the random numbers that its load and its faults are drawn from."""

    scene: Scene
    rng: random.Random

    async def submit(self, count: int, *, kinds: Mapping[str, int] = load.KINDS, long_s: float = 1.0) -> None:
        """Submit so many jobs; returns when all are acknowledged."""
        await self.load(kinds=kinds, long_s=long_s).submit(count)

    def load(self, *, kinds: Mapping[str, int] = load.KINDS, long_s: float = 1.0) -> load.Load:
        """A generator of its own tags."""
        return load.Load(
            self.scene.apis,
            self.scene.token,
            folder=self.scene.folder,
            journal=self.scene.journal,
            rng=self.rng,
            kinds=kinds,
            long_s=long_s,
            prefix=f"{self.rng.getrandbits(24):x}",
        )

    async def post(self, specs: Sequence[Mapping[str, object]]) -> None:
        """Submit specs of a test's own, past the journal: the checker knows nothing of them."""
        headers = {"Authorization": f"Bearer {self.scene.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.scene.apis()[0]}/v1/jobs/batch", json=specs) as answer,
        ):
            assert answer.status == 201, await answer.text()

    async def until_ended(self, *, within_s: float) -> None:
        """Wait until all jobs have ended."""

        async def look() -> bool:
            return not await self.scene.query("SELECT 1 FROM jobs WHERE finished_at IS NULL LIMIT 1")

        await until(look, within_s=within_s, what="the end of all jobs")

    async def violations(self, *, within_s: float = 0.0, is_lag_awaited: bool = False) -> dict[str, list[str]]:
        """Wait until it is quiet (`within_s`: no longer than that), and check all invariants."""
        return await quiet.check(self.scene, within_s=within_s, is_lag_awaited=is_lag_awaited)

    def busiest(self) -> Place:
        """The worker that runs the most jobs."""
        counts = Counter(line.worker_pid for line in self.scene.folder.open_claims().values())
        return max(self.scene.fleet.works, key=lambda place: counts[place.worker_pid or 0])

    async def alone(self, **environ: str) -> Place:
        """Have one of two workers run alone, with these variables; the other place is held."""
        place, other = self.scene.fleet.works
        other.hold()
        other.kill()
        await other.ended()
        await place.replace(**environ)
        await self.scene.ready_at(place)
        return place

    async def lost(self) -> int:
        """How many attempts were lost."""
        return len(await self.scene.query("SELECT 1 FROM attempts WHERE outcome = 'lost'"))

    def rescues(self) -> int:
        """How often the servers have rescued something, as their logs tell."""
        return sum(place.log.read_text().count("attempts.rescued") for place in self.scene.fleet.serves)

    def slowest_rerun(self) -> float:
        """From a worker's death to the last re-run's start; all deaths must be of one kind."""
        (spread,) = report.recoveries(self.scene.kills, self.scene.folder.lines()).values()
        return spread.max

    def longest_pause(self) -> float:
        """The longest time in which no job ended."""
        ends = [line.at for line in self.scene.folder.lines() if line.what == "end"]
        return max(later - earlier for earlier, later in pairwise(ends))

    async def parts(self) -> dict[str, Any]:
        """What /readyz says."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.scene.apis()[0]}/readyz") as answer:
            return dict(await answer.json())

    async def until_part(self, part: str, state: str) -> dict[str, Any]:
        """Wait until /readyz says this of a part: the whole answer."""

        async def look() -> dict[str, Any] | None:
            parts = await self.parts()
            return parts if parts[part] == state else None

        return await until(look, within_s=PART_S, what=f"{part} {state}")


class Stages(Protocol):
    """Opens a stage: `async with stage(works=2) as on: …`."""

    def __call__(
        self,
        *,
        serves: int = 1,
        works: int = 2,
        concurrency: int = 8,
        without: str = "",
        before: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        network: Network | None = None,
        stores: Stores | None = None,
    ) -> AbstractAsyncContextManager[Stage]: ...
