"""Bad messages: what came over Kafka and names no job. Kept to be looked at, never obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Connection


class BadRow(NamedTuple):
    """Where Kafka keeps the message, what is wrong with it, and its first KiB."""

    topic: str
    partition: int
    offset: int
    problem: str
    head: bytes


async def record_bad_messages(conn: Connection, bad: Sequence[BadRow]) -> int:
    """Keep these messages; return how many were not kept before. Safe to repeat."""
    rows = await conn.fetch(
        queries.text("record_bad_messages"),
        [each.topic for each in bad],
        [each.partition for each in bad],
        [each.offset for each in bad],
        [each.problem for each in bad],
        [each.head for each in bad],
    )
    return len(rows)
