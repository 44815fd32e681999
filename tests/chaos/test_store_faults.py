"""Faults of the stores and of the network to them, one by one, with short leases and fixed seeds.

What must hold in all of them is the checker's; here is what each adds.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.chaos import faults, fleet, lag
from tests.chaos.proxy import Mode
from tests.chaos.stage import TTL_S

if TYPE_CHECKING:
    from tests.chaos.lengths import Lengths
    from tests.chaos.stage import Stages

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = {"long": 1}


class TestPartitions:
    async def test_a_job_whose_heartbeats_fail_runs_on_under_its_lock(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(6, kinds=LONG, long_s=4.0)
            await on.scene.started(6)
            async with on.busiest().postgres.as_(Mode.HOLD):
                await asyncio.sleep(2.5 * TTL_S)
            assert await on.violations() == {}
            assert await on.lost() == 0

    async def test_a_worker_cut_off_from_all_stores_kills_its_jobs_at_their_deadline(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(6, kinds=LONG, long_s=6.0)
            await on.scene.started(6)
            place = on.busiest()
            async with place.postgres.as_(Mode.HOLD_DOWN), place.redis.as_(Mode.HOLD_DOWN):
                await asyncio.sleep(2.5 * TTL_S)
            assert await on.violations() == {}
            assert await on.lost() > 0

    async def test_each_kind_of_cut_heals_by_itself(self, stage: Stages) -> None:
        async with stage(serves=2) as on:
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(on.load().run(per_s=6, over=over))
                proxies = (
                    on.scene.fleet.works[0].postgres,
                    on.scene.fleet.serves[0].redis,
                    on.scene.stores.kafka.proxy,
                )
                for mode in faults.CUTS:
                    for proxy in proxies:
                        await proxy.set(mode)
                    await asyncio.sleep(0.4 * TTL_S)
                    for proxy in proxies:
                        await proxy.heal()
                over.set()
            assert await on.violations() == {}


class TestRedis:
    async def test_jobs_complete_while_redis_is_down_and_readyz_says_so(self, stage: Stages, lengths: Lengths) -> None:
        async with stage() as on:
            await on.submit(6, kinds=LONG, long_s=6.0)
            await on.scene.stores.redis.kill()
            parts = await on.until_part("redis", "down")
            assert parts["status"] == "degraded"
            await on.submit(20)
            await asyncio.sleep(lengths.redis_down_s)
            await on.scene.stores.start_again(on.scene.stores.redis)
            await on.until_part("redis", "up")
            assert await on.violations() == {}
            assert await on.lost() == 0

    async def test_nothing_is_lost_or_overlaps_while_redis_forgets_all_each_second(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(8, kinds=LONG, long_s=5.0)
            await faults.flush_redis(on.scene, on.rng)
            await on.submit(20)
            assert await on.violations() == {}
            assert await on.lost() == 0

    async def test_a_redis_that_never_answers_or_is_replaced_delays_only(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(6, kinds=LONG, long_s=5.0)
            await faults.stop_redis(on.scene, on.rng)
            await on.submit(10)
            await on.scene.stores.restart_redis()
            await on.submit(10)
            assert await on.violations() == {}
            assert await on.lost() == 0


class TestKafka:
    async def test_jobs_complete_while_kafka_is_down_and_when_it_is_back_without_its_data(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(10)
            await on.scene.stores.kafka.server.kill()
            await on.submit(20)
            await on.scene.started(25)
            await on.scene.stores.kafka.wipe()
            await on.scene.stores.start_again(on.scene.stores.kafka.server)
            await on.until_part("kafka", "up")
            await on.submit(10)
            assert await on.violations(is_lag_awaited=True) == {}
            attempts = await on.scene.query("SELECT job_id FROM attempts GROUP BY job_id HAVING count(*) > 2")
            assert attempts == []

    async def test_kafka_killed_and_restarted_under_load_costs_no_second_execution(self, stage: Stages) -> None:
        async with stage() as on:
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(on.load().run(per_s=6, over=over))
                for _ in range(2):
                    await on.scene.stores.restart_kafka(down_s=1)
                    await asyncio.sleep(2)
                over.set()
            assert await on.violations(is_lag_awaited=True) == {}
            assert await on.lost() == 0

    async def test_offsets_reset_to_the_earliest_cost_no_second_execution(self, stage: Stages) -> None:
        async with stage() as on:
            await on.until_part("kafka", "up")
            await on.submit(20, kinds={"plain": 1})
            assert await on.violations(is_lag_awaited=True) == {}
            for place in on.scene.fleet.works:
                place.hold()
                fleet.send(place.pid, signal.SIGTERM)
                await place.ended()
            assert await lag.rewind(on.scene) > 0
            for place in on.scene.fleet.works:
                place.release()
            await on.scene.staffed()
            await on.submit(5, kinds={"plain": 1})
            assert await on.violations(is_lag_awaited=True) == {}
            starts = Counter(line.job_id for line in on.scene.folder.lines() if line.what == "start")
            assert list(starts.values()) == [1] * 25


class TestPostgresql:
    @pytest.mark.parametrize("is_immediate", [True, False])
    async def test_a_restart_loses_nothing_accepted_and_rescues_nothing(
        self, stage: Stages, lengths: Lengths, is_immediate: bool
    ) -> None:
        down_s = 0 if is_immediate else lengths.postgres_down_s
        async with stage() as on:
            over = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(on.load().run(per_s=6, over=over))
                await on.scene.started(4)
                await on.scene.stores.restart_postgres(is_immediate=is_immediate, down_s=down_s)
                await asyncio.sleep(TTL_S)
                assert on.rescues() == 0
                over.set()
            assert await on.violations() == {}

    @pytest.mark.parametrize("statement", faults.COMMITS)
    async def test_a_lost_answer_to_a_commit_leaves_exactly_one_row(self, stage: Stages, statement: str) -> None:
        async with stage() as on:
            for place in on.scene.fleet.all:
                place.postgres.lose_commit(statement)
            await on.submit(16, kinds={"plain": 2, "chain": 1, "failing": 1})
            assert await on.violations() == {}
            assert statement in [text for place in on.scene.fleet.all for text in place.postgres.lost]
