"""Measure a tree of processes: how many they are, and the memory they hold.

The tree is walked through `/proc/PID/task/TID/children`, so the cost is that of the job's own processes, not of the
machine's. RSS counts a page once per process that maps it; PSS would be exact and costs a hundred times as much.
A process that comes or goes meanwhile may be missed: the next sample sees it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Sample(NamedTuple):
    """A tree at one moment: processes, the sum of their RSS, the largest RSS that one of them ever had."""

    processes: int
    rss_bytes: int
    largest_bytes: int


def measure(roots: Iterable[int], *, max_processes: int) -> Sample:
    """Measure the trees below and with `roots`; counting ends at `max_processes`."""
    processes = rss = largest = 0
    for pid in _walk(roots):
        memory = _memory(pid)
        if memory is None:
            continue
        processes += 1
        rss += memory[0]
        largest = max(largest, memory[1])
        if processes >= max_processes:
            break
    return Sample(processes, rss, largest)


def _walk(roots: Iterable[int]) -> Iterator[int]:
    todo, seen = list(roots), set[int]()
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        yield pid
        todo += _children(pid)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - every half second for every process
            found += map(int, _read(f"/proc/{pid}/task/{task}/children").split())
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found


def _memory(pid: int) -> tuple[int, int] | None:
    """Give a process's RSS and its peak, in bytes; None for one that is gone or a zombie."""
    lines = _read(f"/proc/{pid}/status")
    peak, rss = _kilobytes(lines, b"\nVmHWM:"), _kilobytes(lines, b"\nVmRSS:")
    return None if peak is None or rss is None else (rss * 1024, peak * 1024)


def _kilobytes(lines: bytes, key: bytes) -> int | None:
    at = lines.find(key)
    return None if at < 0 else int(lines[at + len(key) :].split(None, 1)[0])


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            return file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""
