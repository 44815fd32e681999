"""The command line on a terminal: Ctrl-C asks, and a job's output can't command the terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stack.cluster import Cluster


@contextlib.asynccontextmanager
async def on_terminal(relay: Cluster, *arguments: str) -> AsyncIterator[Terminal]:
    """A command on a terminal of its own."""
    ours, theirs = pty.openpty()
    named = {**relay.environ, "RELAY_API": relay.api, "RELAY_TOKEN": relay.token, "TERM": "xterm"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "relay",
        *arguments,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=named,
        start_new_session=True,
    )
    os.close(theirs)
    terminal = Terminal(ours, process)
    loop = asyncio.get_running_loop()
    loop.add_reader(ours, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(ours)
        os.close(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()


class Terminal:
    """What a person sees and does."""

    def __init__(self, fd: int, process: asyncio.subprocess.Process) -> None:
        self._fd = fd
        self.process = process
        self.screen = b""

    def read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # the other side has ended
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._fd)
        self.screen += data

    async def shows(self, text: bytes) -> None:
        await until(lambda: text in self.screen, what=f"{text!r} on the screen")

    def types(self, text: bytes) -> None:
        os.write(self._fd, text)


async def newest_job(relay: Cluster) -> int:
    return int((await relay.request("GET", "/v1/jobs"))[1]["items"][0]["id"])


async def test_interrupting_run_on_a_terminal_asks_and_detaching_leaves_the_job(relay: Cluster) -> None:
    async with on_terminal(relay, "run", "--", "sh", "-c", "echo up; sleep 60") as terminal:
        await terminal.shows(b"up")
        terminal.process.send_signal(signal.SIGINT)
        await terminal.shows(b"detach")
        terminal.types(b"d\n")
        assert await terminal.process.wait() == 130
        await terminal.shows(b"goes on")
    assert (await relay.job(await newest_job(relay)))["status"] == "RUNNING"


@pytest.mark.parametrize("twice", [True, False])
async def test_interrupting_run_twice_or_saying_so_cancels(relay: Cluster, twice: bool) -> None:
    async with on_terminal(relay, "run", "--", "sh", "-c", "echo up; sleep 60") as terminal:
        await terminal.shows(b"up")
        terminal.process.send_signal(signal.SIGINT)
        await terminal.shows(b"detach")
        if twice:
            terminal.process.send_signal(signal.SIGINT)
        else:
            terminal.types(b"c\n")
        assert await terminal.process.wait() == 130
    assert (await relay.job(await newest_job(relay)))["status"] == "CANCELLED"


async def test_a_terminal_is_not_sent_what_could_command_it(relay: Cluster) -> None:
    script = "printf '\\033]0;title\\007\\033[31mred\\n'"
    job_id = await relay.submit({"payload": {"script": script}})
    await relay.wait(job_id)
    async with on_terminal(relay, "logs", str(job_id)) as terminal:
        await terminal.process.wait()
        await terminal.shows(b"^[]0;title^G^[[31mred")
        assert b"\x1b" not in terminal.screen
    async with on_terminal(relay, "logs", "--raw", str(job_id)) as terminal:
        await terminal.process.wait()
        await terminal.shows(b"\x1b]0;title\x07")
