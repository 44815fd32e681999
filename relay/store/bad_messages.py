"""Messages that name no job: kept to be looked at, never obeyed.

Anybody who may write to Kafka can send rubbish; it is counted, its head is kept here, and its offset is committed, so that it
stops nothing. The same message again (its offset was not committed) changes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.store.connection import Connection


async def keep_bad_messages(conn: Connection, messages: Sequence[tuple[str, int, int, str, bytes]]) -> None:
    """Keep bad messages: topic, partition, offset, what is wrong, and the first KiB."""
    topics, partitions, offsets, problems, heads = (list(column) for column in zip(*messages, strict=True))
    await conn.execute(queries.text("keep_bad_messages"), topics, partitions, offsets, problems, heads)
