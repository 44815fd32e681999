"""Jobs that do their worst: each attempt ends as its spec says, the worker stays small, and its other jobs don't mind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.chaos.lengths import Lengths
    from tests.chaos.stage import Stage, Stages

pytestmark = pytest.mark.asyncio(loop_scope="session")

ENDED_S = 30.0
WORKER_BYTES = 200 << 20
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Nasty:
    """A script, what else its payload says, and how its attempt must end."""

    script: str
    outcome: str
    reason: str | None = None
    limits: str = "{}"
    timeout: str = "30s"
    stdout_bytes: int = 0


FLOOD = "prints a flood"
NASTY = {
    "forks too much": Nasty(
        "n=0; while [ $n -lt 300 ]; do sleep 60 & n=$((n + 1)); done; wait",
        "failed",
        "limit",
        limits='{"processes": 100}',
    ),
    FLOOD: Nasty("", "succeeded"),  # its script follows from how much it is to print
    "prints without end of line": Nasty(
        f"head -c {100 * MB} /dev/zero | tr '\\0' x", "succeeded", stdout_bytes=100 * MB
    ),
    "prints all bytes": Nasty(
        'n=0; while [ $n -lt 256 ]; do printf "\\\\$(printf %03o $n)"; n=$((n + 1)); done',
        "succeeded",
        stdout_bytes=256,
    ),
    "closes its output": Nasty("exec >&- 2>&-; sleep 0.2", "succeeded"),
    "ignores TERM": Nasty("trap '' TERM; while :; do sleep 1; done", "timed_out", "timeout", timeout="1s"),
    "stops itself": Nasty("kill -STOP $$", "timed_out", "timeout", timeout="1s"),
    "leaves a daemon that holds its output": Nasty("(setsid sleep 600 &); echo x", "succeeded", stdout_bytes=2),
    "deletes its folder": Nasty('rm -rf "$PWD"', "succeeded"),
    "writes much to disk": Nasty("head -c 50000000 /dev/zero > file", "succeeded"),
    "has an odd name": Nasty("printf '\\377) Z 1 (\\n' > /proc/self/comm; sleep 0.2", "succeeded"),
}


def spec_of(name: str, nasty: Nasty) -> dict[str, object]:
    payload = {
        "script": nasty.script,
        "timeout": nasty.timeout,
        "kill_grace": "500ms",
        "limits": json.loads(nasty.limits),
    }
    return {"name": name, "payload": payload, "max_retries": 0}


async def endings(on: Stage) -> dict[str, tuple[str, str | None, int]]:
    rows = await on.scene.query(
        "SELECT name, outcome, reason, stdout_bytes FROM attempts JOIN job_specs USING (job_id) WHERE name = ANY($1)",
        [*NASTY],
    )
    return {row["name"]: (row["outcome"], row["reason"], row["stdout_bytes"]) for row in rows}


async def test_nasty_jobs_end_as_they_should_and_hurt_nobody(stage: Stages, lengths: Lengths) -> None:
    size = lengths.output_bytes
    flood = Nasty(f"head -c {size} /dev/zero", "succeeded", timeout=f"{lengths.output_s}s", stdout_bytes=size)
    all_nasty = {**NASTY, FLOOD: flood}
    async with stage(works=1, concurrency=16) as on:
        worker = on.scene.fleet.works[0].worker_pid
        await on.post([spec_of(name, nasty) for name, nasty in all_nasty.items()])
        await on.post([{"name": "good", "payload": {"command": "true"}}] * 50)

        await on.until_ended(within_s=ENDED_S + lengths.output_s)

        assert await endings(on) == {
            name: (nasty.outcome, nasty.reason, nasty.stdout_bytes) for name, nasty in all_nasty.items()
        }
        good = await on.scene.query("SELECT status FROM jobs JOIN job_specs ON id = job_id WHERE name = 'good'")
        assert {row["status"] for row in good} == {"COMPLETED"}
        assert on.scene.fleet.works[0].worker_pid == worker
        assert largest_size(worker or 0) < WORKER_BYTES


async def test_all_bytes_come_back_as_they_were_written(stage: Stages) -> None:
    async with stage(works=1) as on:
        await on.post([spec_of("bytes", NASTY["prints all bytes"])])

        await on.until_ended(within_s=ENDED_S)

        rows = await on.scene.query("SELECT data FROM output ORDER BY seq")
        assert b"".join(row["data"] for row in rows) == bytes(range(256))


async def test_a_full_disk_costs_output_and_no_job(stage: Stages) -> None:
    small = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m none /mnt && exec "$@"', "sh")
    async with stage(works=1, environ={"TMPDIR": "/mnt"}, before=small) as on:
        await on.post([{"name": "full", "payload": {"script": f"head -c {40 * MB} /dev/zero"}}])
        await on.until_ended(within_s=ENDED_S)

        (row,) = await on.scene.query("SELECT outcome, stdout_bytes, dropped_bytes FROM attempts")
        assert (row["outcome"], row["stdout_bytes"]) == ("succeeded", 40 * MB)
        assert row["dropped_bytes"] > 30 * MB


def largest_size(pid: int) -> int:
    """The most memory that a process has had, in bytes."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) << 10
