"""A cgroup per attempt, where systemd delegated this service's cgroup to it (`Delegate=yes`, cgroup v2).

The kernel then kills all of an attempt at once, whatever its processes have done to hide, and holds memory and processes to
their limits exactly. That a cgroup is delegated is told by systemd's own mark on it (a worker that isn't root can read it from
systemd 251 on); being able to write there proves nothing, since root can write anywhere.
cgroup v2 wants processes in leaves only, so on the first use this service's own (guard and worker) move to a leaf. A job
enters its cgroup before it becomes the job's program, by a line of shell.
Anything unexpected means "no cgroup": processes are then found by group, descent and cookie, and limits are sampled.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from relay import log

if TYPE_CHECKING:
    from relay.model.payload import Limits

_log = log.get(__name__)
_MOUNT = Path("/sys/fs/cgroup")
_ENTER = 'echo 0 > "$0/cgroup.procs" && unset PWD OLDPWD SHLVL && exec "$@"'
_LEAF = "relay-service"


class Cgroup:
    """One job's cgroup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def wrapper(self) -> list[str]:
        """Give the words that put a command into it."""
        return ["/bin/sh", "-c", _ENTER, str(self.folder)]

    def broken_limit(self) -> str | None:
        """Name the limit that was broken: `memory`, `processes`; None so far."""
        if _count(self.folder / "memory.events", "oom_kill"):
            return "memory"
        return "processes" if _count(self.folder / "pids.events", "max") else None

    def peak_bytes(self) -> int | None:
        """Give the most memory it ever held; None before Linux 5.19."""
        try:
            return int((self.folder / "memory.peak").read_text())
        except (OSError, ValueError):
            return None

    def remove(self) -> None:
        """Remove it; its processes are gone."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def create(name: str, limits: Limits, *, base: Path | None = None) -> Cgroup | None:
    """Make an attempt's cgroup, with its limits for memory and processes. None: none can be had."""
    base = base or delegated()
    if base is None:
        return None
    cgroup = Cgroup(base / f"job-{name}")
    try:
        cgroup.folder.mkdir()
        if limits.memory is not None:
            _write(cgroup.folder / "memory.max", str(limits.memory))
            _write(cgroup.folder / "memory.oom.group", "1")
            with contextlib.suppress(OSError):  # no swap accounting in this kernel
                _write(cgroup.folder / "memory.swap.max", "0")
        if limits.processes is not None:
            _write(cgroup.folder / "pids.max", str(limits.processes))
    except OSError as error:
        _log.warning("cgroup.unusable", folder=str(cgroup.folder), error=str(error))
        cgroup.remove()
        return None
    return cgroup


@functools.cache
def delegated() -> Path | None:
    """Give this service's delegated cgroup, ready to have jobs' cgroups in it; None if there is none."""
    try:
        line = next(line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        base = _MOUNT / line.removeprefix("0::").lstrip("/")
        if not _is_delegated(base) or not {"memory", "pids"} <= set((base / "cgroup.controllers").read_text().split()):
            return None
        prepare(base)
    except (OSError, StopIteration):
        return None
    return base


def prepare(base: Path) -> None:
    """Move the processes of `base` to a leaf and let its children have limits. Raises OSError."""
    leaf = base / _LEAF
    leaf.mkdir(exist_ok=True)
    for pid in (base / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            _write(leaf / "cgroup.procs", pid)
    _write(base / "cgroup.subtree_control", "+memory +pids")


def _is_delegated(base: Path) -> bool:
    for mark in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(base, mark) == b"1":
                return True
    return False


def _count(path: Path, event: str) -> int:
    try:
        counts = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(counts.get(event, "0"))


def _write(path: Path, text: str) -> None:
    """Write in one call and without O_CREAT: these are the kernel's files."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
