"""The guard enforces its claims' deadlines, and kills what a worker leaves, with real process trees (`guarded.py`)."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from tests.integration.guards import Guarded, guarded, spawn
from tests.stack.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["guarded", "spawn"]


async def test_a_killed_worker_takes_every_process_of_its_jobs_along_within_a_second(guarded: Guarded) -> None:
    one, other = await guarded.start("one", size=5), await guarded.start("other", size=5)
    os.kill(guarded.worker, signal.SIGKILL)
    await one.dead(within_s=1)
    await other.dead(within_s=1)
    assert await guarded.ended() == 128 + signal.SIGKILL


async def test_a_stopped_workers_jobs_die_at_their_deadline_and_the_worker_stays(guarded: Guarded) -> None:
    family = await guarded.start("claim", ttl_ms=1000, size=5)
    os.kill(guarded.worker, signal.SIGSTOP)
    assert len(family.living) == 5
    await family.dead(within_s=4)
    assert time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= family.deadline_ns
    os.kill(guarded.worker, signal.SIGCONT)
    assert await guarded.tell("end", "claim") == "ended"


async def test_a_deadline_ends_its_own_claim_only(guarded: Guarded) -> None:
    staying = await guarded.start("staying")
    ending = await guarded.start("ending", ttl_ms=500)
    await ending.dead(within_s=3.5)
    assert len(staying.living) == 4


async def test_renewals_move_deadlines_and_only_forward(guarded: Guarded) -> None:
    renewed = await guarded.start("renewed", ttl_ms=1000)
    await guarded.tell("renew", 60_000, "renewed", "unknown")
    await guarded.tell("renew", 1, "renewed")
    later = await guarded.start("later", ttl_ms=1000)
    await later.dead(within_s=4)
    assert len(renewed.living) == 4


async def test_a_deadline_that_has_passed_can_no_longer_be_moved(guarded: Guarded) -> None:
    family = await guarded.start("claim", ttl_ms=1500)
    os.kill(guarded.process.pid, signal.SIGSTOP)
    await until(lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) > family.deadline_ns)
    await guarded.tell("renew", 60_000, "claim")
    assert len(family.living) == 4
    os.kill(guarded.process.pid, signal.SIGCONT)
    await family.dead(within_s=3)


async def test_a_deadline_between_starting_and_started_ends_the_worker_and_all_its_jobs(guarded: Guarded) -> None:
    family = await guarded.start("other")
    await guarded.tell("announce", "claim", 300)
    os.kill(guarded.worker, signal.SIGSTOP)
    assert await guarded.ended(within_s=3) == 128 + signal.SIGKILL
    assert family.living == []


async def test_a_claim_that_has_ended_has_no_deadline(guarded: Guarded) -> None:
    ended = await guarded.start("ended", ttl_ms=1000)
    running = await guarded.start("running")
    await guarded.tell("end", "ended")
    await guarded.tell("announce", "unforked", 1000)
    await guarded.tell("end", "unforked")
    other = await guarded.start("other", ttl_ms=1000)
    await other.dead(within_s=4)
    assert len(ended.living) == len(running.living) == 4
    assert await guarded.tell("renew", 1, "ended") == "renewed"


async def test_a_start_after_the_deadline_is_refused(guarded: Guarded) -> None:
    assert await guarded.tell("announce", "claim", 0) == "refused"


async def test_an_attempts_own_cgroup_is_killed_as_well(guarded: Guarded, tmp_path: Path) -> None:
    kill = tmp_path / "group of its own" / "cgroup.kill"
    kill.parent.mkdir()
    kill.touch()
    family = await guarded.start("claim", ttl_ms=300, cgroup=kill.parent)
    await family.dead(within_s=3)
    await until(lambda: kill.read_text() == "1", what="a 1 in cgroup.kill")
