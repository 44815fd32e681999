"""The guard beside its worker: exits, signals, environments, the pipe between them, and what it costs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.process import guard, link
from tests.integration.guards import Guarded, guarded, line, spawn, state
from tests.stack.waiting import until

if TYPE_CHECKING:
    from tests.integration.guards import Spawn

__all__ = ["guarded", "spawn"]


async def test_the_guard_exits_as_the_worker_did(guarded: Guarded) -> None:
    family = await guarded.start("claim", size=5)
    await guarded.tell("leave", 7)
    assert await guarded.ended() == 7
    assert family.living == []


async def test_each_signal_reaches_the_worker_once(guarded: Guarded) -> None:
    hangup = () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else ("SIGHUP",)  # ignored under nohup, on purpose
    for name in ("SIGTERM", "SIGTERM", "SIGINT", *hangup):
        os.killpg(guarded.process.pid, signal.Signals[name])
        assert await guarded.line() == name
    assert await guarded.tell("end", "nothing") == "ended"


async def test_a_keyboards_stop_does_not_stop_the_guard(guarded: Guarded) -> None:
    os.killpg(guarded.process.pid, signal.SIGTSTP)
    os.kill(guarded.process.pid, signal.SIGTERM)
    assert await guarded.line() == "SIGTERM"
    assert state(guarded.process.pid) == "S"


async def test_the_worker_sees_at_once_that_the_guard_was_killed_and_can_kill_its_jobs(guarded: Guarded) -> None:
    family = await guarded.start("claim")
    killed_at = time.monotonic()
    os.kill(guarded.process.pid, signal.SIGKILL)
    assert await guarded.line() == "guard gone"
    assert time.monotonic() - killed_at < 1
    assert await guarded.line() == "killed 4"
    assert family.living == []


async def test_a_guard_that_does_not_read_counts_as_gone(guarded: Guarded) -> None:
    os.kill(guarded.process.pid, signal.SIGSTOP)
    assert await guarded.tell("flood") == "closed"
    assert await guarded.line() == "guard gone"


async def test_no_message_is_lost_when_the_pipe_is_full_for_a_while(guarded: Guarded) -> None:
    assert await guarded.tell("crowd", 8000) == "waited for room"
    family = await guarded.start("claim", ttl_ms=300)
    await family.dead(within_s=3)


async def test_nonsense_from_the_worker_ends_it(guarded: Guarded) -> None:
    family = await guarded.start("claim")
    await guarded.tell("babble")
    assert await guarded.ended() == 128 + signal.SIGKILL
    assert family.living == []


async def test_jobs_get_nothing_of_the_guards(guarded: Guarded) -> None:
    await guarded.start("claim")
    seen = json.loads(await guarded.tell("look"))
    assert guard.PIPE_VARIABLE not in seen["environ"]
    assert sorted(seen["job_fds"]) == ["0", "1", "2"]
    assert seen["session"] == seen["pid"] == guarded.worker


async def test_the_worker_gets_the_environment_that_the_guard_got(spawn: Spawn) -> None:
    process = await spawn("/bin/sh", "-c", 'echo "$NOTIFY_SOCKET"', NOTIFY_SOCKET="/run/notify")
    assert await line(process) == "/run/notify"
    assert await process.wait() == 0


async def test_the_guards_own_environment_holds_none_of_the_workers_secrets(spawn: Spawn) -> None:
    process = await spawn("/bin/sh", "-c", 'echo "$SECRET"; exec sleep 1000', SECRET="planted")
    assert await line(process) == "planted"

    guards = Path(f"/proc/{process.pid}")

    assert b"planted" not in (guards / "environ").read_bytes()
    assert "relay-environ" not in " ".join(str(each.readlink()) for each in (guards / "fd").iterdir())
    process.terminate()
    assert await process.wait() == 128 + signal.SIGTERM


async def test_a_worker_that_cant_be_run_is_127(spawn: Spawn) -> None:
    process = await spawn("/does/not/exist")
    assert await line(process) == "relay work: can't run /does/not/exist: No such file or directory"
    assert await process.wait() == 127


@pytest.mark.parametrize("value", ["", "no number", "987654", "a file's"])
def test_a_worker_without_a_guard_does_not_start(value: str) -> None:
    with Path(__file__).open() as file:
        environ = {guard.PIPE_VARIABLE: str(file.fileno()) if value == "a file's" else value}
        with pytest.raises(errors.BadConfig):
            link.GuardLink.from_environ(environ)
    assert environ == {}


async def test_the_guard_stays_small_and_idle_with_a_thousand_claims(guarded: Guarded) -> None:
    await guarded.tell("many", 1000)
    before = _cpu_s(guarded.process.pid)
    for _ in range(10):
        await guarded.tell("renew_many", 1000)
        await guarded.tell("end", "nothing")
    await until(lambda: _is_idle(guarded.process.pid))
    assert _resident_mb(guarded.process.pid) < 12
    assert (_cpu_s(guarded.process.pid) - before) / 10 / 5 < 0.002, "of a core, at a renewal every 5 s"


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def _cpu_s(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _is_idle(pid: int) -> bool:
    return state(pid) == "S"
