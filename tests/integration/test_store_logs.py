"""Output: read in order, in bounded pieces, from any place, from the end."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from relay.store import logs
from relay.store.logs import Tail
from tests.integration import seeding

if TYPE_CHECKING:
    from relay.store.connection import Connection

PIECES = [(1, b"one\n"), (2, b"two\n"), (1, bytes(range(256))), (1, b""), (2, b"four"), (1, b"five\n")]


@pytest.fixture
async def job_id(conn: Connection) -> int:
    """A job whose first attempt wrote PIECES, and whose second wrote 'again'."""
    job_id = await seeding.insert_one(conn)
    await seeding.run(conn, job_id, "FAILED")
    await write(conn, job_id, PIECES)
    await conn.execute("UPDATE jobs SET status = 'PENDING', reason = NULL")
    await seeding.start(conn, job_id)
    await write(conn, job_id, [(1, b"again")])
    return job_id


async def write(conn: Connection, job_id: int, pieces: list[tuple[int, bytes]]) -> None:
    """Write output of the last attempt."""
    await conn.executemany(
        """INSERT INTO output (day, job_id, attempt, seq, stream, ts, data)
           SELECT output_day, job_id, attempt, $2, $3, $4, $5 FROM attempts WHERE job_id = $1 ORDER BY attempt DESC LIMIT 1""",
        [(job_id, n, stream, datetime.now(UTC), data) for n, (stream, data) in enumerate(pieces, 1)],
    )


async def test_output_is_read_as_it_was_written(conn: Connection, job_id: int) -> None:
    records = await logs.read_output(conn, job_id, 1)

    assert [(record.stream, record.data) for record in records] == PIECES
    assert [record.seq for record in records] == [1, 2, 3, 4, 5, 6]
    assert {record.attempt for record in records} == {1}


async def test_each_attempt_has_its_own_output(conn: Connection, job_id: int) -> None:
    assert [record.data for record in await logs.read_output(conn, job_id, 2)] == [b"again"]
    assert await logs.read_output(conn, job_id, 3) == []


async def test_one_stream_can_be_read_alone(conn: Connection, job_id: int) -> None:
    assert [record.data for record in await logs.read_output(conn, job_id, 1, stream=2)] == [b"two\n", b"four"]


@pytest.mark.parametrize(
    ("after_seq", "limit_bytes", "expected"),
    [(0, 8, [1, 2]), (0, 11, [1, 2]), (0, 1, [1]), (2, 10, [3]), (3, 4, [4, 5]), (5, 10**12, [6]), (6, 10, [])],
)
async def test_a_piece_is_as_large_as_asked_but_never_empty(
    conn: Connection, job_id: int, after_seq: int, limit_bytes: int, expected: list[int]
) -> None:
    records = await logs.read_output(conn, job_id, 1, after_seq=after_seq, limit_bytes=limit_bytes)

    assert [record.seq for record in records] == expected


@pytest.mark.parametrize(
    ("stream", "tail_bytes", "expected"),
    [
        (None, 5, Tail(5, 0)),
        (None, 6, Tail(4, 3)),
        (None, 9 + 256, Tail(2, 0)),
        (None, 9 + 255, Tail(2, 1)),
        (None, 10**9, Tail(0, 0)),
        (2, 5, Tail(1, 3)),
    ],
)
async def test_a_tail_begins_at_its_exact_byte(
    conn: Connection, job_id: int, stream: int | None, tail_bytes: int, expected: Tail
) -> None:
    tail = await logs.output_tail(conn, job_id, 1, stream=stream, tail_bytes=tail_bytes)

    assert tail == expected


async def test_a_tail_read_on_is_the_end_of_the_output(conn: Connection, job_id: int) -> None:
    whole = b"".join(data for _, data in PIECES)

    for tail_bytes in range(len(whole) + 2):
        tail = await logs.output_tail(conn, job_id, 1, tail_bytes=tail_bytes)
        records = await logs.read_output(conn, job_id, 1, after_seq=tail.after_seq)
        read = b"".join(record.data for record in records)[tail.skip_bytes :]
        assert read == (whole[-tail_bytes:] if tail_bytes else b"")


async def test_the_tail_of_no_output_is_its_beginning(conn: Connection) -> None:
    assert await logs.output_tail(conn, 1, 1, tail_bytes=10) == Tail(0, 0)


async def test_only_the_partition_of_the_attempts_day_is_read(conn: Connection, job_id: int) -> None:
    await conn.execute("CREATE TABLE output_old PARTITION OF output FOR VALUES FROM ('2026-01-01') TO ('2026-01-02')")
    await conn.execute("UPDATE attempts SET output_day = '2026-01-01' WHERE attempt = 1")

    assert await logs.read_output(conn, job_id, 1) == []
    assert [record.data for record in await logs.read_output(conn, job_id, 2)] == [b"again"]
