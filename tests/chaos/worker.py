"""A worker with one of its safeguards removed: `python -m tests.chaos.worker --without fence|renewal|guard`.

Only so can be shown that the checker notices. It is `relay work` in all else: the parts are replaced in memory, in this process, by this
file alone; nothing in Relay knows of it.

- fence: a finish no longer asks whether its claim holds.
- renewal: the worker believes its heartbeats and renewals, and sends none.
- guard: its parent reads what a guard should hear, and does nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys

from relay import work
from relay.lease import Leases, Renewal
from relay.process import guard, link
from relay.store import queries
from relay.worker import heart, trust

FENCE = " AND result.claim_id = jobs.claim_id"
ATTEMPTS_FENCE = " AND attempts.claim_id = held.claim_id"


def remove_fence() -> None:
    """Let a finish win whoever holds the claim."""
    text = queries.text

    def without(stem: str) -> str:
        found = text(stem)
        if stem != "finish_attempts":
            return found
        assert FENCE in found, "the fence looks different: adapt this file"
        assert ATTEMPTS_FENCE in found, "the fence looks different: adapt this file"
        return found.replace(FENCE, "").replace(ATTEMPTS_FENCE, "")

    queries.text = without  # type: ignore[assignment]


def remove_renewal() -> None:
    """Let the worker think that all is well."""

    async def renew(_self: Leases, pairs: list[tuple[int, str]]) -> list[Renewal]:
        return [Renewal.EXTENDED] * len(pairs)

    async def beat_once(self: heart.Heart) -> None:
        self._witness(list(self._roster), trust.now_ns())

    Leases.renew = renew  # type: ignore[assignment,method-assign]
    heart.Heart._beat_once = beat_once  # type: ignore[method-assign]


def run_unguarded(argv: list[str]) -> int:
    """Run the worker, read its messages to the guard, and leave its jobs alone when it dies."""
    reader, writer = os.pipe()
    worker = subprocess.Popen(argv, pass_fds=[writer], env={**os.environ, guard.PIPE_VARIABLE: str(writer)})
    os.close(writer)
    while os.read(reader, 65536):
        pass
    return worker.wait()


def main() -> int:
    """Become the guard (or what stands in for it), or the worker behind it."""
    _, what, *inner = sys.argv[1:]
    if not inner:
        argv = [sys.executable, "-m", "tests.chaos.worker", "--without", what, "inner"]
        if what == "guard":
            return run_unguarded(argv)
        link.exec_guard(argv)
    if what == "fence":
        remove_fence()
    elif what == "renewal":
        remove_renewal()
    return work.main()


if __name__ == "__main__":
    sys.exit(main())
