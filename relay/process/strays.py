"""Processes of jobs that nobody guards any more: their worker and its guard were both killed.

A job's processes descend from their worker, whatever they do, for it is a subreaper; when it dies, from its guard. So one that carries
a claim and is a child of init has outlived both, of whichever Relay: nobody enforces its deadline, and its attempt is lost. A guard
that starts kills those at once, long before its worker has found in PostgreSQL what became of them.

Synchronous and standard library only: the guard imports this under `python -I -S`.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from relay.process import tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.process.tree import Proc

PREFIX = "_RELAY_GUARD_"  # how the variables begin that a guard and its worker are started with

_MARK = b"\0" + PREFIX.encode()
_INIT = 1
_PAUSE_S = 0.01


def kill(*, within_s: float) -> int:
    """Kill them, until a scan finds none or the time is over. Returns how many it killed; blocks meanwhile, and never fails."""
    give_up, killed = time.monotonic() + within_s, 0
    with suppress(OSError):  # the machine is out of descriptors or memory: the guard must start all the same
        while found := find(tree.snapshot()):
            killed += tree.signal_each(found, signal.SIGKILL)
            if time.monotonic() > give_up:
                break
            time.sleep(_PAUSE_S)
    return killed


def find(procs: Mapping[int, Proc]) -> list[Proc]:
    """All living ones, with all that descends from them. What this process descends from is spared."""
    claimed = {pid for pid, proc in procs.items() if not tree.is_dead(proc) and _is_claim(tree.claim_of(pid))}
    tops = [procs[pid] for pid in claimed - _lineage(procs) if procs[pid].ppid not in claimed]
    strays = [top for top in tops if _adopts(top.ppid)]
    return [*strays, *(proc for stray in strays for proc in tree.descendants(stray.pid, procs=procs))]


def _is_claim(value: str | None) -> bool:
    """Whether this is a claim's id, a UUID: others may use the variable's name for something else."""
    return value is not None and [len(part) for part in value.split("-")] == [8, 4, 4, 4, 12]


def _adopts(pid: int) -> bool:
    """Whether orphans without a worker or guard end up here: it is init, or a user's systemd; in a container init may be a guard."""
    return (pid == _INIT or tree.name_of(pid) == "systemd") and _MARK not in tree.environ(pid)


def _lineage(procs: Mapping[int, Proc]) -> set[int]:
    """This process, and its ancestors: a Relay may have been started by another Relay's job."""
    found: set[int] = set()
    pid = os.getpid()
    while pid in procs and pid not in found:
        found.add(pid)
        pid = procs[pid].ppid
    return found
