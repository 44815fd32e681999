"""The guard, with a real worker (`guarded.py`) and real process trees below it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay import errors
from relay.process import guard, link, tree
from tests.stack.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Spawn = Callable[..., Awaitable[asyncio.subprocess.Process]]

ROOT = Path(__file__).parents[2]


class Guarded:
    """A guard with its worker: `tell` the worker what to do."""

    def __init__(self, process: asyncio.subprocess.Process, worker: int, folder: Path) -> None:
        self.process = process
        self.worker = worker
        self._folder = folder

    async def tell(self, *words: object) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(words).encode() + b"\n")
        return await self.line()

    async def line(self) -> str:
        return await _line(self.process)

    async def start(self, claim_id: str, *, ttl_ms: int = 60_000, size: int = 4, cgroup: Path | None = None) -> Family:
        file = self._folder / claim_id
        file.touch()
        answer = await self.tell("start", claim_id, ttl_ms, str(file), size, cgroup and str(cgroup))
        pids = await until(lambda: _numbers(file, size), what="the family's pids")
        return Family({pid: tree.start_time(pid) for pid in pids}, deadline_ns=int(answer))

    async def ended(self, *, within_s: float = 5) -> int:
        async with asyncio.timeout(within_s):
            return await self.process.wait()


class Family:
    """A job's processes, known by pid and start time."""

    def __init__(self, starts: dict[int, int | None], *, deadline_ns: int) -> None:
        self.starts = starts
        self.deadline_ns = deadline_ns

    @property
    def living(self) -> list[int]:
        procs = tree.snapshot()
        return [
            pid
            for pid, start in self.starts.items()
            if start and pid in procs and procs[pid].start == start and not tree.is_dead(procs[pid])
        ]

    async def dead(self, *, within_s: float) -> None:
        await until(lambda: not self.living, within_s=within_s, what="the end of the whole family")


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    """Start a guard on a command; it is gone when the test is over."""
    started: list[asyncio.subprocess.Process] = []

    async def start(*argv: str, **environ: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            f"from relay.process import link; link.exec_guard({argv!r})",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        procs = tree.snapshot()
        if process.returncode is None and process.pid in procs:
            tree.signal_each([procs[process.pid]], signal.SIGCONT)
            tree.signal_each(tree.descendants(process.pid, procs=procs), signal.SIGKILL)
        async with asyncio.timeout(5):
            await process.wait()
        process._transport.close()  # type: ignore[attr-defined]  # asyncio offers no other way to close the pipes


@pytest.fixture
async def guarded(spawn: Spawn, tmp_path: Path) -> Guarded:
    process = await spawn(sys.executable, "-m", "tests.integration.guarded")
    return Guarded(process, int(await _line(process)), tmp_path)


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(40):
        return (await process.stdout.readline()).decode().rstrip()


def _numbers(file: Path, count: int) -> list[int] | None:
    lines = file.read_text().split()
    return [int(line) for line in lines] if len(lines) == count else None


def _state(pid: int) -> str:
    return tree.snapshot()[pid].state


async def test_a_killed_worker_takes_every_process_of_its_jobs_along_within_a_second(guarded: Guarded) -> None:
    one, other = await guarded.start("one", size=5), await guarded.start("other", size=5)
    os.kill(guarded.worker, signal.SIGKILL)
    await one.dead(within_s=1)
    await other.dead(within_s=1)
    assert await guarded.ended() == 128 + signal.SIGKILL


async def test_a_stopped_workers_jobs_die_at_their_deadline_and_the_worker_stays(guarded: Guarded) -> None:
    family = await guarded.start("claim", ttl_ms=1000, size=5)
    os.kill(guarded.worker, signal.SIGSTOP)
    assert len(family.living) == 5
    await family.dead(within_s=4)
    assert time.clock_gettime_ns(time.CLOCK_BOOTTIME) >= family.deadline_ns
    os.kill(guarded.worker, signal.SIGCONT)
    assert await guarded.tell("end", "claim") == "ended"


async def test_a_deadline_ends_its_own_claim_only(guarded: Guarded) -> None:
    staying = await guarded.start("staying")
    ending = await guarded.start("ending", ttl_ms=500)
    await ending.dead(within_s=3.5)
    assert len(staying.living) == 4


async def test_renewals_move_deadlines_and_only_forward(guarded: Guarded) -> None:
    renewed = await guarded.start("renewed", ttl_ms=1000)
    await guarded.tell("renew", 60_000, "renewed", "unknown")
    await guarded.tell("renew", 1, "renewed")
    later = await guarded.start("later", ttl_ms=1000)
    await later.dead(within_s=4)
    assert len(renewed.living) == 4


async def test_a_deadline_that_has_passed_can_no_longer_be_moved(guarded: Guarded) -> None:
    family = await guarded.start("claim", ttl_ms=1500)
    os.kill(guarded.process.pid, signal.SIGSTOP)
    await until(lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) > family.deadline_ns)
    await guarded.tell("renew", 60_000, "claim")
    assert len(family.living) == 4
    os.kill(guarded.process.pid, signal.SIGCONT)
    await family.dead(within_s=3)


async def test_a_deadline_between_starting_and_started_ends_the_worker_and_all_its_jobs(guarded: Guarded) -> None:
    family = await guarded.start("other")
    await guarded.tell("announce", "claim", 300)
    os.kill(guarded.worker, signal.SIGSTOP)
    assert await guarded.ended(within_s=3) == 128 + signal.SIGKILL
    assert family.living == []


async def test_a_claim_that_has_ended_has_no_deadline(guarded: Guarded) -> None:
    ended = await guarded.start("ended", ttl_ms=1000)
    running = await guarded.start("running")
    await guarded.tell("end", "ended")
    await guarded.tell("announce", "unforked", 1000)
    await guarded.tell("end", "unforked")
    other = await guarded.start("other", ttl_ms=1000)
    await other.dead(within_s=4)
    assert len(ended.living) == len(running.living) == 4
    assert await guarded.tell("renew", 1, "ended") == "renewed"


async def test_a_start_after_the_deadline_is_refused(guarded: Guarded) -> None:
    assert await guarded.tell("announce", "claim", 0) == "refused"


async def test_an_attempts_own_cgroup_is_killed_as_well(guarded: Guarded, tmp_path: Path) -> None:
    kill = tmp_path / "group of its own" / "cgroup.kill"
    kill.parent.mkdir()
    kill.touch()
    family = await guarded.start("claim", ttl_ms=300, cgroup=kill.parent)
    await family.dead(within_s=3)
    await until(lambda: kill.read_text() == "1", what="a 1 in cgroup.kill")


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
    assert _state(guarded.process.pid) == "S"


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
    assert await _line(process) == "/run/notify"
    assert await process.wait() == 0


async def test_the_guards_own_environment_holds_none_of_the_workers_secrets(spawn: Spawn) -> None:
    process = await spawn("/bin/sh", "-c", 'echo "$SECRET"; exec sleep 1000', SECRET="planted")
    assert await _line(process) == "planted"

    guards = Path(f"/proc/{process.pid}")

    assert b"planted" not in (guards / "environ").read_bytes()
    assert "relay-environ" not in " ".join(str(each.readlink()) for each in (guards / "fd").iterdir())
    process.terminate()
    assert await process.wait() == 128 + signal.SIGTERM


async def test_a_worker_that_cant_be_run_is_127(spawn: Spawn) -> None:
    process = await spawn("/does/not/exist")
    assert await _line(process) == "relay work: can't run /does/not/exist: No such file or directory"
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
    return _state(pid) == "S"
