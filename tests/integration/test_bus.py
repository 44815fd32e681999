"""What is published comes to the members of a group, by lane and once, while Kafka is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import bus
from relay.model.states import Lane
from tests.integration.buses import Bus, fetch, relay, server
from tests.stack.waiting import until

if TYPE_CHECKING:
    from relay.bus import Message

__all__ = ["relay", "server"]


async def test_what_is_published_is_fetched_once(relay: Bus) -> None:
    consumer_ = await relay.join()

    job_ids = await relay.publish([ref for lane in Lane for ref in relay.refs(200, lane)])

    assert sorted(message.job_id for message in await fetch(consumer_, 600)) == job_ids
    assert await consumer_.fetch(1, wait_s=0.2) == []


async def test_jobs_published_in_one_go_are_dealt_to_all_partitions(relay: Bus) -> None:
    consumer_ = await relay.join()
    await relay.publish(relay.refs(bus.PARTITIONS))

    messages = await fetch(consumer_, bus.PARTITIONS)

    assert {message.tp.partition for message in messages} == set(range(bus.PARTITIONS))


async def test_the_high_lane_comes_first(relay: Bus) -> None:
    consumer_ = await relay.join()
    await relay.publish([ref for lane in (Lane.LOW, Lane.NORMAL, Lane.HIGH) for ref in relay.refs(64, lane)])
    assert consumer_._member is not None
    kafka = consumer_._member._kafka
    kafka.resume(*kafka.assignment())
    await until(lambda: len(kafka._fetcher._records) == 96, what="not all partitions were fetched")

    lanes = [message.lane for message in await fetch(consumer_, 192)]

    assert lanes == [Lane.HIGH] * 64 + [Lane.NORMAL] * 64 + [Lane.LOW] * 64


async def test_what_came_first_but_of_a_lower_lane_is_put_back_and_comes_later(relay: Bus) -> None:
    consumer_ = await relay.join()
    sent = [job_id for lane in reversed(Lane) for job_id in await relay.publish(relay.refs(4, lane))]

    found = [await until(lambda: consumer_.fetch(1, wait_s=0.5)) for _ in sent]

    assert sorted(message.job_id for (message,) in found) == sorted(sent)
    assert await consumer_.fetch(1, wait_s=0.2) == []


async def test_a_fetch_brings_no_more_than_there_is_room_for(relay: Bus) -> None:
    consumer_ = await relay.join()
    job_ids = await relay.publish(relay.refs(50))

    first = await until(lambda: consumer_.fetch(3, wait_s=0.5))
    rest = await fetch(consumer_, 50 - len(first))

    assert 1 <= len(first) <= 3
    assert sorted(message.job_id for message in [*first, *rest]) == job_ids


async def test_what_is_done_is_not_seen_again_and_what_is_not_is(relay: Bus) -> None:
    first = await relay.join()
    await relay.send(*(b'{"v":1,"id":%d}' % job_id for job_id in (1, 2, 3)))
    messages: list[Message] = []
    while len(messages) < 3:
        messages += await first.fetch(3, wait_s=0.5)
    first.mark_done([messages[0], messages[2]])
    await first.close()

    second = await relay.join()

    assert [message.job_id for message in await fetch(second, 2)] == [2, 3]


async def test_members_share_the_messages_and_take_over_from_one_that_leaves(relay: Bus) -> None:
    first, second = await relay.join(), await relay.join()
    async with asyncio.timeout(30):
        while not all(each._member and 0 < len(each._member.assignment) < 96 for each in (first, second)):
            await asyncio.gather(*(each.fetch(1, wait_s=0.1) for each in (first, second)))

    job_ids = await relay.publish(relay.refs(200))
    found: list[set[int]] = [set(), set()]
    async with asyncio.timeout(30):
        while found[0] | found[1] < set(job_ids):
            for share, each in zip(found, (first, second), strict=True):
                messages = await each.fetch(50, wait_s=0.05)
                each.mark_done(messages)
                share |= {message.job_id for message in messages}
    await second.close()
    more = await relay.publish(relay.refs(200))

    assert all(found)
    assert set(more) <= {message.job_id for message in await fetch(first, 200)}


async def test_a_worker_without_room_holds_its_partitions_until_it_has_some(relay: Bus) -> None:
    consumer_ = await relay.join()
    assert await consumer_.fetch(1, wait_s=0.1) == []
    await until(lambda: consumer_._member and consumer_._member.is_held)
    job_ids = await relay.publish(relay.refs(3))

    assert sorted(message.job_id for message in await fetch(consumer_, 3, within_s=5)) == job_ids
