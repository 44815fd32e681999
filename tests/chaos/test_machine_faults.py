"""Faults of the machine below: a network that loses one direction, a wall clock that jumps, a disk that is full.

They need what not every machine gives (root, iproute2, libfaketime); where it is missing the skip says what.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.chaos import network, stores
from tests.chaos.journal import Order
from tests.chaos.load import spec_of
from tests.chaos.stage import TTL_S
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from tests.chaos.fleet import Place
    from tests.chaos.network import Network
    from tests.chaos.stage import Stage, Stages

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = {"long": 1}
MORE_THAN_ONE_TAKES = 12  # jobs at once, of 8 slots
ENDED_S = 40.0
RERUN_ELSEWHERE_S = 20.0
HOUR_S = 3600
DISK_BYTES = 200 << 20
FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)

needs_network = pytest.mark.skipif(bool(network.why_not()), reason=network.why_not())
needs_faketime = pytest.mark.skipif(FAKETIME is None, reason="needs libfaketime (Debian's package of that name)")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a small disk for PostgreSQL is mounted, which needs root")


class TestOneWayPartitions:
    @needs_network
    async def test_a_one_way_cut_from_one_store_costs_no_attempt_and_heals_by_itself(
        self, stage: Stages, tmp_path: Path, request: pytest.FixtureRequest
    ) -> None:
        async with on_network(stage, tmp_path, request) as (on, net):
            cuts = [(store, way) for store in network.STORES for way in network.WAYS]
            for number, cut in enumerate(cuts, start=1):
                await on.submit(MORE_THAN_ONE_TAKES, kinds=LONG, long_s=5.0)
                await on.scene.started(MORE_THAN_ONE_TAKES * number)
                async with net.cut([cut[0]], cut[1]):
                    await asyncio.sleep(1.5 * TTL_S)
                await on.until_ended(within_s=ENDED_S)
            assert await on.lost() == 0
            await works_again(on, on.scene.fleet.works[0])
            assert await on.violations() == {}

    @needs_network
    @pytest.mark.parametrize("way", network.WAYS)
    async def test_a_worker_cut_off_from_all_stores_one_way_kills_its_jobs_before_they_run_again(
        self, stage: Stages, tmp_path: Path, request: pytest.FixtureRequest, way: str
    ) -> None:
        async with on_network(stage, tmp_path, request) as (on, net):
            await on.submit(MORE_THAN_ONE_TAKES, kinds=LONG, long_s=8.0)
            await on.scene.started(MORE_THAN_ONE_TAKES)
            async with net.cut(network.STORES, way):
                await until(on.lost, within_s=RERUN_ELSEWHERE_S, what="a rescue")
            await works_again(on, on.scene.fleet.works[0])
            assert await on.violations() == {}


@needs_faketime
async def test_wall_clocks_that_are_an_hour_off_and_jump_change_nothing(stage: Stages, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+1h")
    async with stage() as on:
        place, other = on.scene.fleet.works
        for each in (place, on.scene.fleet.serves[0]):
            await each.replace(**faked(clock))
        await on.scene.ready()
        assert abs(clock_of(place) - HOUR_S) < 60
        await on.submit(10, kinds=LONG, long_s=2.0 * TTL_S)
        await on.scene.started(10)
        clock.write_text("-1h")  # the jobs that run now have been claimed two hours later, by this clock
        await on.until_ended(within_s=ENDED_S)
        assert await on.lost() == 0

        await on.submit(10, kinds=LONG, long_s=2.0 * TTL_S)
        await on.scene.started(20)
        other.hold()
        await on.scene.lose(other)
        await on.scene.started(20 + len(on.scene.kills[0].claims), within_s=RERUN_ELSEWHERE_S)
        assert await on.violations() == {}
        assert await on.lost() == len(on.scene.kills[0].claims) > 0


@needs_root
async def test_a_full_disk_under_postgresql_refuses_jobs_and_accepts_none_by_half(
    stage: Stages, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with small_disk(tmp_path / "disk") as disk:
        stack = request.config.getoption("--stack")
        own = await stores.start(tmp_path / "stores", stack=stack, postgres_folder=disk / "postgres")
        try:
            async with stage(stores=own) as on:
                over = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    group.create_task(on.load().run(per_s=6, over=over))
                    await on.scene.started(4)
                    filling = fill(disk)
                    await until(lambda: is_refused(on), within_s=60, what="503")
                    await asyncio.sleep(TTL_S)
                    filling.unlink()
                    await on.scene.stores.heal()  # PostgreSQL ends when its log can't grow
                    over.set()
                assert await on.violations() == {}
        finally:
            await own.end()


@contextlib.asynccontextmanager
async def on_network(
    stage: Stages, folder: Path, request: pytest.FixtureRequest
) -> AsyncIterator[tuple[Stage, Network]]:
    """A stage whose first worker has a network of its own; Kafka tells an address that both workers reach."""
    async with network.network() as net:
        stack = request.config.getoption("--stack")
        own = await stores.start(folder / "stores", stack=stack, kafka_host=net.host("kafka"))
        try:
            async with stage(network=net, stores=own) as on:
                yield on, net
        finally:
            await own.end()


async def works_again(on: Stage, place: Place) -> None:
    """Submit jobs until this worker runs one."""
    before = len(on.scene.folder.lines())

    async def look() -> bool:
        await on.submit(4, kinds={"plain": 1})
        return any(line.worker_pid == place.worker_pid for line in on.scene.folder.lines()[before:])

    await until(look, within_s=ENDED_S, what=f"a job on {place.name}")


def faked(clock: Path) -> dict[str, str]:
    """The environment of a process whose wall clock, and no other clock, is off by what the file says."""
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def clock_of(place: Place) -> float:
    """How far the clock is ahead by which the worker has just said that it started, in seconds."""
    said = re.findall(r"^(\d\d):(\d\d):(\d\d) .*worker\.started", place.log.read_text(), re.MULTILINE)[-1]
    hours, minutes, seconds = map(int, said)
    now = time.localtime()
    ahead = 3600 * (hours - now.tm_hour) + 60 * (minutes - now.tm_min) + seconds - now.tm_sec
    return (ahead + 12 * HOUR_S) % (24 * HOUR_S) - 12 * HOUR_S


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of a few MB, for a block."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> Path:
    """Leave no byte of it: the file to delete afterwards."""
    filling = disk / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    return filling


async def is_refused(on: Stage) -> bool:
    """Whether a job is answered 503 with Retry-After now."""
    order = Order(f"probe-{time.time_ns()}", "plain")
    spec = spec_of(on.scene.folder, order, seconds=0.05)
    headers = {"Authorization": f"Bearer {on.scene.token}", "Idempotency-Key": order.tag}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{on.scene.apis()[0]}/v1/jobs", json=spec) as answer,
    ):
        assert answer.status in {201, 503}, await answer.text()
        return answer.status == 503 and "Retry-After" in answer.headers
