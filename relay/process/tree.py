"""Find and kill every process of a claim, as /proc shows them.

A process belongs to a claim if it is in the leader's session or group, carries the claim's `RELAY_CLAIM` in its initial environment
(so a double-forked daemon in its own session is found too), or descends from one that does. Each signal goes through a pidfd whose
process still has the start time that the scan saw, so a reused pid is never hit; a scan is repeated until two in a row find nothing,
because /proc is no snapshot and processes fork while it is read.

Not promised: a program that left its session, outlived its parents *and* rewrote its environment is found by its cgroup only, and
so is one that forks and exits faster than a scan. A process that this user may not signal (a setuid program) stays. SIGKILL does not
end a process in uninterruptible sleep at once, but it runs no more of its own code.

Synchronous and standard library only: the guard imports this under `python -I -S`. See proc(5), pidfd_open(2), prctl(2).
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

COOKIE = "RELAY_CLAIM"

_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_MARK = b"\0" + COOKIE.encode() + b"="
_RESCAN_S = 0.01  # mostly enough for a killed process to leave; scans without a pause take the CPU that it needs for it


class Proc(NamedTuple):
    """One process as /proc/PID/stat showed it; `start` is in clock ticks since boot, `state` one letter."""

    pid: int
    start: int
    ppid: int
    pgid: int
    session: int
    state: str


class Start(NamedTuple):
    """When a process was forked, in clock ticks since boot: not before `first` and not after `last`."""

    first: int
    last: int


class Target(NamedTuple):
    """One claim to look for: what is known of its leader (the command's first process), and its own cgroup's folder."""

    claim_id: str
    leader: int | None = None
    leader_start: Start | None = None
    cgroup: str | None = None


def snapshot() -> dict[int, Proc]:
    """Read all processes, dead ones too (see `is_dead`). No snapshot in truth: they come and go while it is read."""
    pids = [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]
    return {proc.pid: proc for proc in map(_read_proc, pids) if proc is not None}


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot. None: there is no such process."""
    proc = _read_proc(pid)
    return None if proc is None else proc.start


def now_ticks() -> int:
    """Now, as start times count. Costs nothing, where reading a process's own from /proc waits for its exec to be over."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // _TICK_NS


def claim_of(pid: int) -> str | None:
    """The claim that the process was started with. None: it has none, is gone, is a zombie, or may not be read."""
    data = environ(pid)
    at = data.find(_MARK)
    if at < 0:
        return None
    at += len(_MARK)
    end = data.find(b"\0", at)
    return os.fsdecode(data[at : end if end >= 0 else None])


def environ(pid: int) -> bytes:
    """What the process was started with, each variable after a zero byte. Empty: it is gone, a zombie, or may not be read."""
    data = _read(f"/proc/{pid}/environ")
    return b"\0" + data if data else data


def name_of(pid: int) -> str:
    """What the process is called now, 15 bytes at most; empty if it is gone."""
    return os.fsdecode(_read(f"/proc/{pid}/comm").rstrip(b"\n"))


def child_pids() -> list[int]:
    """This process's children, zombies too. May miss some while others of them exit (proc(5)): a hint, not a proof."""
    pids: list[int] = []
    for task in os.scandir("/proc/self/task"):
        pids += map(int, _read(f"{task.path}/children").split())
    return pids


def group_exists(pgid: int) -> bool:
    """Whether the process group has any process; a zombie that nobody has reaped counts."""
    try:
        os.killpg(pgid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


def find(targets: Collection[Target], *, procs: Mapping[int, Proc] | None = None) -> list[Proc]:
    """All live processes of any of the claims, by one scan for all of them; never this process itself.

    A leader's pid that another process has by now counts for nothing. `procs` is a `snapshot` to look in; None takes a new one.
    """
    procs = snapshot() if procs is None else procs
    cookies = {target.claim_id for target in targets}
    leaders = {target.leader: target for target in targets if target.leader and not _is_reused(target, procs)}
    since = min((target.leader_start.first if target.leader_start else 0 for target in targets), default=0)
    young = (proc for proc in procs.values() if proc.start >= since and not is_dead(proc))
    roots = [proc.pid for proc in young if _follows(proc, leaders, procs) or claim_of(proc.pid) in cookies]
    return _alive_from(roots, procs)


def descendants(pid: int, *, procs: Mapping[int, Proc]) -> list[Proc]:
    """All live processes below this one, at any depth, itself not among them."""
    return _alive_from([proc.pid for proc in procs.values() if proc.ppid == pid], procs)


def is_dead(proc: Proc) -> bool:
    """Whether the process has ended and is at most a zombie."""
    return proc.state in "ZXx"


def signal_each(procs: Iterable[Proc], sig: int) -> int:
    """Signal exactly these processes, none that got one of their pids since. Returns how many got it."""
    return sum(_signal(proc, sig) for proc in procs)


def kill_round(
    targets: Collection[Target], *, also: Collection[Proc] = (), procs: Mapping[int, Proc] | None = None
) -> list[Proc]:
    """Look once and SIGKILL what there is of the claims, and `also` these. Returns all that; empty twice in a row: clean."""
    for target in targets:
        if target.cgroup is not None:
            kill_cgroup(target.cgroup)
    procs = snapshot() if procs is None else procs
    found = list({*find(targets, procs=procs), *also})
    _kill_groups(targets, {proc.pgid for proc in found}, procs)
    signal_each(found, signal.SIGKILL)
    return found


def kill_until_clean(targets: Collection[Target], *, deadline_s: float, apart_s: float = 0) -> int:
    """Kill the claims' processes until two scans, `apart_s` seconds apart, find none; reap those that became this process's children.

    The leaders are left to be reaped by others. Blocks for as long as it takes: run it in a thread where a loop must go on.
    Returns how many it killed. Raises TimeoutError if some are left after `deadline_s` seconds (each has a SIGKILL pending, unless it
    may not be signalled).
    """
    give_up = time.monotonic() + deadline_s
    killed: set[tuple[int, int]] = set()
    clean_scans = 0 if targets else 2
    while clean_scans < 2:
        found = kill_round(targets)
        killed.update((proc.pid, proc.start) for proc in found)
        clean_scans = 0 if found else clean_scans + 1
        if found and time.monotonic() > give_up:
            raise TimeoutError(
                f"{len(found)} processes outlived SIGKILL for {deadline_s} s, the first is pid {found[0].pid}"
            )
        if clean_scans < 2:
            time.sleep(_RESCAN_S if found else apart_s)
    reap({pid for pid, _ in killed} - {target.leader for target in targets})
    return len(killed)


def sweep(claim_ids: Collection[str], *, deadline_s: float = 60) -> int:
    """Kill all processes that carry any of these claims, until two scans a second apart find none (the design's fast rescue).

    Blocks for a second at least, unless there are no claims. Returns how many it killed. Raises TimeoutError like `kill_until_clean`.
    """
    return kill_until_clean([Target(claim_id) for claim_id in claim_ids], deadline_s=deadline_s, apart_s=1)


def kill_cgroup(folder: str) -> bool:
    """Kill all of a cgroup at once (Linux 5.14). False: it is gone, or it can't be done so."""
    try:
        with open(f"{folder}/cgroup.kill", "wb", buffering=0) as file:  # noqa: PTH123 - pathlib is a megabyte in the guard
            return file.write(b"1") == 1
    except OSError:
        return False


def reap(pids: Iterable[int]) -> None:
    """Take the exit status of those that are dead children of this process, and drop it."""
    for pid in pids:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _is_reused(target: Target, procs: Mapping[int, Proc]) -> bool:
    proc = procs.get(target.leader or 0)
    start = target.leader_start
    return proc is not None and start is not None and not start.first <= proc.start <= start.last


def _follows(proc: Proc, leaders: Mapping[int, Target], procs: Mapping[int, Proc]) -> bool:
    """Whether the process is in a leader's session or group.

    Once the leader has been reaped and its group was empty, its pid may have named another group and be free again; then a process
    that carries another claim is not one of this claim's.
    """
    target = leaders.get(proc.pgid) or leaders.get(proc.session)
    if target is None:
        return False
    return target.leader in procs or claim_of(proc.pid) in {target.claim_id, None}


def _alive_from(roots: Iterable[int], procs: Mapping[int, Proc]) -> list[Proc]:
    """These processes and their descendants, without the dead and without this process and what is below it."""
    children: dict[int, list[int]] = {}
    for proc in procs.values():
        children.setdefault(proc.ppid, []).append(proc.pid)
    seen = {os.getpid()}
    found: list[Proc] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in seen:
            seen.add(pid)
            found.append(procs[pid])
            waiting += children.get(pid, ())
    return [proc for proc in found if not is_dead(proc)]


def _kill_groups(targets: Iterable[Target], groups: Collection[int], procs: Mapping[int, Proc]) -> None:
    """Kill whole groups, each in one call that no fork outruns; none whose leader's pid has gone to another since the scan."""
    for target in targets:
        leader = target.leader
        if leader is None or leader not in groups or _is_reused(target, procs):
            continue
        if start_time(leader) in {None, procs[leader].start if leader in procs else None}:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(leader, signal.SIGKILL)


def _signal(proc: Proc, sig: int) -> bool:
    try:
        fd = os.pidfd_open(proc.pid)
    except ProcessLookupError:
        return False
    try:
        if start_time(proc.pid) == proc.start:
            signal.pidfd_send_signal(fd, sig)
            return True
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(fd)
    return False


def _read_proc(pid: int) -> Proc | None:
    data = _read(f"/proc/{pid}/stat")
    fields = data[data.rfind(b")") + 2 :].split(maxsplit=20)
    if len(fields) < 21:
        return None
    # A dead main thread shows as a zombie while the process's other threads run on: field 20 counts them.
    state = "S" if fields[0] == b"Z" and int(fields[17]) > 1 else fields[0].decode()
    return Proc(pid, int(fields[19]), int(fields[1]), int(fields[2]), int(fields[3]), state)


def _read(path: str) -> bytes:
    """A /proc file's bytes; empty when the process is gone or may not be read.

    Raises any other OSError: without a free descriptor everything would look gone, and every scan clean.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
    try:
        data = chunk = os.read(fd, 32768)
        while len(chunk) == 32768:
            chunk = os.read(fd, 32768)
            data += chunk
    except (ProcessLookupError, PermissionError):
        return b""
    finally:
        os.close(fd)
    return data
