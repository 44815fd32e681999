"""Messages are read as if by a stranger, and offsets never pass what is not done."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from relay.bus import messages
from relay.bus.messages import BadMessage, Message
from relay.bus.offsets import Offsets
from relay.model.states import Lane

TP = TopicPartition("relay.jobs.normal.default", 3)
OTHER = TopicPartition("relay.jobs.low.default", 3)


def decode(value: bytes | None) -> Message | BadMessage:
    return messages.decode(value, lane=Lane.NORMAL, tp=TP, offset=7)


def test_each_lane_of_a_queue_has_its_topic() -> None:
    assert messages.topic(Lane.HIGH, "gpu") == "relay.jobs.high.gpu"


@pytest.mark.parametrize("job_id", [1, 42, 2**63 - 1])
def test_a_message_names_a_job(job_id: int) -> None:
    assert decode(messages.encode(job_id)) == Message(job_id, Lane.NORMAL, TP, 7)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "it is empty"),
        (b"", "it is empty"),
        (b"\xff\xfe", "it is not JSON"),
        (b"rm -rf /", "it is not JSON"),
        (b"[" * 256, "it is not JSON"),
        (b'{"v":1,"id":' + b"9" * 200 + b"}", "its id is no job's"),
        (b"42", "its version is unknown"),
        (b'{"id":42}', "its version is unknown"),
        (b'{"v":2,"id":42}', "its version is unknown"),
        (b'{"v":1}', "its id is no job's"),
        (b'{"v":1,"id":"42"}', "its id is no job's"),
        (b'{"v":1,"id":true}', "its id is no job's"),
        (b'{"v":1,"id":42.0}', "its id is no job's"),
        (b'{"v":1,"id":0}', "its id is no job's"),
        (b'{"v":1,"id":9223372036854775808}', "its id is no job's"),
        (b" " * 10_000_000, "it has 10000000 bytes"),
    ],
)
def test_anything_else_is_a_bad_message(value: bytes | None, problem: str) -> None:
    assert decode(value) == BadMessage(TP, 7, problem, (value or b"")[:1024])


@given(st.binary())
def test_no_bytes_break_the_reader(value: bytes) -> None:
    assert isinstance(decode(value), Message | BadMessage)


def opened(*offsets: int) -> Offsets:
    made = Offsets()
    for offset in offsets:
        made.opened(TP, offset)
    return made


def test_the_offset_to_commit_is_the_first_that_is_not_done() -> None:
    offsets = opened(5, 6, 7)
    offsets.done(TP, 6)
    offsets.done(TP, 5)

    assert offsets.take() == {TP: 7}
    assert offsets.take() == {}


def test_when_all_are_done_the_next_offset_is_committed() -> None:
    offsets = opened(5, 9)
    offsets.done(TP, 9)
    offsets.done(TP, 5)

    assert offsets.take() == {TP: 10}


def test_a_failed_commit_is_tried_again() -> None:
    offsets = opened(5)
    offsets.done(TP, 5)
    offsets.put_back(offsets.take())

    assert offsets.take() == {TP: 6}


def test_what_was_revoked_is_not_committed() -> None:
    offsets = opened(5)
    offsets.done(TP, 5)
    offsets.opened(OTHER, 1)
    offsets.forget([TP])
    offsets.done(TP, 5)
    offsets.put_back([TP])

    assert offsets.take() == {}
    assert offsets.partitions() == {OTHER}


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50, unique=True).map(sorted), st.randoms())
def test_a_commit_never_passes_an_open_message(given_offsets: list[int], rng: object) -> None:
    offsets, still = opened(*given_offsets), set(given_offsets)
    order = list(given_offsets)
    rng.shuffle(order)  # type: ignore[attr-defined]
    for each in order:
        offsets.done(TP, each)
        still.discard(each)
        (committed,) = offsets.take().values()
        assert committed == min(still, default=given_offsets[-1] + 1)
