"""What a job writes comes back as it was written, however much it is, and what it leaves behind goes with it."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from relay.process import tree
from tests.e2e.reading import bytes_of, read, read_records
from tests.e2e.running import completed, took_s

if TYPE_CHECKING:
    from tests.stack import Cluster
    from tests.stack.processes import Worker

PIECES, PIECE_BYTES, HALF = 50, 1_000_000, 5 << 20
NOISE = f"""
import random, sys
drawn = random.Random(7)
for _ in range({PIECES}):
    sys.stdout.buffer.write(drawn.randbytes({PIECE_BYTES}))
"""
ALL_BYTES = bytes(range(256))


def peak_bytes(worker: Worker) -> int:
    """The most memory that the worker itself has had."""
    status = Path(f"/proc/{worker.worker_pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))


async def test_of_50_megabytes_the_first_and_last_5_mib_are_kept_in_little_memory(relay: Cluster) -> None:
    job = await completed(relay, sys.executable, "-c", NOISE)
    drawn = random.Random(7)
    written = b"".join(drawn.randbytes(PIECE_BYTES) for _ in range(PIECES))
    attempt = job["attempts"][0]
    assert (attempt["stdout_bytes"], attempt["stderr_bytes"]) == (len(written), 0)
    assert attempt["dropped_bytes"] == len(written) - 2 * HALF
    kept = await read(relay, job["id"])
    assert len(kept) == 2 * HALF
    assert kept[:HALF] == written[:HALF]
    assert kept[HALF:] == written[-HALF:]
    assert peak_bytes(relay.workers[0]) < 120_000_000


async def test_a_limit_of_the_spec_applies_to_each_stream(relay: Cluster) -> None:
    script = "seq 100000 199999; seq 200000 299999 >&2"
    job = await completed(relay, "sh", "-c", script, limits={"output": "10K"})
    attempt = job["attempts"][0]
    assert (attempt["stdout_bytes"], attempt["stderr_bytes"]) == (700_000, 700_000)
    assert attempt["dropped_bytes"] == 2 * (700_000 - 10_240)
    for stream, first, last in (("stdout", b"100000\n", b"199999\n"), ("stderr", b"200000\n", b"299999\n")):
        kept = await read(relay, job["id"], f"stream={stream}")
        assert (len(kept), kept[:7], kept[-7:]) == (10_240, first, last)


async def test_all_byte_values_come_back_on_both_streams_in_both_forms(relay: Cluster) -> None:
    script = "import os; os.write(1, bytes(range(256))); os.write(2, bytes(range(255, -1, -1)))"
    job = await completed(relay, sys.executable, "-c", script)
    records = await read_records(relay, job["id"])
    for stream, expected in (("stdout", ALL_BYTES), ("stderr", ALL_BYTES[::-1])):
        assert await read(relay, job["id"], f"stream={stream}") == expected
        assert b"".join(bytes_of(record) for record in records if record["stream"] == stream) == expected


async def test_text_comes_back_as_text(relay: Cluster) -> None:
    job = await completed(relay, "printf", "%s", "grüße \x1b[31m\r\n")
    (record,) = await read_records(relay, job["id"])
    assert (record["seq"], record["stream"], record["text"]) == (1, "stdout", "grüße \x1b[31m\r\n")


async def test_a_daemon_that_holds_the_pipes_ends_with_its_job(relay: Cluster) -> None:
    job = await completed(relay, "sh", "-c", "sleep 30 & echo $RELAY_CLAIM; echo hi")
    claim_id, said = (await read(relay, job["id"])).decode().split()
    attempt = job["attempts"][0]
    assert (said, attempt["outcome"], attempt["leftover_processes"]) == ("hi", "succeeded", 1)
    assert tree.find([tree.Target(claim_id)]) == []
    assert took_s(attempt) < 2


async def test_a_job_that_writes_nothing_has_empty_output(relay: Cluster) -> None:
    job = await completed(relay, "true")
    assert await read(relay, job["id"]) == b""
    assert await read_records(relay, job["id"]) == []
