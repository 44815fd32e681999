"""Faults by name. Each hurts a scene for a while and heals what it hurt; what follows from it is Relay's business.

Lengths are in leases (TTL), because that is what decides: shorter than one must cost nothing, longer ones end in rescues. Everything that
a fault chooses it draws from the random numbers that it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from tests.chaos import fleet
from tests.chaos.proxy import Mode
from tests.chaos.scene import pick
from tests.stack.waiting import until

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from relay.dev.server import Server
    from tests.chaos.proxy import Proxy
    from tests.chaos.scene import Scene

CUTS = (Mode.REFUSE, Mode.RESET, Mode.HOLD, Mode.HOLD_UP, Mode.HOLD_DOWN)
COMMITS = ("Insert jobs", "Claim the jobs", "Record attempts")


async def kill_worker(scene: Scene, rng: random.Random) -> None:
    """Kill -9 a worker; its guard lives, and another starts there."""
    place = pick(scene.fleet.works, rng)
    worker = place.worker_pid
    if worker is not None:
        async with scene.noted("kill_worker", place.name):
            await scene.kill(place, "kill_worker", [worker])


async def kill_guard(scene: Scene, rng: random.Random) -> None:
    """Kill -9 a guard: the worker must kill its jobs and exit."""
    place = pick(scene.fleet.works, rng)
    async with scene.noted("kill_guard", place.name):
        if place.is_running:
            await scene.kill(place, "kill_guard", [place.pid])


async def kill_both(scene: Scene, rng: random.Random) -> None:
    """Kill -9 guard and worker: jobs run on until another worker starts there, and sweeps first."""
    place = pick(scene.fleet.works, rng)
    worker = place.worker_pid
    if worker is not None:
        async with scene.noted("kill_both", place.name):
            await scene.kill(place, "kill_both", [place.pid, worker])


async def lose_host(scene: Scene, rng: random.Random) -> None:
    """Take away worker, guard and jobs at one blow, and let none start there until others have rescued what it had."""
    place = pick(scene.fleet.works, rng)
    worker = place.worker_pid
    if worker is None:
        return
    async with scene.noted("lose_host", place.name):
        place.hold()
        try:
            await scene.lose(place)
            with contextlib.suppress(AssertionError):  # how long it took is the report's business
                await until(lambda: _run_again(scene, scene.kills[-1].claims), within_s=4 * scene.ttl_s, what="re-runs")
        finally:
            place.release()


def _run_again(scene: Scene, claims: Collection[str]) -> bool:
    """Whether each job of these claims has started again, or ended."""
    lines = scene.folder.lines()
    last = {line.job_id: line.claim_id for line in lines if line.what in {"start", "overlap"}}
    ended = {line.claim_id for line in lines if line.what == "end"}
    mine = {line.job_id: line.claim_id for line in lines if line.claim_id in claims and "at_most_once" not in line.tag}
    return all(last[job_id] != claim_id or claim_id in ended for job_id, claim_id in mine.items())


async def stop_worker(scene: Scene, rng: random.Random) -> None:
    """SIGSTOP a worker for longer than a lease, then let it go on."""
    await _stop(scene, pick(scene.fleet.works, rng), rng.uniform(1.5, 2.5) * scene.ttl_s)


async def stall_worker(scene: Scene, rng: random.Random) -> None:
    """SIGSTOP a worker for less than a lease: nothing may come of it."""
    await _stop(scene, pick(scene.fleet.works, rng), rng.uniform(0.1, 0.5) * scene.ttl_s)


async def _stop(scene: Scene, place: fleet.Place, for_s: float) -> None:
    worker = place.worker_pid
    if worker is None:
        return
    async with scene.noted("stop_worker", f"{place.name} {for_s:.1f} s"):
        fleet.send(worker, signal.SIGSTOP)
        try:
            await asyncio.sleep(for_s)
        finally:
            fleet.send(worker, signal.SIGCONT)


async def drain_worker(scene: Scene, rng: random.Random) -> None:
    """SIGTERM a worker, as a rolling restart does."""
    place = pick(scene.fleet.works, rng)
    async with scene.noted("drain_worker", place.name):
        if place.is_running:
            fleet.send(place.pid, signal.SIGTERM)


async def kill_serve(scene: Scene, rng: random.Random) -> None:
    """Kill -9 an API node."""
    place = pick(scene.fleet.serves, rng)
    async with scene.noted("kill_serve", place.name):
        if place.is_running:
            fleet.send(place.pid, signal.SIGKILL)


async def flush_redis(scene: Scene, rng: random.Random) -> None:
    """FLUSHALL every second for a while."""
    async with scene.noted("flush_redis"):
        for _ in range(rng.randint(2, max(2, round(2 * scene.ttl_s)))):
            await scene.stores.flush_redis()
            await asyncio.sleep(1)


async def stop_redis(scene: Scene, rng: random.Random) -> None:
    """SIGSTOP Redis: it accepts and never answers."""
    async with scene.noted("stop_redis"):
        await _freeze(scene.stores.redis, rng.uniform(0.3, 2) * scene.ttl_s)


async def restart_redis(scene: Scene, rng: random.Random) -> None:
    """Replace Redis by an empty one."""
    async with scene.noted("restart_redis"):
        await scene.stores.restart_redis(down_s=rng.choice([0, 0.5, 2]) * scene.ttl_s)


async def restart_kafka(scene: Scene, rng: random.Random) -> None:
    """Kill Kafka and start it again after a while."""
    async with scene.noted("restart_kafka"):
        await scene.stores.restart_kafka(down_s=rng.choice([0, 1, 3]) * scene.ttl_s)


async def wipe_kafka(scene: Scene, rng: random.Random) -> None:
    """Kill Kafka and start it again with no data."""
    del rng
    async with scene.noted("wipe_kafka"):
        await scene.stores.restart_kafka(is_wiped=True)


async def restart_postgres(scene: Scene, rng: random.Random) -> None:
    """Restart PostgreSQL, fast or immediate, at once or after a while."""
    is_immediate, down_s = rng.random() < 0.5, rng.choice([0, 0, 0.5, 2]) * scene.ttl_s
    async with scene.noted("restart_postgres", f"{'immediate' if is_immediate else 'fast'} {down_s:.1f} s"):
        await scene.stores.restart_postgres(is_immediate=is_immediate, down_s=down_s)


async def cut_postgres(scene: Scene, rng: random.Random) -> None:
    """Cut one process off from PostgreSQL, both ways or one."""
    place = pick(scene.fleet.all, rng)
    await _cut(scene, place.postgres, f"cut_postgres {place.name}", rng)


async def cut_redis(scene: Scene, rng: random.Random) -> None:
    """Cut one process off from Redis, both ways or one."""
    place = pick(scene.fleet.all, rng)
    await _cut(scene, place.redis, f"cut_redis {place.name}", rng)


async def cut_kafka(scene: Scene, rng: random.Random) -> None:
    """Cut all off from Kafka, both ways or one."""
    await _cut(scene, scene.stores.kafka.proxy, "cut_kafka", rng)


async def _cut(scene: Scene, proxy: Proxy, name: str, rng: random.Random) -> None:
    mode, for_s = rng.choice(CUTS), rng.uniform(0.2, 2.5) * scene.ttl_s
    fault, _, place = name.partition(" ")
    async with scene.noted(fault, f"{place} {mode.name} {for_s:.1f} s"), proxy.as_(mode):
        await asyncio.sleep(for_s)


async def slow_stores(scene: Scene, rng: random.Random) -> None:
    """Make PostgreSQL and Redis slow for one process."""
    place, delay_s = pick(scene.fleet.all, rng), rng.uniform(0.02, 0.3)
    async with scene.noted("slow_stores", f"{place.name} {delay_s * 1000:.0f} ms"):
        place.postgres.delay_s = place.redis.delay_s = delay_s
        try:
            await asyncio.sleep(rng.uniform(0.5, 2) * scene.ttl_s)
        finally:
            place.postgres.delay_s = place.redis.delay_s = 0.0


async def cut_midway(scene: Scene, rng: random.Random) -> None:
    """Reset a connection to PostgreSQL after so many bytes: in the middle of a message, mostly."""
    place = pick(scene.fleet.all, rng)
    async with scene.noted("cut_midway", place.name):
        place.postgres.cut_after = rng.randint(1, 4000)


async def lose_commit(scene: Scene, rng: random.Random) -> None:
    """Lose the answer to a commit of a submit, a claim or a finish, on every process that does one."""
    text = rng.choice(COMMITS)
    async with scene.noted("lose_commit", text):
        for place in scene.fleet.all:
            place.postgres.lose_commit(text)


async def _freeze(server: Server, for_s: float) -> None:
    server.child.signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(for_s)
    finally:
        server.child.signal(signal.SIGCONT)


FAULTS: Mapping[str, Callable[[Scene, random.Random], Awaitable[None]]] = {
    fault.__name__: fault
    for fault in (
        kill_worker, kill_guard, kill_both, lose_host, stop_worker, stall_worker, drain_worker, kill_serve, flush_redis, stop_redis,
        restart_redis, restart_kafka, wipe_kafka, restart_postgres, cut_postgres, cut_redis, cut_kafka, slow_stores, cut_midway,
        lose_commit,
    )
}  # fmt: skip
WEIGHTS: Mapping[str, int] = {name: 6 if name == "kill_worker" else 1 for name in FAULTS}
"""In a mixed run a worker's death comes most often."""
KILLS: Mapping[str, int] = {"kill_worker": 6, "kill_both": 6, "lose_host": 1}
"""Those of a run that only kills: a lost host takes a lease's time, the others a second."""
