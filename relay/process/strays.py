"""Processes of jobs that nobody guards any more: their worker and its guard were both killed.

A job's processes descend from their worker, whatever they do, for it is a subreaper; when it dies, from its guard. So one that carries
a claim and has neither a worker nor a guard above it, of whichever Relay, has outlived both: nobody enforces its deadline, and its
attempt is lost. A guard that starts kills those at once, long before its worker has found in PostgreSQL what became of them.

Synchronous and standard library only: the guard imports this under `python -I -S`.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from relay.process import tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from relay.process.tree import Proc

PREFIX = "_RELAY_GUARD_"  # how the variables begin that a guard and its worker are started with

_MARK = b"\0" + PREFIX.encode()
_INIT = 1
_PAUSE_S = 0.01


def kill(*, within_s: float) -> int:
    """Kill them, until a scan finds none or the time is over. Returns how many it killed; blocks meanwhile."""
    give_up, killed = time.monotonic() + within_s, 0
    while found := find(tree.snapshot()):
        killed += tree.signal_each(found, signal.SIGKILL)
        if time.monotonic() > give_up:
            break
        time.sleep(_PAUSE_S)
    return killed


def find(procs: Mapping[int, Proc]) -> list[Proc]:
    """All living ones, with all that descends from them. What this process descends from is spared."""
    claimed = {pid for pid, proc in procs.items() if not tree.is_dead(proc) and _is_claim(tree.claim_of(pid))}
    roots = {pid for pid in claimed if procs[pid].ppid not in claimed} - {os.getpid(), *_ancestors(os.getpid(), procs)}
    strays = [procs[pid] for pid in roots if _is_stray(pid, procs)]
    return [*strays, *(proc for stray in strays for proc in tree.descendants(stray.pid, procs=procs))]


def _is_claim(value: str | None) -> bool:
    """Whether this is a claim's id, a UUID: others may use the variable's name for something else."""
    return value is not None and [len(part) for part in value.split("-")] == [8, 4, 4, 4, 12]


def _is_stray(pid: int, procs: Mapping[int, Proc]) -> bool:
    """Whether no worker or guard is above a process, as far up as init. In doubt (one is gone, or another user's): no."""
    for above in _ancestors(pid, procs):
        environ = tree.environ(above)
        if _MARK in environ:
            return False
        if above == _INIT:
            return True
        if not environ:
            return False
    return False


def _ancestors(pid: int, procs: Mapping[int, Proc]) -> Iterator[int]:
    """Its parent, that one's parent and so on, as far as they are known: in a pid namespace init may not be among them."""
    seen = {pid}
    while pid in procs and procs[pid].ppid not in seen:
        pid = procs[pid].ppid
        seen.add(pid)
        yield pid
