"""A job's end creates its children: those of its success, or those of its failure, each once."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.e2e.reading import read
from tests.e2e.running import ended
from tests.stack import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Cluster

AT_ONCE = {"strategy": "constant", "initial": "1ms", "jitter": False}
PARENT = 'echo "$RELAY_PARENT_ID $RELAY_PARENT_STATUS $RELAY_PARENT_EXIT_CODE"'
PROGRAMS = Path("/usr/local/bin")
SCRIPTS = {
    "process-data.sh": '#!/bin/sh\necho "processing $*"\n',
    "notify.sh": '#!/bin/sh\necho "job $RELAY_PARENT_ID is $RELAY_PARENT_STATUS"\n',
}
OVERLAY = f'mount -t overlay overlay -o "lowerdir=$1:{PROGRAMS}" {PROGRAMS} && shift && exec "$@"'
SEED_EXAMPLE = {
    "type": "SHELL",
    "payload": {
        "command": "/usr/local/bin/process-data.sh",
        "args": ["--input", "/data/file.csv"],
        "timeout": "5m",
    },
    "on_success": {"type": "SHELL", "payload": {"command": "/usr/local/bin/notify.sh"}},
    "max_retries": 3,
    "backoff": "exponential",
}


async def children_of(relay: Cluster, job_id: int, count: int = 1) -> list[dict[str, Any]]:
    """Wait until a job has that many children and all have ended: these, oldest first."""

    async def look() -> list[int] | None:
        _, found = await relay.request("GET", f"/v1/jobs?parent_id={job_id}")
        ids = [job["id"] for job in found["items"]]
        return sorted(ids) if len(ids) >= count else None

    ids = await until(look, what=f"{count} children of job {job_id}")
    assert len(ids) == count
    return [await relay.wait(child_id) for child_id in ids]


async def test_success_creates_its_children_who_know_their_parent(relay: Cluster) -> None:
    job = await ended(
        relay,
        {"script": "exit 3", "success_codes": [3], "env": {"MINE": "x"}},
        on_success=[{"payload": {"script": PARENT}}, {"payload": {"command": "env"}, "queue": "default"}],
        on_failure={"payload": {"command": "false"}},
    )
    first, second = await children_of(relay, job["id"], 2)
    assert await read(relay, first["id"]) == f"{job['id']} COMPLETED 3\n".encode()
    assert b"MINE" not in await read(relay, second["id"])
    assert (first["parent_id"], second["parent_id"]) == (job["id"], job["id"])


async def test_failure_creates_its_children_once_when_the_job_is_dead(relay: Cluster) -> None:
    job = await ended(
        relay,
        {"script": "exit 7"},
        max_retries=2,
        backoff=AT_ONCE,
        on_success={"payload": {"command": "false"}},
        on_failure={"payload": {"script": PARENT}},
    )
    assert (job["status"], len(job["attempts"])) == ("DEAD", 3)
    (child,) = await children_of(relay, job["id"])
    assert await read(relay, child["id"]) == f"{job['id']} DEAD 7\n".encode()


async def test_what_could_not_start_has_children_of_its_failure(relay: Cluster) -> None:
    job = await ended(relay, {"command": "no-such-program-anywhere"}, on_failure={"payload": {"script": PARENT}})
    (child,) = await children_of(relay, job["id"])
    assert await read(relay, child["id"]) == f"{job['id']} DEAD 127\n".encode()


async def test_a_child_reads_its_parents_stdout_byte_for_byte(relay: Cluster) -> None:
    job = await ended(
        relay,
        {"script": "head -c 3000000 /dev/urandom; echo not this >&2"},
        on_success={"payload": {"command": "cat", "stdin": {"from": "parent.stdout"}}},
    )
    (child,) = await children_of(relay, job["id"])
    written = await read(relay, job["id"], "stream=stdout")
    assert len(written) == 3_000_000
    assert await read(relay, child["id"]) == written


async def test_a_childs_delay_counts_from_its_parents_end(relay: Cluster) -> None:
    job = await ended(relay, {"script": "sleep 0.5"}, on_success={"payload": {"command": "true"}, "delay": "500ms"})
    (child,) = await children_of(relay, job["id"])
    assert child["started_at"] > job["finished_at"]
    assert child["run_at"] > job["finished_at"]


async def test_a_chain_goes_on_through_its_generations(relay: Cluster) -> None:
    spec: dict[str, Any] = {"name": "leaf", "payload": {"command": "true"}}
    for number in range(4):
        spec = {"name": f"n{number}", "payload": {"command": "true"}, "on_success": spec}
    job_id = await relay.submit(spec)
    names = []
    job = await relay.wait(job_id)
    while job["name"] != "leaf":
        names.append(job["name"])
        (job,) = await children_of(relay, job["id"])
    assert names == ["n3", "n2", "n1", "n0"]
    assert job["status"] == "COMPLETED"


async def test_a_cancelled_job_has_no_children(relay: Cluster) -> None:
    child = {"payload": {"command": "true"}}
    spec = {"payload": {"script": "sleep 60"}, "on_success": child, "on_failure": child}
    job_id = await relay.submit(spec)
    await relay.wait(job_id, "RUNNING")
    await relay.request("POST", f"/v1/jobs/{job_id}/cancel")
    await relay.wait(job_id, "CANCELLED")
    _, tree = await relay.request("GET", f"/v1/jobs/{job_id}/tree")
    assert tree["children"] == []


async def test_the_seed_example_works_as_it_stands(relay: Cluster, tmp_path: Path) -> None:
    with programs(tmp_path) as before:
        if before:
            await relay.workers[0].stop()
            await relay.start_worker(before=before)
        job = await relay.wait(await relay.submit(SEED_EXAMPLE))
        (child,) = await children_of(relay, job["id"])
    assert (job["name"], job["status"], child["name"], child["status"]) == (
        "process-data.sh",
        "COMPLETED",
        "notify.sh",
        "COMPLETED",
    )
    assert await read(relay, job["id"]) == b"processing --input /data/file.csv\n"
    assert await read(relay, child["id"]) == f"job {job['id']} is COMPLETED\n".encode()


@contextlib.contextmanager
def programs(folder: Path) -> Iterator[tuple[str, ...]]:
    """Have the example's programs at their paths: seen by what these words start, or (no words) by everyone.

    A mount namespace leaves the machine as it is. Where none can be made, root puts the files there for a moment.
    """
    _write_scripts(folder)
    words = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", OVERLAY, "sh", str(folder))
    if subprocess.run([*words, "true"], check=False, capture_output=True).returncode == 0:
        yield words
        return
    assert os.access(PROGRAMS, os.W_OK), f"this test needs user namespaces, or root's right to write to {PROGRAMS}"
    _write_scripts(PROGRAMS)
    try:
        yield ()
    finally:
        for name in SCRIPTS:
            (PROGRAMS / name).unlink()


def _write_scripts(folder: Path) -> None:
    for name, text in SCRIPTS.items():
        file = folder / name
        assert not file.exists() or file.read_text() == text, f"there is another {file}"
        file.write_text(text)
        file.chmod(0o755)
