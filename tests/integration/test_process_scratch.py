"""Private folders: what they survive, and what the next worker of a machine clears away."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay.process import orphans, scratch, tree
from tests.integration.running import Run, exists, run, sh


def test_a_process_that_ends_leaves_no_root() -> None:
    script = "from relay.process import scratch; print(scratch.root())"
    ended = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert "relay-" in ended.stdout
    assert not exists(ended.stdout.strip())


def test_the_roots_of_killed_workers_are_removed_and_no_others(tmp_path: Path) -> None:
    namespace, pid = os.stat("/proc/self/ns/pid").st_ino, os.getpid()  # noqa: PTH116 - a link that is no path
    start = tree.start_time(pid)
    living = tmp_path / f"relay-{namespace}-{pid}-{start}-a"
    killed = tmp_path / f"relay-{namespace}-{pid}-{(start or 0) - 1}-b"
    elsewhere = tmp_path / f"relay-{namespace + 1}-{pid}-1-c"
    other = tmp_path / "relay-notes"
    for folder in (living, killed, elsewhere, other):
        (folder / "claim" / "deep").mkdir(parents=True)
    link = tmp_path / f"relay-{namespace}-{pid}-2-d"
    link.symlink_to(other)
    scratch._sweep(str(tmp_path))
    assert sorted(tmp_path.iterdir()) == sorted([living, elsewhere, other, link])


async def test_a_root_that_a_cleaner_took_is_made_again() -> None:
    await run("true")
    scratch._spare.clear()
    await scratch.remove(scratch.root())
    result, _ = await run("true")
    assert result.exit_code == 0


@pytest.mark.parametrize("put", ['ln -s /etc "$D"', 'touch "$D"', 'mkdir "$D" && touch "$D/x" && chmod 000 "$D"'])
async def test_whatever_a_job_puts_in_its_folders_place_is_removed(put: str) -> None:
    result = await sh(f'D=$PWD; cd /; rmdir "$D"; {put}').end()
    assert result.exit_code == 0
    left = {path.name for path in await asyncio.to_thread(lambda: list(Path(scratch.root()).iterdir()))}
    assert left == {Path(folder.path).name for folders in scratch._spare.values() for folder in folders}
    assert exists("/etc/passwd")


async def test_children_that_others_started_before_are_left_alone() -> None:
    stranger = subprocess.Popen(["/bin/sh", "-c", "exec sleep 300"])  # noqa: ASYNC220 - somebody else's child
    try:
        orphans._known.clear()
        one = sh("true")
        await one.end()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


async def test_hundreds_of_attempts_at_once_share_one_machine() -> None:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(Run("sh", "-c", f"exit {number % 7}").end()) for number in range(200)]
    assert [task.result().exit_code for task in running] == [number % 7 for number in range(200)]
