"""The account of what a job prints: nothing lost below the cap, head and tail above it, whatever the taker and the disk do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.process import output as outputs
from relay.process import spool
from relay.process.output import Chunk, Output

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "/tmp"


def make(limit_bytes: int, folder: str = FOLDER) -> Output:
    return Output(limit_bytes, folder, clock=lambda: 1.0)


def take_all(output: Output, max_bytes: int = 1 << 20) -> list[Chunk]:
    chunks: list[Chunk] = []
    while taken := output.take(max_bytes):
        chunks += taken
    return chunks


def text(chunks: list[Chunk], stream: int) -> bytes:
    return b"".join(chunk.data for chunk in chunks if chunk.stream == stream)


def head_and_tail(data: bytes, limit: int) -> bytes:
    tail = limit // 2
    return data if len(data) <= limit else data[: limit - tail] + data[len(data) - tail :]


@settings(max_examples=300, deadline=None)
@given(
    limit=st.sampled_from([0, 1, 2, 7, 100, 1000, 70_000, 200_000, 400_000]),
    steps=st.lists(
        st.tuples(st.sampled_from([1, 2]), st.integers(0, 70_000) | st.integers(0, 300), st.booleans()), max_size=40
    ),
    take_bytes=st.sampled_from([1, 1000, 65_536, 1 << 20]),
    memory=st.sampled_from([0, 1000, 128 << 10]),
)
def test_what_is_kept_is_head_and_tail_in_order_however_it_is_taken(
    limit: int, steps: list[tuple[int, int, bool]], take_bytes: int, memory: int
) -> None:
    printed = {1: b"", 2: b""}
    chunks: list[Chunk] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outputs, "_MEMORY_BYTES", memory)
        output = make(limit)
        for number, (stream, size, does_take) in enumerate(steps):
            data = (f"<{number}>".encode() * size)[:size]
            output.add(stream, data)
            printed[stream] += data
            if does_take:
                chunks += output.take(take_bytes)
        output.finish()
        pending, before = output.pending_bytes, sum(len(chunk.data) for chunk in chunks)
        chunks += take_all(output, take_bytes)
    expected = {stream: head_and_tail(data, limit) for stream, data in printed.items()}
    assert {1: text(chunks, 1), 2: text(chunks, 2)} == expected
    assert [chunk.seq for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert (output.stdout_bytes, output.stderr_bytes) == (len(printed[1]), len(printed[2]))
    assert output.dropped_bytes == sum(len(printed[stream]) - len(expected[stream]) for stream in (1, 2))
    assert before + pending == sum(len(data) for data in expected.values())
    assert output.pending_bytes == 0
    output.close()


def test_a_take_is_no_larger_than_asked_for() -> None:
    output = make(1 << 20)
    for number in range(20):
        output.add(1 + number % 2, b"x" * 1000)
    assert sum(len(chunk.data) for chunk in output.take(3500)) == 3000
    assert len(output.take(1)) == 1  # but never nothing


def test_streams_are_told_apart_and_stay_in_order_of_arrival() -> None:
    output = make(1000)
    for stream, data in [(1, b"a"), (2, b"b"), (2, b"c"), (1, b"d")]:
        output.add(stream, data)
    assert [(chunk.seq, chunk.stream, chunk.data) for chunk in output.take(100)] == [
        (1, 1, b"a"),
        (2, 2, b"bc"),
        (3, 1, b"d"),
    ]


def test_pieces_far_apart_in_time_are_not_joined() -> None:
    now = [0.0]
    output = Output(1000, FOLDER, clock=lambda: now[0])
    output.add(1, b"a")
    now[0] = 5.0
    output.add(1, b"b")
    first, second = output.take(100)
    assert (second.ts - first.ts).total_seconds() == 5.0


def test_it_calls_when_there_is_something_to_take_again() -> None:
    calls: list[int] = []
    output = Output(10, FOLDER, on_data=lambda: calls.append(1))
    output.add(1, b"abc")
    output.add(1, b"abc")
    assert len(calls) == 1
    output.take(100)
    output.add(1, b"xyz")  # from the sixth byte on it is the tail, which waits for the end
    assert len(calls) == 1
    output.finish()
    assert len(calls) == 2
    assert text(output.take(100), 1) == b"cxyz"


def test_tails_come_in_order_of_time() -> None:
    now = [0.0]
    output = Output(2, FOLDER, clock=lambda: now[0])
    for moment, stream in [(1.0, 1), (2.0, 2), (3.0, 1), (4.0, 2)]:
        now[0] = moment
        output.add(stream, b"x")
    output.finish()
    assert [(chunk.stream, chunk.ts.timestamp()) for chunk in take_all(output)] == [
        (1, 1.0),
        (2, 2.0),
        (1, 3.0),
        (2, 4.0),
    ]


def test_a_full_disk_costs_output_but_no_exception(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(outputs, "_MEMORY_BYTES", 1000)
    is_full = False

    def write(self: spool.Spool, offset: int, data: bytes) -> bool:
        return not is_full and real_write(self, offset, data)

    real_write = spool.Spool.write
    monkeypatch.setattr(spool.Spool, "write", write)
    output = Output(400_000, str(tmp_path), clock=lambda: 1.0)
    output.add(1, b"a" * 100_000)
    is_full = True
    output.add(1, b"b" * 300_000)
    is_full = False
    output.add(1, b"c" * 150_000)
    output.finish()
    kept = text(take_all(output), 1)
    assert kept == b"a" * 100_000 + b"c" * 150_000
    assert output.dropped_bytes == 300_000
    assert output.is_truncated


def test_no_folder_at_all_is_a_full_disk() -> None:
    output = make(1 << 20, folder="/no/such/folder")
    for _ in range(64):
        output.add(1, b"x" * 65536)
    output.finish()
    kept = text(take_all(output), 1)
    assert output.dropped_bytes == 64 * 65536 - len(kept)
    assert len(kept) >= 64 << 10


def test_a_disk_that_cannot_be_read_counts_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_MEMORY_BYTES", 1000)
    output = make(400_000)
    output.add(1, b"x" * 100_000)
    output.add(1, b"x" * 300_000)
    monkeypatch.setattr(spool.Spool, "read", lambda *_: b"")
    output.finish()
    kept = text(take_all(output), 1)
    assert output.dropped_bytes == 400_000 - len(kept)
    assert output.pending_bytes == 0


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    output = Output(1 << 20, str(tmp_path))
    for _ in range(64):
        output.add(1, b"x" * 65536)
    assert list(tmp_path.iterdir()) == []
    output.close()
    assert output.take(100) == []


def test_memory_stays_small_when_nobody_takes() -> None:
    output = make(64 << 20)
    for number in range(2000):
        output.add(1 + number % 2, b"x" * 65536 if number % 3 else b"y")
    held = sum(len(piece.data) + 200 for piece in output._waiting)
    held += sum(len(stream.tail._buffer) for stream in output._streams.values() if stream.tail)
    assert held < 256 << 10
    output.close()


def test_tiny_pieces_from_both_streams_are_bounded_too() -> None:
    output = make(10 << 20)
    for number in range(20_000):
        output.add(1 + number % 2, b"x")
    assert len(output._waiting) < 1000
    output.finish()
    assert sum(len(chunk.data) for chunk in take_all(output)) == 20_000
    output.close()
