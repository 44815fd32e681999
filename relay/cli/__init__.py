"""The `relay` command: parse, call the client, render, exit code.

A command's module is imported when the command is used, and the heavy libraries (aiohttp, pydantic, rich, asyncpg) inside
what needs them: `relay --help` must answer at once. stdout is the answer; talk, progress and errors go to stderr.
"""

from __future__ import annotations

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and end it."""
    import sys  # noqa: PLC0415 - kept out of the package's import

    from relay.cli.entry import run  # noqa: PLC0415 - likewise: `relay.cli` is imported by all that lies in it

    sys.exit(run(sys.argv[1:]))
