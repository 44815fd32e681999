"""CPU time by part: what each process and its reaped children have used, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def used_s(pid: int) -> float:
    """User and system seconds of a process, its reaped children, and all its living descendants."""
    try:
        root = psutil.Process(pid)
        pids = [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return 0.0
    return sum(_own_s(each) for each in pids)


def _own_s(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(int(field) for field in fields[11:15]) * _TICK_S


def memory_mb(pid: int) -> float:
    """Resident memory of one process in MiB."""
    return float(psutil.Process(pid).memory_info().rss) / (1 << 20)


def listeners(port: int) -> list[int]:
    """The processes that listen on a loopback port, parents before children counted once."""
    pids = {
        each.pid
        for each in psutil.net_connections("tcp")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid
    }
    return [pid for pid in pids if psutil.Process(pid).ppid() not in pids]
