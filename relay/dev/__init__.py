"""`relay dev`: a whole Relay on one machine, from one package.

It starts real servers and real processes, watches over them, and ends them all. What it does is in `session`; this is the door.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from relay.config.local import DevState
    from relay.dev.job import Writer

DEFAULT_PORT = 4000


def run(*, workers: int, data: Path | None, command: Sequence[str], verbose: bool, writer: Writer) -> int:
    """Serve until a signal comes, or run a command as a job; the exit code.

    `data` None: the user's own folder, or with a command a temporary one. Raises BadConfig (also without the extra `dev`),
    Conflict when another `relay dev` runs on the folder, Unavailable when something does not start.
    """
    from relay import config  # noqa: PLC0415 - `relay --help` imports none of this
    from relay.dev import folder, ports, session, wheels  # noqa: PLC0415 - likewise

    settings = config.load(os.environ, role="dev")
    wheels.require()
    is_temporary = bool(command) and data is None
    is_port_given = settings.origins["RELAY_PORT"] != "default"
    with folder.temporary() if is_temporary else folder.opened(data or folder.default(os.environ)) as owned:
        plan = session.Plan(
            folder=owned,
            workers=workers,
            port=settings.port if is_port_given else ports.free_port(0 if command else DEFAULT_PORT),
            queue=settings.queues[0],
            command=command,
            is_durable=not is_temporary,
            environ=os.environ,
            writer=writer,
            say=_say if verbose or not command else _say_nothing,
            complain=_say,
            announce=lambda state: _announce(state, owned),
        )
        return asyncio.run(session.run(plan))


def _say(line: str) -> None:
    """One line of talk on stderr; nobody need be there to read it."""
    try:
        sys.stderr.write(f"relay dev: {line}\n")
        sys.stderr.flush()
    except OSError:
        return


def _say_nothing(line: str) -> None:
    del line


def _announce(state: DevState, folder: Path) -> None:
    sys.stdout.write(
        f"""READY  {state.api}  (pid {state.pid}; Ctrl-C stops everything)

A restart keeps jobs, their output and schedules: PostgreSQL has them in {folder}.
It forgets what Redis and the broker hold in memory; no job depends on that. Logs: {folder / "logs"}

Try, in another terminal:
  relay run -- echo hello
  relay list
  relay stats
"""
    )
    sys.stdout.flush()
