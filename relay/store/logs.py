"""Read a job's output, in pieces of bounded size.

`attempts.output_day` names the one partition that holds an attempt's output; without it every day's partition would be asked.
The size of a piece is known from the rows' headers, so nothing is read that isn't sent. Output ends where retention
has dropped its day: then there are no records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.model.records import OutputRecord
from relay.store import queries, rows

if TYPE_CHECKING:
    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Tail:
    """Where an output's last bytes begin: in the record after `after_seq`, past its first `skip_bytes`."""

    after_seq: int
    skip_bytes: int


async def read_output(
    conn: Connection,
    job_id: int,
    attempt: int,
    *,
    after_seq: int = 0,
    stream: int | None = None,
    limit_bytes: int = 1 << 20,
) -> list[OutputRecord]:
    """Read the records after `after_seq` in order of arrival, up to `limit_bytes` of data but at least one record.

    `stream` is 1 (stdout), 2 (stderr) or None (both). An empty list: there is nothing more yet, or no such attempt.
    """
    found = await conn.fetch(queries.text("read_output"), rows.row_id(job_id), attempt, after_seq, stream, limit_bytes)
    return [OutputRecord(attempt, row["seq"], row["ts"], row["stream"], row["data"]) for row in found]


async def output_tail(
    conn: Connection, job_id: int, attempt: int, *, stream: int | None = None, tail_bytes: int
) -> Tail:
    """Find where the last `tail_bytes` of an attempt's output (or of one of its streams) begin; read on with `read_output`."""
    row = await conn.fetchrow(queries.text("output_tail"), rows.row_id(job_id), attempt, stream, tail_bytes)
    return Tail(0, 0) if row is None else Tail(row["after_seq"], row["skip_bytes"])
