"""The role `relay work`: the guard in front, the worker behind it.

`start` replaces this process by the guard, which runs the worker (`python -m relay.work`) as its child and outlives it just
long enough to leave none of its jobs running. The worker makes itself undumpable, so that jobs of the same user can't read
its secrets through /proc, and a subreaper, so that daemons which jobs leave behind become its children and are found.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from relay import config, errors, failpoints, log
from relay.process import link
from relay.worker import run

if TYPE_CHECKING:
    from collections.abc import Mapping

_PR_SET_DUMPABLE = 4
_log = log.get(__name__)


def start(environ: Mapping[str, str]) -> NoReturn:
    """Become the guard of a worker that loads its settings from `environ` (the caller has checked them)."""
    link.exec_guard([sys.executable, "-m", "relay.work"], environ)


def main() -> int:
    """Run the worker as the guard's child; return its exit code."""
    try:
        settings = config.load(os.environ, role="work")
        log.configure(json=settings.env == "production")
        failpoints.arm(settings.failpoints)
        _hide_memory()
        return asyncio.run(_run(settings))
    except errors.RelayError as error:
        sys.stderr.write(f"relay work: {error.detail}\n")
        return error.exit_code


async def _run(settings: config.Settings) -> int:
    # What the imports made lives as long as the process: frozen, it costs no collection a look.
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)  # an attempt leaves no cycles behind
    return await run.run(settings, link.GuardLink.from_environ())


def _hide_memory() -> None:
    """Let no process of this user but root's read this one's memory and environment."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("worker.dumpable", error=os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main())
