"""Processes of an earlier `relay dev` on the same folder, which was killed: find them for certain, and end them.

Each process is recorded with its pid and start time, the kernel's boot and the pid namespace: together they name one process for
ever. A process that such a one left behind later is known by its session, together with its working folder, which lies in the
data folder; descendants belong to it too. So does the process that PostgreSQL's own record names, if it works there: one that
was started just before the kill is in no other record, and takes a while to end. Most end by themselves, because the
kernel tells them of their parent's death, so they are given a moment first. Nothing is ever ended because of its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay import errors
from relay.process import tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from relay.dev.child import Child

RECORD = "processes.json"
SELF_END_S = 3.0
KILL_S = 10.0
LOOK_S = 0.05


def has_record(folder: Path) -> bool:
    """Whether a `relay dev` ever ran on this folder."""
    return (folder / RECORD).exists()


def record(folder: Path, children: Iterable[Child], *, folders: Iterable[Path] = ()) -> None:
    """Note these children and what runs below them now, and folders elsewhere that belong to this one."""
    now = tree.snapshot()
    running = [now[child.pid] for child in children if child.pid in now]
    below = [process for each in running for process in tree.descendants(each.pid, procs=now)]
    found = {
        "kernel": _kernel(),
        "processes": [{"pid": process.pid, "start": process.start} for process in (*running, *below)],
        "folders": [str(each) for each in folders if not each.is_relative_to(folder)],
    }
    draft = folder / f".{RECORD}"
    draft.write_text(json.dumps(found))
    draft.replace(folder / RECORD)


def recorded_folders(folder: Path) -> list[Path]:
    """Folders elsewhere that belong to this one."""
    return [Path(each) for each in _read(folder).get("folders", ())]


def clean(folder: Path) -> None:
    """End all processes of the earlier run. Raises Conflict when some can't be ended."""
    noted = _read(folder)
    starts = {each["pid"]: each["start"] for each in noted.get("processes", ())}
    if noted.get("kernel") != _kernel():
        starts = {}
    began = time.monotonic()
    while alive := _find(folder, starts, _homes(folder, noted)):
        waited_s = time.monotonic() - began
        if waited_s > SELF_END_S:
            tree.signal_each(alive, signal.SIGKILL)
        if waited_s > KILL_S:
            pids = ", ".join(str(process.pid) for process in alive)
            raise errors.Conflict(f"processes of an earlier 'relay dev' on {folder} don't end: kill {pids}")
        time.sleep(LOOK_S)
    _forget_postmaster(folder, noted)


def _find(folder: Path, starts: Mapping[int, int], homes: Iterable[Path]) -> list[tree.Proc]:
    """The earlier run's processes that still run, with all their descendants."""
    processes = tree.snapshot()
    postmasters = {pid for home in homes if (pid := _postmaster(home)) is not None and _works_in(pid, home)}
    roots = [
        process
        for process in processes.values()
        if not tree.is_dead(process) and (process.pid in postmasters or _is_ours(process, folder, starts))
    ]
    found = {process.pid: process for process in roots}
    for root in roots:
        found.update((process.pid, process) for process in tree.descendants(root.pid, procs=processes))
    return list(found.values())


def _is_ours(process: tree.Proc, folder: Path, starts: Mapping[int, int]) -> bool:
    if starts.get(process.pid) == process.start:
        return True
    start = starts.get(process.session)
    return start is not None and process.start >= start and _works_in(process.pid, folder)


def _works_in(pid: int, folder: Path) -> bool:
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")).is_relative_to(folder.resolve())  # noqa: PTH115 - it may be gone
    except OSError:
        return False


def _forget_postmaster(folder: Path, noted: Mapping[str, Any]) -> None:
    """Remove a stale `postmaster.pid` whose pid another process has by now: PostgreSQL would refuse to start."""
    for home in _homes(folder, noted):
        pid = _postmaster(home)
        if pid is None or tree.start_time(pid) is None or any(_works_in(each, home) for each in tree.snapshot()):
            continue
        with contextlib.suppress(OSError):
            _pid_file(home).unlink()


def _homes(folder: Path, noted: Mapping[str, Any]) -> list[Path]:
    """The folders in which PostgreSQL may have run."""
    return [folder / "postgres", *(Path(each) for each in noted.get("folders", ()))]


def _pid_file(home: Path) -> Path:
    return home / "data" / "postmaster.pid"


def _postmaster(home: Path) -> int | None:
    """The pid that PostgreSQL has left a note of."""
    try:
        return int(_pid_file(home).read_text().partition("\n")[0])
    except (OSError, ValueError):
        return None


def _read(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / RECORD).read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _kernel() -> list[object]:
    """This boot and this pid namespace: where a pid means something."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return [boot, os.readlink("/proc/self/ns/pid")]  # noqa: PTH115 - not a path: 'pid:[…]'
