"""The data folder of `relay dev`: what an earlier owner left is ended, and nothing else is."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.dev import child, folder, leftovers
from relay.process import tree
from tests.stack import processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator

FORKING = "import subprocess, time; subprocess.Popen(['sleep', '1000']); time.sleep(1000)"


@pytest.fixture
def earlier(tmp_path: Path) -> Iterator[child.Child]:
    """A process that an earlier run has started and recorded."""
    started = _spawn(tmp_path)
    leftovers.record(tmp_path, [started])
    yield started
    started.kill()


def _spawn(cwd: Path) -> child.Child:
    argv = [sys.executable, "-c", FORKING]
    return child.spawn("earlier", argv, cwd=cwd, log=cwd / "log", env=processes.base_environ())


async def test_what_an_earlier_run_left_is_ended_with_its_children(tmp_path: Path, earlier: child.Child) -> None:
    below = await until(lambda: tree.descendants(earlier.pid, procs=tree.snapshot()), what="a grandchild")
    with folder.opened(tmp_path):
        assert not earlier.is_running
        assert processes.still_running(below) == []


async def test_an_orphan_of_a_recorded_session_is_ended(tmp_path: Path, earlier: child.Child) -> None:
    orphans = await until(lambda: tree.descendants(earlier.pid, procs=tree.snapshot()), what="a grandchild")
    earlier.kill()
    assert processes.still_running(orphans) == orphans
    with folder.opened(tmp_path):
        assert processes.still_running(orphans) == []


def test_a_postgresql_that_was_started_just_before_the_kill_is_ended(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    unrecorded = _spawn(data)
    (data / "postmaster.pid").write_text(f"{unrecorded.pid}\n{data}\n")
    leftovers.record(tmp_path, [])
    try:
        with folder.opened(tmp_path):
            assert not unrecorded.is_running
    finally:
        unrecorded.kill()


def test_a_process_that_got_a_recorded_pid_later_is_left_alone(tmp_path: Path, earlier: child.Child) -> None:
    noted = json.loads((tmp_path / leftovers.RECORD).read_text())
    noted["processes"] = [{"pid": earlier.pid, "start": (tree.start_time(earlier.pid) or 0) + 1}]
    (tmp_path / leftovers.RECORD).write_text(json.dumps(noted))
    with folder.opened(tmp_path):
        assert earlier.is_running


def test_pids_of_another_boot_mean_nothing(tmp_path: Path, earlier: child.Child) -> None:
    noted = json.loads((tmp_path / leftovers.RECORD).read_text())
    noted["kernel"] = ["another boot", noted["kernel"][1]]
    (tmp_path / leftovers.RECORD).write_text(json.dumps(noted))
    with folder.opened(tmp_path):
        assert earlier.is_running


def test_a_folder_has_one_owner_at_a_time(tmp_path: Path) -> None:
    with folder.opened(tmp_path), pytest.raises(errors.Conflict, match=f"pid {os.getpid()}"), folder.opened(tmp_path):
        pytest.fail("two owners")
    with folder.opened(tmp_path) as owned:
        assert owned == tmp_path


def test_a_temporary_folder_whose_owner_was_killed_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    abandoned, in_use = tmp_path / f"{folder.TEMPORARY}gone", tmp_path / f"{folder.TEMPORARY}used"
    for each in (abandoned, in_use):
        each.mkdir()
        leftovers.record(each, [])
    with folder.opened(in_use), folder.temporary() as owned:
        assert owned.is_dir()
        assert not abandoned.exists()
        assert in_use.exists()
    assert not owned.exists()


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from relay.dev import child; here = pathlib.Path(sys.argv[1]);"
        "started = child.spawn('x', ['sleep', '1000'], cwd=here, log=here / 'log', env={'PATH': os.environ['PATH']});"
        "print(started.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    pidfd = os.pidfd_open(pid)
    try:
        while not _command(pid).startswith(b"sleep"):  # until setpriv has run
            assert parent.poll() is None
        parent.kill()
        parent.communicate()
        ended, _, _ = select.select([pidfd], [], [], 10)
        assert ended
    finally:
        os.close(pidfd)


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()
