"""Real children that end, do not end, hide, and misbehave: what `run` says of them, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from relay.model.results import Ending
from relay.process import tree
from tests.integration.running import Run, exists, is_gone, nothing_is_left, pid_in, run, sh, until

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["nothing_is_left"]

PYTHON = sys.executable


async def test_a_command_that_ends_well() -> None:
    one = Run("echo", "hi")
    result = await one.end()
    assert (result.ending, result.exit_code, result.signal) == (Ending.EXITED, 0, None)
    assert one.read() == b"hi\n"
    assert (result.stdout_bytes, result.stderr_bytes, result.dropped_bytes) == (3, 0, 0)
    assert result.leftover_processes == 0
    assert result.cpu_s is not None
    assert 0 < result.cpu_s < 1


async def test_a_child_that_cannot_be_watched_is_killed_and_its_job_handed_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await run("true")
    before = tree.child_pids()

    def refuse(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    result, _ = await run("sleep", "60")
    assert result.ending is Ending.RELEASED
    assert tree.child_pids() == before


async def test_the_guard_hears_of_the_start_right_around_the_fork() -> None:
    heard: list[str] = []
    one = sh("true")
    one.execution._on_starting = lambda: heard.append("starting")
    one.execution._on_started = lambda pid, start: heard.append(
        "started" if start.first <= (tree.start_time(pid) or 0) <= start.last else "wrong"
    )
    await one.end()
    assert heard == ["starting", "started"]


@pytest.mark.parametrize("code", [1, 3, 126, 127, 137, 255])
async def test_an_exit_code_is_no_signal(code: int) -> None:
    result = await sh(f"exit {code}").end()
    assert (result.ending, result.exit_code, result.signal) == (Ending.EXITED, code, None)


async def test_a_signal_is_no_exit_code() -> None:
    result = await sh("kill -KILL $$").end()
    assert (result.ending, result.exit_code, result.signal) == (Ending.SIGNALED, None, "SIGKILL")


async def test_a_daemon_that_holds_the_pipes_open_does_not_hold_the_attempt(tmp_path: Path) -> None:
    began = time.monotonic()
    one = sh(f"sleep 300 & echo $! > {tmp_path}/pid; echo hi")
    result = await one.end()
    assert time.monotonic() - began < 2
    assert (result.exit_code, result.leftover_processes) == (0, 1)
    assert one.read() == b"hi\n"
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_a_daemon_in_its_own_session_is_killed(tmp_path: Path) -> None:
    script = f"(setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' &) ; until [ -s {tmp_path}/pid ]; do :; done"
    result = await sh(script).end()
    assert (result.exit_code, result.leftover_processes) == (0, 1)
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_a_daemon_without_its_cookie_is_killed(tmp_path: Path) -> None:
    script = f"""(env -i setsid /bin/sh -c 'echo $$ > {tmp_path}/pid; sleep 300; true' &)
                 until [ -s {tmp_path}/pid ]; do :; done"""
    result = await sh(script).end()
    assert result.leftover_processes >= 1
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_a_running_neighbours_daemon_is_left_alone(tmp_path: Path) -> None:
    neighbour = sh(f"(setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' &) ; exec sleep 300")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(neighbour.end())
        await until((tmp_path / "pid").exists)
        await until((tmp_path / "pid").read_text)
        result = await sh("setsid sleep 300 & true").end()
        assert result.leftover_processes == 1
        assert not is_gone(pid_in(tmp_path / "pid"))
        neighbour.execution.kill()
    assert running.result().ending == Ending.RELEASED
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_an_orphan_of_nobody_is_killed_with_the_last_attempt_that_may_have_left_it(tmp_path: Path) -> None:
    neighbour = sh("exec sleep 300")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(neighbour.end())
        await until(lambda: neighbour.started)
        script = f"""(env -i setsid /bin/sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' >/dev/null 2>&1 &)
                     until [ -s {tmp_path}/pid ]; do :; done"""
        await sh(script).end()
        assert not is_gone(pid_in(tmp_path / "pid"))  # it may be the neighbour's
        neighbour.execution.kill()
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_a_timeout_asks_the_whole_tree_first(tmp_path: Path) -> None:
    child = f"trap 'echo bye > {tmp_path}/bye; exit' TERM; echo $$ > {tmp_path}/pid; while :; do sleep 0.01; done"
    script = f'setsid sh -c "{child.replace("$$", chr(92) + "$$")}" & wait'
    result = await sh(script, timeout_s=0.3, kill_grace_s=20).end()
    assert (result.ending, result.signal) == (Ending.TIMED_OUT, "SIGTERM")
    assert (tmp_path / "bye").read_text() == "bye\n"
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_a_job_that_ignores_term_is_killed_after_its_grace() -> None:
    began = time.monotonic()
    result = await sh("trap '' TERM; while :; do sleep 0.05; done", timeout_s=0.1, kill_grace_s=0.3).end()
    assert 0.4 <= time.monotonic() - began < 3
    assert (result.ending, result.signal) == (Ending.TIMED_OUT, "SIGKILL")


async def test_a_child_that_outlives_the_main_process_has_the_rest_of_the_grace() -> None:
    began = time.monotonic()
    script = "sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & wait"
    result = await sh(script, timeout_s=0.1, kill_grace_s=0.4).end()
    assert time.monotonic() - began >= 0.5
    assert (result.ending, result.signal) == (Ending.TIMED_OUT, "SIGTERM")


async def test_a_job_that_stopped_itself_still_sees_the_term() -> None:
    script = "trap 'exit 5' TERM; kill -STOP $$; exit 6"
    result = await sh(script, timeout_s=0.2, kill_grace_s=20).end()
    assert (result.ending, result.exit_code) == (Ending.TIMED_OUT, 5)


async def test_the_end_is_named_by_who_asks_first() -> None:
    one = sh("trap '' TERM; while :; do sleep 0.05; done", kill_grace_s=0.1)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(one.end())
        await until(lambda: one.started)
        one.execution.stop(Ending.CANCELLED)
        one.execution.stop(Ending.RELEASED)
    assert running.result().ending == Ending.CANCELLED


async def test_what_is_stopped_before_its_start_never_starts() -> None:
    one = sh("echo hi")
    one.execution.stop(Ending.CANCELLED)
    result = await one.end()
    assert (result.ending, one.starting, one.read()) == (Ending.CANCELLED, 0, b"")


async def test_a_stop_after_the_end_changes_nothing() -> None:
    one = sh("exit 3")
    await one.end()
    one.execution.stop(Ending.CANCELLED)
    one.execution.kill()
    assert one.execution._result().ending == Ending.EXITED


async def test_cancelling_the_run_kills_the_tree(tmp_path: Path) -> None:
    one = sh(f"setsid sh -c 'echo $$ > {tmp_path}/pid; exec sleep 300' & wait")
    task = asyncio.create_task(one.end())
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert one.living() == []
    assert is_gone(pid_in(tmp_path / "pid"))


async def test_cancelling_the_run_during_the_fork_leaves_nothing() -> None:
    for turns in range(6):
        one = sh("sleep 300 & sleep 300")
        task = asyncio.create_task(one.end())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert one.living() == []


async def test_a_fork_bomb_is_killed_with_its_attempt() -> None:
    bomb = """
import os, signal, time
for _ in range(6):
    os.fork()
os.setsid() if os.getpid() != os.getsid(0) else None
time.sleep(300)
"""
    one = Run(PYTHON, "-S", "-c", bomb, timeout_s=1, kill_grace_s=0.1)
    result = await one.end()
    assert result.ending == Ending.TIMED_OUT
    assert one.living() == []


async def test_daemons_that_end_while_their_job_runs_leave_no_zombies(tmp_path: Path) -> None:
    others = set(tree.child_pids())  # servers of the test session
    one = sh(f"for i in 1 2 3 4 5 6 7 8; do (setsid true &); done; touch {tmp_path}/done; exec sleep 300")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(one.end())
        await until((tmp_path / "done").exists)
        await until(lambda: set(tree.child_pids()) - others == {one.started[0][0]})
        one.execution.kill()


async def test_a_job_that_deletes_its_folder_ends_as_it_says() -> None:
    result = await sh('rmdir "$PWD"; exit 4').end()
    assert (result.ending, result.exit_code) == (Ending.EXITED, 4)


async def test_each_attempt_has_an_empty_private_folder_that_is_removed() -> None:
    _, first = await run("sh", "-c", "pwd; ls -A; stat -c %a .; umask; mkdir -p a/b; touch a/b/c x; chmod 000 a")
    folder, mode, *_ = first.decode().split()
    assert mode == "700"
    assert not exists(folder)
    _, second = await run("sh", "-c", "ls -A")
    assert second == b""


async def test_a_folder_nested_deeper_than_any_path_is_removed() -> None:
    dig = "import os\nfor _ in range(1500):\n    os.mkdir('deeper'); os.chdir('deeper')\n"
    result = await Run(PYTHON, "-S", "-c", dig).end()
    assert result.exit_code == 0


async def test_a_folder_that_was_touched_serves_no_other_attempt() -> None:
    _, first = await run("sh", "-c", "pwd; touch x; rm x")
    _, second = await run("pwd")
    assert first != second


async def test_a_job_in_trouble_with_signals_from_its_worker_group_is_apart() -> None:
    _, out = await run("sh", "-c", "ps -o pid=,pgid=,sid= -p $$")
    pid, pgid, session = map(int, out.split())
    assert pid == pgid == session
    assert pgid != os.getpgid(0)


async def test_signals_are_not_ignored_by_inheritance() -> None:
    previous = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    try:
        _, out = await run("grep", "SigIgn", "/proc/self/status")
    finally:
        signal.signal(signal.SIGPIPE, previous)
    assert int(out.split()[1], 16) & (1 << (signal.SIGPIPE - 1)) == 0
