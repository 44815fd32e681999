"""`--watch`: look again and again until Ctrl-C. On a terminal each look replaces the one before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from relay.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_INTERVAL_S = 1.0
_HOME_AND_CLEAR = "\x1b[H\x1b[J"

watch_option = click.option("--watch", is_flag=True, help="Look again every second, until Ctrl-C.")


async def watched(look: Callable[[], Awaitable[None]], *, forever: bool) -> None:
    """Run `look` once, or for ever; what it writes to stdout then appears at once, not line by line."""
    import asyncio  # noqa: PLC0415 - slow to import, and not needed for help

    if not forever:
        await look()
        return
    while True:
        if terminal.is_fancy(sys.stdout):
            sys.stdout.write(_HOME_AND_CLEAR)
        await look()
        sys.stdout.flush()
        await asyncio.sleep(_INTERVAL_S)
