"""Faults of the workers and the API, one by one, with short leases and fixed seeds.

What must hold in all of them is the checker's; here is what each adds. Those of the stores are in `test_store_faults`.
"""

from __future__ import annotations

import asyncio
import signal
from functools import partial
from typing import TYPE_CHECKING

import pytest

from relay.client import Client
from tests.chaos import fleet
from tests.chaos.journal import Order
from tests.chaos.load import spec_of
from tests.stack.waiting import until

if TYPE_CHECKING:
    from tests.chaos.lengths import Lengths
    from tests.chaos.stage import Stage, Stages

pytestmark = pytest.mark.asyncio(loop_scope="session")

GONE_S = 1.0  # after a worker's death no process of its jobs may live longer
RERUN_S = 5.0  # until its jobs run again, where a worker starts again there
RERUN_ELSEWHERE_S = 20.0
CHURN_S = 2.0
BEATS = "SELECT FROM workers WHERE pid = $1 AND seen_at > clock_timestamp() - interval '1.5 s'"
TOLD_TO_GO_BEFORE_IT_BEGAN = (-signal.SIGTERM, 128 + signal.SIGTERM)
LONG = {"long": 1}
FAMILY = {"family": 1}
HARMLESS = {
    "plain": 3,
    "printing": 2,
    "long": 1,
    "locked": 1,
    "delayed": 1,
}  # none that fails or is cancelled by itself


class TestWorkerDeath:
    async def test_a_killed_workers_trees_are_gone_in_a_second_and_its_jobs_run_again_in_five(
        self, stage: Stages
    ) -> None:
        async with stage() as on:
            await on.submit(8, kinds=FAMILY, long_s=3.0)
            await on.scene.started(8)
            place = on.busiest()
            kill = await on.scene.kill(place, "kill_worker", [place.worker_pid or 0])
            assert await on.violations() == {}
            assert kill is not None
            assert kill.gone_s is not None
            assert kill.gone_s <= GONE_S
            assert on.slowest_rerun() <= RERUN_S

    async def test_a_lost_hosts_jobs_run_elsewhere_within_twenty_seconds(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(8, kinds=LONG, long_s=3.0)
            await on.scene.started(8)
            place = on.busiest()
            place.hold()
            await on.scene.lose(place)
            await on.scene.started(8 + len(on.scene.kills[0].claims), within_s=RERUN_ELSEWHERE_S)
            assert await on.violations() == {}
            assert on.slowest_rerun() <= RERUN_ELSEWHERE_S

    async def test_a_killed_guard_ends_the_worker_and_its_jobs_at_once(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(8, kinds=FAMILY, long_s=3.0)
            await on.scene.started(8)
            place = on.busiest()
            kill = await on.scene.kill(place, "kill_guard", [place.pid])
            assert await on.violations() == {}
            assert kill is not None
            assert kill.gone_s is not None
            assert kill.gone_s <= GONE_S

    async def test_what_outlives_worker_and_guard_is_swept_before_it_runs_again(self, stage: Stages) -> None:
        async with stage() as on:
            await on.submit(8, kinds=FAMILY, long_s=3.0)
            await on.scene.started(8)
            place = on.busiest()
            await on.scene.kill(place, "kill_both", [place.pid, place.worker_pid or 0])
            assert await on.violations() == {}

    async def test_what_outlives_worker_and_guard_is_swept_also_after_others_have_rescued_its_jobs(
        self, stage: Stages
    ) -> None:
        async with stage() as on:
            await on.submit(8, kinds=FAMILY, long_s=3.0)
            await on.scene.started(8)
            place = on.busiest()
            place.hold()
            await on.scene.kill(place, "kill_both", [place.pid, place.worker_pid or 0], is_watched=False)
            await until(on.rescues, within_s=20, what="a rescue")
            place.release()
            found = await on.violations()
            # While both were dead and nothing started there, nobody could stop the jobs from overlapping.
            assert found.keys() <= {"attempts_never_overlap"}


@pytest.mark.parametrize(
    ("failpoints", "lost", "starts"),
    [
        (("after_claim", "before_exec"), 1, 1),  # between claim and exec: no start
        (("after_exec", "before_finish"), 1, 2),  # between exec's end and finish: a re-run
        (("after_finish",), 0, 1),  # recorded once
    ],
)
async def test_a_worker_killed_at_an_exact_place_loses_and_doubles_nothing(
    stage: Stages, failpoints: tuple[str, ...], lost: int, starts: int
) -> None:
    async with stage(works=1) as on:
        (place,) = on.scene.fleet.works
        for failpoint in failpoints:
            await place.replace(RELAY_FAILPOINTS=f"{failpoint}=kill9")
            await on.submit(1, kinds={"plain": 1})
            await until(partial(place.has_ended, place.pid), within_s=20, what=f"death {failpoint}")
            await on.until_ended(within_s=30)  # or the next replacement is one more death
        assert await on.violations() == {}
        assert await on.lost() == lost * len(failpoints)
        assert sum(line.what == "start" for line in on.scene.folder.lines()) == starts * len(failpoints)


class TestPauses:
    async def test_a_stopped_workers_jobs_are_dead_before_they_run_again(self, stage: Stages, lengths: Lengths) -> None:
        async with stage() as on:
            await on.submit(8, kinds=FAMILY, long_s=4.0)
            await on.scene.started(8)
            place = on.busiest()
            worker = place.worker_pid or 0
            fleet.send(worker, signal.SIGSTOP)
            await asyncio.sleep(lengths.stopped_s)
            fleet.send(worker, signal.SIGCONT)
            await on.scene.ready_at(place)
            assert await on.violations() == {}
            assert await on.lost() > 0

    async def test_a_worker_stopped_between_its_check_and_its_fork_starts_nothing(self, stage: Stages) -> None:
        async with stage() as on:
            place = await on.alone(RELAY_FAILPOINTS="before_exec=stop")
            guard = place.pid
            await on.submit(1, kinds={"plain": 1})
            await until(lambda: place.has_ended(guard), within_s=30, what="the guard's kill of the stopped worker")
            assert await on.violations() == {}
            assert [line.attempt for line in on.scene.folder.lines() if line.what == "start"] == [2]

    async def test_a_late_finish_is_fenced_and_noted(self, stage: Stages) -> None:
        async with stage() as on:
            place = await on.alone(RELAY_FAILPOINTS="before_finish=stop")
            await on.submit(1, kinds={"plain": 1})
            worker = place.worker_pid or 0
            await until(lambda: fleet.is_stopped(worker), within_s=20, what="the stop before the finish")
            on.scene.fleet.works[1].release()
            await on.scene.started(2)
            fleet.send(worker, signal.SIGCONT)
            assert await on.violations() == {}
            rows = await on.scene.query("SELECT job_id FROM audit WHERE action = 'attempt.fenced'")
            assert len(rows) == 1
            assert "finish.fenced" in place.log.read_text()

    async def test_a_blocked_event_loop_is_as_a_stopped_worker_and_works_again_afterwards(
        self, stage: Stages, lengths: Lengths
    ) -> None:
        async with stage() as on:
            place = await on.alone(RELAY_FAILPOINTS=f"after_exec=block:{lengths.blocked_s:g}@2")
            on.scene.fleet.works[1].release()
            worker = place.worker_pid
            await on.submit(24, kinds={"long": 1, "plain": 1}, long_s=4.0)
            await on.until_ended(within_s=60)

            async def beats() -> bool:
                return bool(await on.scene.query(BEATS, worker))

            await until(beats, within_s=lengths.blocked_s + 10, what="a heartbeat of the worker that was blocked")
            assert await on.violations() == {}
            await on.submit(16, kinds=LONG, long_s=1.0)
            await until(
                lambda: any(line.worker_pid == worker for line in on.scene.folder.lines()[-40:]),
                within_s=20,
                what="jobs",
            )
            assert await on.violations() == {}


@pytest.mark.parametrize("failpoint", ["after_insert", "before_answer"])
async def test_an_api_killed_after_its_commit_has_accepted_the_job_once(stage: Stages, failpoint: str) -> None:
    async with stage() as on:
        (place,) = on.scene.fleet.serves
        await place.replace(RELAY_FAILPOINTS=f"{failpoint}=kill9")
        await on.scene.ready()
        server = place.pid
        await on.submit(1, kinds={"plain": 1})
        (started,) = await on.scene.started(1, within_s=35)
        assert await on.violations() == {}
        assert place.has_ended(server), "the failpoint did not bite"
        assert started.attempt == 1


async def test_workers_that_join_and_leave_all_the_time_stop_nothing(stage: Stages, lengths: Lengths) -> None:
    async with stage(works=3) as on:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(on.load().run(per_s=6, over=over))
            for turn in range(round(lengths.churn_s / CHURN_S)):
                fleet.send(on.scene.fleet.works[turn % 3].pid, signal.SIGTERM)
                await asyncio.sleep(CHURN_S)
            over.set()
        assert await on.violations() == {}
        assert on.longest_pause() < 10
        codes = {each.code for place in on.scene.fleet.works for each in place.exits}
        assert codes <= {0, *TOLD_TO_GO_BEFORE_IT_BEGAN}


async def test_a_rolling_restart_under_load_costs_no_client_an_answer_and_no_job_an_attempt(stage: Stages) -> None:
    async with stage(serves=2, works=3) as on:
        over = asyncio.Event()
        first = on.scene.fleet.serves[0].api
        ids: list[int] = []
        async with Client(first, on.scene.token) as client, asyncio.TaskGroup() as group:
            group.create_task(on.load(kinds=HARMLESS).run(per_s=6, over=over))
            group.create_task(submit_steadily(on, client, ids, over=over))
            await until(lambda: ids, what="a first answer: before it, a client soon gives up")
            for place in on.scene.fleet.all:
                was = place.pid
                fleet.send(was, signal.SIGTERM)
                await until(partial(place.has_ended, was), within_s=30, what=f"the end of {place.name}")
                await until(partial(getattr, place, "is_running"), within_s=10, what=f"another {place.name}")
                await on.scene.ready()
            over.set()
        assert await on.violations() == {}
        assert len(set(ids)) == len(ids) > 10
        codes = {each.code for place in on.scene.fleet.all for each in place.exits}
        assert codes == {0}
        rows = await on.scene.query("SELECT outcome FROM attempts WHERE attempt > 1 OR outcome <> 'succeeded'")
        assert rows == []


async def submit_steadily(on: Stage, client: Client, ids: list[int], *, over: asyncio.Event) -> None:
    """Submit with the client that people use, whose API goes away meanwhile: an error of it ends the test."""
    while not over.is_set():
        order = Order(f"client-{len(ids)}", "plain")
        ids.append((await client.submit(spec_of(on.scene.folder, order, seconds=0.05)))["id"])
        await asyncio.sleep(0.2)


async def test_a_drain_hands_back_what_takes_too_long(stage: Stages) -> None:
    async with stage(environ={"RELAY_DRAIN_TIMEOUT": "1s"}) as on:
        await on.submit(4, kinds=FAMILY, long_s=4.0)
        await on.scene.started(4)
        place = on.busiest()
        guard = place.pid
        fleet.send(guard, signal.SIGTERM)
        await until(lambda: place.has_ended(guard), within_s=1 + 1 + 5, what="the end: drain, grace, and a little")
        assert [each.code for each in place.exits if each.pid == guard] == [0]
        assert await on.violations() == {}
        rows = await on.scene.query(
            "SELECT retries_used FROM jobs WHERE EXISTS (SELECT 1 FROM attempts WHERE job_id = id AND outcome = 'released')"
        )
        assert rows
        assert {row["retries_used"] for row in rows} == {0}


async def test_three_servers_with_their_maintenance_and_three_workers_double_nothing(stage: Stages) -> None:
    async with stage(serves=3, works=3) as on:
        await on.submit(90, long_s=1.0)
        assert await on.violations() == {}
        assert await on.lost() == 0
