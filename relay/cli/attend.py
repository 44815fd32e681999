"""Stay with a job until it ends: hand its output on, and turn Ctrl-C into a question.

The first Ctrl-C asks whether to cancel the job or to leave it running; a second one, or the first where nobody can be asked,
cancels; one after that stops waiting for the end. Output rests while the question stands. When the reader of the output
goes away (`relay run -- yes | head`) the job is cancelled, as SIGPIPE would have ended a program run directly.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from enum import Enum, auto
from typing import TYPE_CHECKING

from relay.cli import output, terminal
from relay.errors import Conflict

if TYPE_CHECKING:
    from relay.client import Client
    from relay.client.types import Job

_QUESTION = "\nCancel job {id}, or detach and let it run? [c]ancel, [d]etach, anything else goes on: "


async def follow(client: Client, job_id: int, *, may_write: asyncio.Event | None = None) -> Job:
    """Write the job's output until it has ended; the job as it is then."""
    writer = output.Writer()
    coming = client.follow(job_id, after=(0, 0))
    await output.copy(coming, writer, may_write=None if may_write is None else may_write.wait)
    writer.close()
    return await client.wait_until_terminal(job_id)


class Choice(Enum):
    """What a Ctrl-C was to mean."""

    CANCEL = auto()
    DETACH = auto()
    GO_ON = auto()


class Attendance:
    """One job being followed by somebody who may press Ctrl-C."""

    def __init__(self, client: Client, job_id: int) -> None:
        self._client = client
        self._job_id = job_id
        self._interrupted = asyncio.Event()
        self._may_write = asyncio.Event()
        self._may_write.set()

    async def run(self) -> Job | None:
        """The job once it has ended; None if the user left it, running or about to be cancelled."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        for each in signals:
            loop.add_signal_handler(each, self._interrupted.set)
        try:
            return await self._until_the_end()
        except* BrokenPipeError:
            await self._cancel()
            raise
        finally:
            for each in signals:
                loop.remove_signal_handler(each)

    async def _until_the_end(self) -> Job | None:
        has_cancelled = False
        async with asyncio.TaskGroup() as group:
            following = group.create_task(follow(self._client, self._job_id, may_write=self._may_write))
            while not await self._ends_before_interrupt(following):
                choice = Choice.DETACH if has_cancelled else await self._choose()
                if choice is Choice.DETACH:
                    following.cancel()
                    return None
                if choice is Choice.CANCEL:
                    has_cancelled = True
                    await self._cancel()
        return following.result()

    async def _ends_before_interrupt(self, following: asyncio.Task[Job]) -> bool:
        """Wait for either; whether it was the job's end."""
        async with asyncio.TaskGroup() as group:
            interrupt = group.create_task(self._interrupted.wait())
            await asyncio.wait((following, interrupt), return_when=asyncio.FIRST_COMPLETED)
            interrupt.cancel()
        self._interrupted.clear()
        return following.done()

    async def _choose(self) -> Choice:
        """Ask what the Ctrl-C was to mean; where nobody can be asked it means to cancel."""
        if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stderr)):
            return Choice.CANCEL
        self._may_write.clear()
        answer = await self._ask()
        self._may_write.set()
        if answer.startswith("d"):
            terminal.say(f"job {self._job_id} goes on: 'relay logs -f {self._job_id}' shows it")
            return Choice.DETACH
        return Choice.CANCEL if answer.startswith("c") else Choice.GO_ON

    async def _ask(self) -> str:
        """A line that the user types; another Ctrl-C means cancel."""
        loop = asyncio.get_running_loop()
        typed = asyncio.Event()
        sys.stderr.write(_QUESTION.format(id=self._job_id))
        sys.stderr.flush()
        loop.add_reader(sys.stdin, typed.set)
        try:
            async with asyncio.TaskGroup() as group:
                waits = [group.create_task(event.wait()) for event in (typed, self._interrupted)]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                for wait in waits:
                    wait.cancel()
        finally:
            loop.remove_reader(sys.stdin)
        if not typed.is_set():
            sys.stderr.write("\n")
        self._interrupted.clear()
        return sys.stdin.readline().strip().lower() if typed.is_set() else "cancel"

    async def _cancel(self) -> None:
        if terminal.is_terminal(sys.stderr):
            terminal.say(f"cancelling job {self._job_id}")
        try:
            await self._client.cancel(self._job_id)
        except Conflict:
            return  # it has just ended by itself: then that is its end
