"""What goes in and comes out of a real child: stdin, streams that wait or break, every byte, and outputs of any size."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from relay.model.results import Ending
from tests.integration.running import Run, nothing_is_left, run, sh, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["nothing_is_left"]

PYTHON = sys.executable


async def test_stdin_is_empty_by_default() -> None:
    assert (await run("cat"))[1] == b""


async def test_stdin_can_be_a_text_of_any_size() -> None:
    text = "grüße\n" * 100_000
    assert (await run("cat", stdin=text))[1] == text.encode()


async def test_a_job_need_not_read_its_stdin() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 65536

    result, out = await run("head", "-c", "3", stdin=endless())
    assert (result.exit_code, out) == (0, b"xxx")
    assert (await run("true", stdin=endless()))[0].exit_code == 0


async def test_a_stream_is_fed_only_as_fast_as_it_is_read(tmp_path: Path) -> None:
    fed = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal fed
        for _ in range(100):
            fed += 1
            yield bytes(65536)

    one = sh(f"until [ -e {tmp_path}/go ]; do sleep 0.01; done; wc -c", stdin=chunks())
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.end())
        await until(lambda: fed >= 2)
        assert fed <= 3
        (tmp_path / "go").touch()
    assert int(one.read()) == 100 * 65536


async def test_a_stream_that_breaks_hands_the_job_back() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise OSError("the database is gone")

    result, _ = await run("sh", "-c", "cat; exec sleep 300", stdin=broken(), kill_grace_s=0.1)
    assert result.ending == Ending.RELEASED
    assert "the database is gone" in (result.error or "")


async def test_closing_its_output_does_not_end_a_job() -> None:
    began = time.monotonic()
    result = await sh("exec >&- 2>&-; sleep 0.3; exit 7").end()
    assert time.monotonic() - began >= 0.3
    assert result.exit_code == 7


async def test_all_256_bytes_survive() -> None:
    one = Run(PYTHON, "-S", "-c", "import os; os.write(1, bytes(range(256)) * 1000); os.write(2, bytes(range(256)))")
    result = await one.end()
    assert (result.stdout_bytes, result.stderr_bytes) == (256_000, 256)
    chunks = one.output.take(1 << 20)
    assert b"".join(chunk.data for chunk in chunks if chunk.stream == 1) == bytes(range(256)) * 1000
    assert b"".join(chunk.data for chunk in chunks if chunk.stream == 2) == bytes(range(256))
    assert [chunk.seq for chunk in chunks] == list(range(1, len(chunks) + 1))


async def test_a_hundred_megabytes_without_a_newline_keep_head_and_tail() -> None:
    script = "head -c 1000 /dev/zero | tr '\\0' a; head -c 104857600 /dev/zero; head -c 1000 /dev/zero | tr '\\0' z"
    one = sh(script, output_bytes=1 << 20)
    result = await one.end()
    assert result.stdout_bytes == 104857600 + 2000
    assert result.dropped_bytes == 104857600 + 2000 - (1 << 20)
    kept = one.read()
    assert len(kept) == 1 << 20
    assert kept[:1001] == b"a" * 1000 + b"\0"
    assert kept[-1001:] == b"\0" + b"z" * 1000


async def test_output_can_be_taken_while_the_job_runs() -> None:
    one = sh("echo first; exec sleep 300", kill_grace_s=0.1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.end())
        await until(lambda: one.output.pending_bytes)
        assert one.read() == b"first\n"
        one.execution.stop(Ending.CANCELLED)
