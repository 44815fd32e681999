"""What travels over Kafka: "job 42 may be claimed", as `{"v":1,"id":42}`. Never a command, never ownership.

Anyone who can write to the topics can send anything, so a message is read as if by a stranger: whatever is not exactly a
version this code knows with an id that a job can have is a bad message. It is kept to be looked at, and skipped.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aiokafka import TopicPartition

    from relay.model.states import Lane

_MAX_BYTES = 256  # a good one has some 30; less nesting than any JSON reader can bear
_MAX_ID = 2**63 - 1
_HEAD_BYTES = 1024
_OWN = re.compile(rb'{"v":1,"id":([1-9][0-9]{0,17})}')  # as `encode` writes them: four times as fast as JSON


class Message(NamedTuple):
    """A job that may be claimed, and where Kafka keeps the message."""

    job_id: int
    lane: Lane
    tp: TopicPartition
    offset: int


class BadMessage(NamedTuple):
    """A message that names no job. `head` is its first KiB."""

    tp: TopicPartition
    offset: int
    problem: str
    head: bytes


def topic(lane: Lane, queue: str) -> str:
    """Name a lane's topic. The lane is always in it, so no queue's name can collide with another topic's."""
    return f"relay.jobs.{lane.label}.{queue}"


def encode(job_id: int) -> bytes:
    """Write a message."""
    return b'{"v":1,"id":%d}' % job_id


def decode(value: bytes | None, *, lane: Lane, tp: TopicPartition, offset: int) -> Message | BadMessage:
    """Read a message, whatever it is."""
    try:
        return Message(_job_id(value), lane, tp, offset)
    except ValueError as error:
        return BadMessage(tp, offset, str(error), (value or b"")[:_HEAD_BYTES])


def _job_id(value: bytes | None) -> int:
    """Return the id; raise ValueError saying what is wrong."""
    if not value:
        raise ValueError("it is empty")
    if own := _OWN.fullmatch(value):
        return int(own[1])
    if len(value) > _MAX_BYTES:
        raise ValueError(f"it has {len(value)} bytes")
    try:
        body = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(body, dict) or body.get("v") != 1:
        raise ValueError("its version is unknown")
    job_id = body.get("id")
    if type(job_id) is not int or not 0 < job_id <= _MAX_ID:
        raise ValueError("its id is no job's")
    return job_id
