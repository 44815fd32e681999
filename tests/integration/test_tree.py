"""Finding and killing process trees, with real ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.process import tree
from tests.integration.guarded import family
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    StartFamily = Callable[[str], Awaitable["Family"]]

ROOT = Path(__file__).parents[2]


class Family:
    """A tree of four processes: the leader, a child in its own session, a daemon, a child in its own session without cookie."""

    def __init__(self, claim_id: str, job: subprocess.Popen[bytes], pids: set[int]) -> None:
        self.claim_id = claim_id
        self.job = job
        self.leader = job.pid
        self.pids = pids

    @property
    def living(self) -> set[int]:
        procs = tree.snapshot()
        return {pid for pid in self.pids if pid in procs and not tree.is_dead(procs[pid])}

    def end_leader(self) -> None:
        self.job.kill()
        self.job.wait()


@pytest.fixture
def start_family(tmp_path: Path) -> Iterator[StartFamily]:
    started: list[Family] = []

    async def start(claim_id: str) -> Family:
        file = tmp_path / claim_id
        file.touch()
        job = family(claim_id, str(file))
        await until(lambda: len(file.read_text().split()) == 4, what="the family's pids")
        started.append(Family(claim_id, job, {int(pid) for pid in file.read_text().split()}))
        return started[-1]

    yield start
    for each in started:
        for pid in each.living:
            os.kill(pid, signal.SIGKILL)
        each.end_leader()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        process.kill()


def _pids(procs: list[tree.Proc]) -> set[int]:
    return {proc.pid for proc in procs}


def _run(script: str) -> str:
    """Run Python in a process of its own, whose adopted children are not the test run's."""
    argv = [sys.executable, "-c", script]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=30, cwd=ROOT).stdout


async def test_members_are_the_session_cookie_carriers_and_all_their_descendants(start_family: StartFamily) -> None:
    one, other = await start_family("one"), await start_family("other")
    assert _pids(tree.find([tree.Target("one", one.leader)])) == one.pids
    assert _pids(tree.find([tree.Target("one")])) == one.pids
    assert _pids(tree.find([tree.Target("one"), tree.Target("-", other.leader)])) >= one.pids | {other.leader}


async def test_members_are_found_without_a_cookie_as_long_as_they_are_in_the_leaders_session(
    child: subprocess.Popen[bytes],
) -> None:
    assert _pids(tree.find([tree.Target("none carries this", child.pid)])) == {child.pid}


async def test_zombies_and_this_process_are_no_members(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    child.kill()
    await until(lambda: tree.snapshot()[child.pid].state == "Z")
    assert tree.find([tree.Target("claim", child.pid)]) == []
    assert os.getpid() not in _pids(tree.find([tree.Target("claim", os.getpid())]))
    monkeypatch.setattr(tree, "claim_of", lambda pid: "mine" if pid == os.getpid() else None)
    assert tree.find([tree.Target("mine")]) == []


async def test_a_leaders_pid_that_is_another_process_by_now_is_no_member(child: subprocess.Popen[bytes]) -> None:
    start = tree.start_time(child.pid)
    assert start is not None
    before, then, after = (tree.Start(tick - 1, tick) for tick in (start - 1, start, start + 2))
    assert _pids(tree.find([tree.Target("claim", child.pid, then)])) == {child.pid}
    for other in (before, after):
        assert tree.find([tree.Target("claim", child.pid, other)]) == []
        assert tree.kill_until_clean([tree.Target("claim", child.pid, other)], deadline_s=1) == 0
    assert child.poll() is None


async def test_a_group_without_its_leader_belongs_to_the_claim_that_its_processes_carry(
    start_family: StartFamily,
) -> None:
    one = await start_family("one")
    procs = tree.snapshot()
    session = next(proc for proc in procs.values() if proc.pid in one.pids and proc.session == proc.pid != one.leader)
    moved = {session.pid: session._replace(pgid=77, session=77)}
    assert tree.find([tree.Target("another", 77)], procs=moved) == []
    assert tree.find([tree.Target(tree.claim_of(session.pid) or "another", 77)], procs=moved) == [moved[session.pid]]


async def test_a_signal_reaches_exactly_the_process_that_was_seen(child: subprocess.Popen[bytes]) -> None:
    seen = tree.snapshot()[child.pid]
    assert tree.signal_each([seen._replace(start=seen.start - 1)], signal.SIGKILL) == 0
    assert tree.signal_each([seen], signal.SIGTERM) == 1
    assert child.wait() == -signal.SIGTERM
    assert tree.signal_each([seen], signal.SIGTERM) == 0


async def test_killing_until_clean_leaves_no_process_of_the_claim(start_family: StartFamily) -> None:
    one, other = await start_family("one"), await start_family("other")
    assert tree.kill_until_clean([tree.Target("one", one.leader)], deadline_s=5) == 4
    assert one.living == set()
    assert other.living == other.pids


async def test_what_is_stopped_or_ignores_signals_is_killed_too(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGSTOP)
    assert tree.kill_until_clean([tree.Target("claim", child.pid)], deadline_s=5) == 1
    assert child.wait() == -signal.SIGKILL


async def test_killing_gives_up_at_its_deadline(child: subprocess.Popen[bytes]) -> None:
    with pytest.raises(TimeoutError, match=f"pid {child.pid}"):
        tree.kill_until_clean([tree.Target("claim", child.pid)], deadline_s=-1)


def test_a_group_that_forks_all_the_time_is_killed() -> None:
    comet = "import os\nwhile os.fork() == 0: pass"
    script = f"""
import subprocess, sys
from relay.process import subreaper, tree
subreaper.become_subreaper()
job = subprocess.Popen([sys.executable, "-S", "-c", {comet!r}], start_new_session=True)
job.wait()
killed = tree.kill_until_clean([tree.Target("claim", job.pid)], deadline_s=10)
tree.reap(tree.child_pids())
print(killed > 0, tree.group_exists(job.pid), tree.find([tree.Target("claim", job.pid)]))
"""
    assert _run(script) == "True False []\n"


def test_adopted_processes_are_reaped_when_killed() -> None:
    script = """
import subprocess
from relay.process import subreaper, tree
subreaper.become_subreaper()
subprocess.run(["setsid", "sh", "-c", "sleep 1000 & sleep 1000 &"], env={"PATH": "/bin:/usr/bin", "RELAY_CLAIM": "claim"})
adopted = len(tree.child_pids())
print(adopted, tree.kill_until_clean([tree.Target("claim")], deadline_s=5), tree.child_pids())
"""
    assert _run(script) == "2 2 []\n"


def test_a_process_whose_main_thread_has_ended_is_not_dead() -> None:
    script = """
import ctypes, os, subprocess, sys, threading
from relay.process import tree
half_dead = "import ctypes, threading, time; threading.Thread(target=time.sleep, args=(1000,)).start(); ctypes.CDLL(None).pthread_exit(0)"
job = subprocess.Popen([sys.executable, "-c", half_dead], start_new_session=True)
while b"Z (zombie)" not in open(f"/proc/{job.pid}/status", "rb").read():
    os.sched_yield()
print(tree.kill_until_clean([tree.Target("claim", job.pid)], deadline_s=5), job.wait())
"""
    assert _run(script) == "1 -9\n"


async def test_a_sweep_kills_the_carriers_of_any_of_its_claims(start_family: StartFamily) -> None:
    one, two, other = await start_family("one"), await start_family("two"), await start_family("other")
    assert tree.sweep({"one", "two", "three"}) == 8
    assert one.living == two.living == set()
    assert other.living == other.pids


def test_a_sweep_of_nothing_is_done_at_once() -> None:
    assert tree.sweep([]) == 0


async def test_the_claim_is_what_the_process_was_started_with(start_family: StartFamily) -> None:
    one = await start_family("one")
    assert sorted(str(tree.claim_of(pid)) for pid in one.pids) == ["None", "one", "one", "one"]
    assert tree.claim_of(2**22 + 1) is None


async def test_children_are_listed_until_they_are_reaped(child: subprocess.Popen[bytes]) -> None:
    assert child.pid in tree.child_pids()
    child.kill()
    await until(lambda: tree.snapshot()[child.pid].state == "Z")
    assert child.pid in tree.child_pids()
    assert tree.group_exists(child.pid)
    tree.reap([child.pid, os.getpid()])
    assert child.pid not in tree.child_pids()
    assert not tree.group_exists(child.pid)


async def test_without_a_free_descriptor_a_scan_fails_rather_than_being_clean(child: subprocess.Popen[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", _no_descriptor)
        with pytest.raises(OSError, match="Too many open files"):
            tree.find([tree.Target("claim", child.pid)])


def _no_descriptor(*_: object, **__: object) -> int:
    raise OSError(24, "Too many open files")
