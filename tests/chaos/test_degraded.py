"""A store that goes away and comes back: `/readyz`, the gauge, and one line in each log on entering and on leaving."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.stack.waiting import until

if TYPE_CHECKING:
    from relay.dev.server import Server
    from tests.chaos.fleet import Place
    from tests.chaos.stage import Stage, Stages
    from tests.chaos.stores import Stores

pytestmark = pytest.mark.asyncio(loop_scope="session")

SAID_S = 30.0
BACK_S = 60.0  # a consumer that has fallen silent may take as long


@dataclass(frozen=True, slots=True)
class Lines:
    """What a process says on entering and on leaving."""

    entering: str
    leaving: str


SERVE = {
    "postgresql": Lines("postgresql.unreachable", "postgresql.reachable"),
    "redis": Lines("redis.unreachable", "redis.reachable"),
    "kafka": Lines("kafka.unreachable role=publisher", "kafka.connected role=publisher"),
}
WORK = {
    "postgresql": Lines("heartbeat.failed", "heartbeat.recovered"),
    "redis": Lines("redis.unreachable", "redis.recovered"),
    "kafka": Lines("kafka.unreachable role=consumer", "kafka.connected role=consumer"),
}


@pytest.mark.parametrize("part", ["postgresql", "redis", "kafka"])
async def test_an_outage_is_told_once_when_it_begins_and_once_when_it_ends(stage: Stages, part: str) -> None:
    async with stage(works=1) as on:
        serve, work = on.scene.fleet.all
        both = ((serve, SERVE[part]), (work, WORK[part]))
        await until(partial(says, work, {work.name: 0}, WORK["kafka"].leaving), within_s=SAID_S, what="Kafka in use")
        skipped = {place.name: len(place.log.read_text()) for place in on.scene.fleet.all}
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(on.load().run(per_s=3, over=over))  # what nobody uses, nobody misses
            await server_of(on.scene.stores, part).kill()
            await on.until_part(part, "down")
            for place, lines in both:
                await until(
                    partial(says, place, skipped, lines.entering), within_s=SAID_S, what=f"{place.name}: {lines}"
                )
            if part != "postgresql":  # where the token is looked up
                assert await gauge(on, part) == 0

            await on.scene.stores.start_again(server_of(on.scene.stores, part))
            await on.until_part(part, "up")
            for place, lines in both:
                await until(
                    partial(says, place, skipped, lines.leaving), within_s=BACK_S, what=f"{place.name}: {lines}"
                )
            assert await gauge(on, part) == 1
            over.set()
        assert [said(place, skipped, lines.entering) for place, lines in both] == [1, 1]
        assert [said(place, skipped, lines.leaving) for place, lines in both] == [1, 1]


def server_of(stores: Stores, part: str) -> Server:
    return {"postgresql": stores.postgres, "redis": stores.redis, "kafka": stores.kafka.server}[part]


def said(place: Place, skipped: dict[str, int], words: str) -> int:
    """How often it has said this since the outage began."""
    return place.log.read_text()[skipped[place.name] :].count(words)


def says(place: Place, skipped: dict[str, int], words: str) -> bool:
    return said(place, skipped, words) > 0


async def gauge(on: Stage, part: str) -> float:
    """What /metrics says of a part."""
    headers = {"Authorization": f"Bearer {on.scene.token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{on.scene.apis()[0]}/metrics") as answer,
    ):
        text = await answer.text()
    (line,) = [line for line in text.splitlines() if line.startswith(f'relay_part_up{{part="{part}"}}')]
    return float(line.split()[1])
