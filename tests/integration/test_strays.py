"""What outlived both its worker and its guard is killed by the next guard that starts; what has either above it is not."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
import sys
import time
import uuid
from typing import TYPE_CHECKING

import pytest

from relay.process import strays, tree
from tests.integration.guards import Guarded, line, spawn
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.guards import Spawn

    Orphan = Callable[[str], int]

__all__ = ["spawn"]


PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER = 36, 37


@pytest.fixture(autouse=True)
def adopted_by_init() -> Iterator[None]:
    """Let orphans go to init: other tests have made this process a subreaper. Above it there must be none, which nobody can change."""
    libc, was = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(was), 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
    try:
        adopter = _parent_of_an_orphan()
        if not strays._adopts(adopter):
            pytest.skip(f"orphans go to pid {adopter} here, a subreaper above the tests, and not to init")
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, was.value, 0, 0, 0)


def _parent_of_an_orphan() -> int:
    found = subprocess.run(["sh", "-c", "sleep 10 > /dev/null & echo $!"], stdout=subprocess.PIPE, check=True)
    proc = tree.snapshot()[int(found.stdout)]
    tree.signal_each([proc], signal.SIGKILL)
    return proc.ppid


async def guard_of(spawn: Spawn, folder: Path) -> Guarded:
    process = await spawn(sys.executable, "-m", "tests.integration.guarded")
    return Guarded(process, int(await line(process)), folder)


async def kill_both(one: Guarded) -> None:
    both = (one.process.pid, one.worker)  # the guard first: it would take the jobs along
    for pid in both:
        os.kill(pid, signal.SIGKILL)
    await until(lambda: all(proc.pid not in both or tree.is_dead(proc) for proc in tree.snapshot().values()))


@pytest.fixture
def orphan() -> Iterator[Orphan]:
    """Start a process that carries this claim and whose parent is gone: its pid."""
    pids: list[int] = []

    def start(claim_id: str) -> int:
        found = subprocess.run(
            ["sh", "-c", "setsid sleep 1000 > /dev/null & echo $!"],
            env={"PATH": os.environ["PATH"], tree.COOKIE: claim_id},
            stdout=subprocess.PIPE,
            check=True,
        )
        pids.append(int(found.stdout))
        return pids[-1]

    yield start
    tree.kill_round([], also=[proc for proc in tree.snapshot().values() if proc.pid in pids])


async def test_a_guard_that_starts_kills_what_nobody_guards_any_more_and_nothing_else(
    spawn: Spawn, tmp_path: Path
) -> None:
    dying, staying = await guard_of(spawn, tmp_path), await guard_of(spawn, tmp_path)
    left = await dying.start(str(uuid.uuid4()))
    kept = await staying.start(str(uuid.uuid4()))
    await kill_both(dying)
    assert len(left.living) == 4

    began = time.monotonic()
    process = await spawn("sleep", "1000")
    await left.dead(within_s=1)
    assert time.monotonic() - began < 1
    assert len(kept.living) == 4
    assert process.returncode is None


async def test_processes_of_a_worker_or_a_guard_that_lives_are_no_strays(spawn: Spawn, tmp_path: Path) -> None:
    guarded = await guard_of(spawn, tmp_path)
    family = await guarded.start(str(uuid.uuid4()))
    os.kill(guarded.process.pid, signal.SIGSTOP)
    assert found_strays().isdisjoint(family.living)
    os.kill(guarded.worker, signal.SIGKILL)  # its jobs become the guard's, which is stopped
    assert len(family.living) == 4
    assert found_strays().isdisjoint(family.living)


def test_only_what_init_has_adopted_is_a_stray(orphan: Orphan, monkeypatch: pytest.MonkeyPatch) -> None:
    claim_id = str(uuid.uuid4())
    adopted = orphan(claim_id)
    child = subprocess.Popen(["sleep", "1000"], env={"PATH": os.environ["PATH"], tree.COOKIE: claim_id})
    try:
        assert adopted in found_strays()
        assert child.pid not in found_strays()
        environ = tree.environ
        monkeypatch.setattr(tree, "environ", lambda pid: b"\0_RELAY_GUARD_FD=3" if pid == 1 else environ(pid))
        assert adopted not in found_strays()  # a container's init may be a guard
    finally:
        child.kill()
        child.wait()


def test_a_relay_that_another_relays_job_started_spares_what_it_descends_from() -> None:
    script = "from relay.process import strays, tree; print(strays.find(tree.snapshot()))"
    claim = str(uuid.uuid4())
    found = subprocess.run(
        ["/bin/sh", "-c", '"$@"; :', "sh", sys.executable, "-c", script],
        env={**os.environ, tree.COOKIE: claim},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout == "[]\n"


def test_a_machine_out_of_descriptors_does_not_keep_a_guard_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> dict[int, tree.Proc]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(tree, "snapshot", fail)
    assert strays.kill(within_s=1) == 0


def test_a_variable_of_the_same_name_is_no_claim(orphan: Orphan) -> None:
    assert orphan("a-claim") not in found_strays()


def found_strays() -> set[int]:
    return {proc.pid for proc in strays.find(tree.snapshot())}
