"""A worker started as its printed unit says, by something that behaves like systemd; and completion in a real shell."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
from typing import TYPE_CHECKING

from relay.process import tree
from tests.integration import manager
from tests.stack import processes, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.stack import Cluster

COMPLETE = """
eval "$(relay completion bash)"
eval "$(complete -p relay | sed 's/.*-F \\([^ ]*\\).*/completed_by=\\1/')"
COMP_WORDS=(relay systemd p) COMP_CWORD=2
"$completed_by" relay
echo "${COMPREPLY[@]}"
"""


def printed(role: str, env_file: Path) -> Mapping[str, list[str]]:
    """The settings of a unit that `relay systemd print` prints."""
    text = subprocess.check_output([*processes.RELAY, "systemd", "print", role, "--env-file", env_file], text=True)
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


async def test_a_worker_runs_and_stops_as_its_unit_says(relay: Cluster, tmp_path: Path) -> None:
    env_file = tmp_path / "relay.env"
    settings = {**relay.environ, "RELAY_QUEUES": "under-systemd", "RELAY_DRAIN_TIMEOUT": "500ms"}
    env_file.write_text("".join(f"{name}={value}\n" for name, value in settings.items() if name.startswith("RELAY_")))
    unit = printed("work", env_file)
    assert unit["EnvironmentFile"] == [f"-{env_file}", f"-{tmp_path}/work-%i.env"]
    given = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    with manager.listening(tmp_path / "notify", bears_s=float(unit["WatchdogSec"][0])) as listening:
        log = tmp_path / "work.log"
        with log.open("wb") as output:
            main = await asyncio.create_subprocess_exec(
                *shlex.split(unit["ExecStart"][0]),
                env={**processes.base_environ(), **given, **listening.environ},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        await until(lambda: listening.told("READY"), within_s=30, what=f"READY=1; {log.read_text()}")
        job_id = await relay.submit({"payload": {"script": "exec sleep 300"}, "queue": "under-systemd"})
        await relay.wait(job_id, "RUNNING")
        noted = tree.descendants(main.pid, procs=tree.snapshot())
        main.terminate()  # KillMode=mixed: the main process alone, which is the guard
        async with asyncio.timeout(float(unit["TimeoutStopSec"][0])):
            assert await main.wait() == 0
        assert listening.told("STOPPING") == ["1"]
    assert processes.still_running(noted) == []
    assert (await relay.job(job_id))["status"] == "PENDING"


def test_bash_completes_commands(tmp_path: Path) -> None:
    command = tmp_path / "relay"
    command.write_text(f'#!/bin/sh\nexec {shlex.join(processes.RELAY)} "$@"\n')
    command.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", COMPLETE], env=environ, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("print", "")
