"""Limits of one job: rlimits by a wrapper, and what their breaking looks like.

`cpu_time` and `open_files` are rlimits, per process. They are set by `prlimit` (util-linux), which then becomes the program:
setting them from outside right after the spawn would race with the program. The wrapper costs 0.9 ms, so it is used only
where asked for. Memory and processes are the tree's: see `monitor`.
"""

from __future__ import annotations

import math
import resource
import shutil
import signal
from typing import TYPE_CHECKING

from relay.process.program import NOT_EXECUTABLE, StartError

if TYPE_CHECKING:
    from relay.model.payload import Limits
    from relay.process.users import User
    from relay.process.watcher import Exit


def wrapper(limits: Limits, user: User | None) -> list[str]:
    """Give the words to put before a command; empty where nothing is asked. Raises StartError if a tool is missing."""
    words: list[str] = []
    if limits.cpu_time is not None or limits.open_files is not None:
        words.append(_find("prlimit"))
        if limits.cpu_time is not None:
            seconds = _cpu_seconds(limits.cpu_time)
            words.append(f"--cpu={seconds}:{seconds + 1}")  # SIGXCPU, and a second later SIGKILL
        if limits.open_files is not None:
            count = _possible_files(limits.open_files)
            words.append(f"--nofile={count}:{count}")
        words.append("--")
    if user is not None:
        words += [_find("setpriv"), f"--reuid={user.uid}", f"--regid={user.gid}", "--init-groups", "--"]
    return words


def is_cpu_time_broken(limits: Limits, end: Exit) -> bool:
    """Whether a job ended by its limit of CPU time: itself, or (as its shell reports it) a process that it waited for."""
    if limits.cpu_time is None:
        return False
    seconds = _cpu_seconds(limits.cpu_time)
    if end.returncode in (-signal.SIGXCPU, 128 + signal.SIGXCPU):
        return True
    return end.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL) and end.cpu_s >= seconds


def _cpu_seconds(cpu_time_s: float) -> int:
    """Whole seconds, as rlimits count them, rounded up."""
    return max(1, math.ceil(cpu_time_s))


def _possible_files(count: int) -> int:
    """No more than this process may allow: a limit is an upper bound, and asking for more would fail the job."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return count if hard == resource.RLIM_INFINITY else min(count, hard)


def _find(tool: str) -> str:
    path = shutil.which(tool, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if path is None:
        raise StartError(
            NOT_EXECUTABLE, f"this worker has no '{tool}' (util-linux), which the job's limits or user need"
        )
    return path
