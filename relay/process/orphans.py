"""Children that nobody started: what escaped from a job by `setsid` and a double fork, and is ours as a subreaper.

The worker adopts every orphan of its jobs, so one read of its list of children tells whether anything is left: a child that
the watcher does not know. Whose it is, its cookie (`RELAY_CLAIM` in its environment) or its session says, looked at once,
when it is first seen: as long as we have not reaped it, its pid can't belong to another. One without either is killed once
no attempt that ran when it was first seen still runs. Dead ones are reaped here, every second while attempts run, so that a
job which forks daemons by the thousand does not fill the process table.
Not covered: what a job has others start (cron, systemd-run, a container engine).
"""

from __future__ import annotations

import asyncio
import os
import signal
import weakref
from typing import TYPE_CHECKING

from relay.process import subreaper, tree, watcher

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from relay.process.tree import Proc, Target
    from relay.process.watcher import Watcher

_LOOK_S = 1.0
_READS = 20


class Orphans:
    """The adopted children of this process, for all attempts that run in it. Use it from the event loop only."""

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher
        self._leaders: dict[str, int | None] = {}  # of running attempts: claim id → its main process
        self._suspects: dict[int, frozenset[str]] = {}  # orphan → the claims it may belong to
        self._strangers = set(tree.child_pids())  # children from before: somebody else's in this process
        self._seen: list[int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, claim_id: str) -> None:
        """Note that an attempt begins."""
        self._leaders[claim_id] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    def lead(self, claim_id: str, pid: int) -> None:
        """Note an attempt's main process."""
        self._leaders[claim_id] = pid

    def leave(self, claim_id: str) -> None:
        """Note that an attempt is over."""
        self._leaders.pop(claim_id, None)
        if not self._leaders and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def of(self, claim_id: str) -> list[int]:
        """Adopted children that are this attempt's, or nobody's any more, dead ones reaped. Cheap: no scan of /proc."""
        others = self._leaders.keys() - {claim_id}
        return [pid for pid in self._adopted() if others.isdisjoint(self._suspects[pid])]

    def left_by(self, target: Target) -> list[Proc]:
        """Give all living processes of this attempt, escaped ones too. Scans /proc only if there may be any."""
        adopted = self.of(target.claim_id)
        if not adopted and not self._may_lead(target):
            return []
        procs = tree.snapshot()
        found = {proc.pid: proc for proc in tree.find([target], procs=procs)}
        return list((found | {proc.pid: proc for proc in _trees(adopted, procs)}).values())

    def kill_left_by(self, target: Target) -> list[Proc]:
        """Kill what `left_by` would give, once. Returns what was found: empty means clean."""
        adopted = self.of(target.claim_id)
        if not adopted and not self._may_lead(target):
            return []
        procs = tree.snapshot()
        return tree.kill_round([target], also=_trees(adopted, procs), procs=procs)

    def _may_lead(self, target: Target) -> bool:
        leader = target.leader
        return leader is not None and (leader in self.watcher.pids or tree.group_exists(leader))

    def _adopted(self) -> list[int]:
        """Give the adopted children that live.

        One look serves all attempts whose tasks resume in the same turn of the loop: their main processes were reaped in an
        earlier turn, and what these left was ours by then.
        """
        if self._seen is None:
            self._seen = self._reap()
            if self._seen or self._suspects:
                self._suspects = {pid: self._suspects.get(pid) or self._suspect(pid) for pid in self._seen}
            asyncio.get_running_loop().call_soon(self._forget_look)
        return self._seen

    def _reap(self) -> list[int]:
        """Reap the adopted children that are dead, and give the others.

        Reads again after each reaping: one that died after the read has left its own children to us. Against a storm of dying
        daemons that has an end, and the last dead ones are given too: not clean yet.
        """
        adopted: list[int] = []
        for _ in range(_READS):
            known = self.watcher.pids.keys() | self._strangers if self._strangers else self.watcher.pids
            adopted = [pid for pid in tree.child_pids() if pid not in known]
            living = [pid for pid in adopted if not _is_reaped(pid)]
            if len(living) == len(adopted):
                break
        return adopted

    def _forget_look(self) -> None:
        self._seen = None

    def _suspect(self, pid: int) -> frozenset[str]:
        claim_id = tree.claim_of(pid)
        if claim_id is not None:
            return frozenset((claim_id,))
        try:
            session = os.getsid(pid)
        except ProcessLookupError:
            session = 0
        named = [claim for claim, leader in self._leaders.items() if leader == session]
        return frozenset(named or self._leaders)

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)
        strays = [pid for pid in self._adopted() if self._leaders.keys().isdisjoint(self._suspects[pid])]
        if strays:
            tree.signal_each(_trees(strays, tree.snapshot()), signal.SIGKILL)


_known: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Orphans] = weakref.WeakKeyDictionary()


def current() -> Orphans:
    """The running loop's: the first call makes this process a subreaper and installs the child watcher."""
    loop = asyncio.get_running_loop()
    orphans = _known.get(loop)
    if orphans is None:
        subreaper.become_subreaper()
        orphans = _known[loop] = Orphans(watcher.install())
    return orphans


def _is_reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def _trees(roots: Collection[int], procs: Mapping[int, Proc]) -> list[Proc]:
    """Give the living processes among `roots` and below them."""
    found = [proc for pid in roots if (proc := procs.get(pid)) is not None and not tree.is_dead(proc)]
    for pid in roots:
        found += tree.descendants(pid, procs=procs)
    return found
