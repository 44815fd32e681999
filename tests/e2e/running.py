"""Submit one job, wait for its end, and look at what its processes have left."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.process import tree
from tests.e2e.reading import read
from tests.stack import until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.stack import Cluster


async def ended(relay: Cluster, payload: Mapping[str, object], **spec: object) -> dict[str, Any]:
    """Run a job to its end, without retries unless the spec has some: the job."""
    return await relay.wait(await relay.submit({"payload": payload, "max_retries": 0, **spec}))


async def completed(relay: Cluster, command: str, *args: str, **payload: object) -> dict[str, Any]:
    """Run a command to its success: the job."""
    job = await ended(relay, {"command": command, "args": args, **payload})
    assert job["status"] == "COMPLETED", job
    return job


async def output_of(relay: Cluster, payload: Mapping[str, object], **spec: object) -> str:
    """Run a job to its success: what it wrote."""
    job = await ended(relay, payload, **spec)
    assert job["status"] == "COMPLETED", job
    return (await read(relay, job["id"])).decode()


async def written(relay: Cluster, job_id: int, lines: int) -> list[str]:
    """Wait until a running job has written so many lines: these."""

    async def look() -> list[str] | None:
        found = (await read(relay, job_id)).decode().splitlines()
        return found if len(found) >= lines else None

    return await until(look, what=f"{lines} lines of job {job_id}")


def processes_of(pids: list[str]) -> list[tree.Proc]:
    """The running processes with these pids, as a job has printed them."""
    running = tree.snapshot()
    return [running[int(pid)] for pid in pids]


def exists(path: str) -> bool:
    """Whether there is such a path on this machine."""
    return Path(path).exists()


def seconds_between(earlier: str, later: str) -> float:
    """The time between two times of the API."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def took_s(attempt: Mapping[str, str]) -> float:
    """From an attempt's start to its recorded end."""
    return seconds_between(attempt["started_at"], attempt["finished_at"])
