"""What a service manager hears of `relay serve` and `relay work`, over a real socket: ready, status, alive, stopping."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from relay import notify
from relay.worker import watchdog
from relay.worker.drain import Drain
from relay.worker.roster import Roster
from relay.worker.trust import Terms
from tests.integration import manager as managers
from tests.stack import processes, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from relay.config import Settings
    from tests.integration.manager import Manager
    from tests.stack import StartCluster

IDLE = "running 0 of 4 slots; queues: default"


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[Manager]:
    """A service manager that listens, and whose watchdog is impatient."""
    with managers.listening(tmp_path / "notify") as listening:
        yield listening


async def silence(manager: Manager, *, for_s: float) -> None:
    """See that the watchdog is not fed for so long."""
    with pytest.raises(TimeoutError):
        await manager.wait("WATCHDOG", "1", within_s=for_s)


async def test_a_worker_says_ready_then_what_runs_and_at_the_end_that_it_stops(
    cluster: StartCluster, manager: Manager
) -> None:
    relay = await cluster(workers=0)
    worker = await relay.start_worker(environ={**manager.environ, "RELAY_DRAIN_TIMEOUT": "1s"})
    await until(lambda: manager.messages, what="the first message")
    assert manager.messages[0] == {"READY": "1", "STATUS": IDLE}
    job_id = await relay.submit({"payload": {"script": "env; exec sleep 60", "kill_grace": "3s"}})
    await manager.wait("STATUS", "running 1 of 4 slots; queues: default")
    worker.terminate()
    await until(lambda: manager.told("STOPPING") == ["1"], what="STOPPING=1")
    await manager.wait("STATUS", "draining: 1 running")
    assert await worker.ended() == 0
    assert manager.told("READY") == ["1"]
    assert manager.told("EXTEND_TIMEOUT_USEC") == ["34000000"]  # 1 s + 3 s + 30 s to kill and to record
    status, text = await relay.request("GET", f"/v1/jobs/{job_id}/logs")
    assert status == 200
    assert "RELAY_JOB_ID=" in text
    assert "NOTIFY_SOCKET" not in text
    assert "WATCHDOG" not in text


async def test_a_workers_watchdog_is_fed_when_idle_and_when_busy_and_not_when_it_stands_still(
    cluster: StartCluster, manager: Manager
) -> None:
    relay = await cluster(workers=0)
    worker = await relay.start_worker(environ=manager.environ)
    for _ in range(3):
        await manager.wait("WATCHDOG", "1", within_s=5)
    for _ in range(5):  # one more than there are slots
        await relay.submit({"payload": {"command": "sleep", "args": ["60"]}})
    await manager.wait("STATUS", "running 4 of 4 slots; queues: default")
    for _ in range(3):
        await manager.wait("WATCHDOG", "1", within_s=5)
    worker.suspend()
    manager.hear()
    await silence(manager, for_s=2)
    worker.resume()
    await manager.wait("WATCHDOG", "1", within_s=5)


async def test_a_worker_is_not_ready_without_postgresql(manager: Manager, tmp_path: Path, settings: Settings) -> None:
    environ = {
        **processes.base_environ(),
        **manager.environ,
        "RELAY_DB_DSN": "postgresql://nobody@127.0.0.1:1/none",
        "RELAY_REDIS_ADDR": settings.redis_url,
    }
    started = processes.spawn("work", "work", folder=tmp_path, environ=environ)
    await manager.wait("STATUS", "waiting for PostgreSQL")
    started.signal(15)
    async with asyncio.timeout(20):
        assert await started.ended() == 0
    assert manager.told("READY") == []


async def test_a_server_says_ready_where_it_serves_that_it_lives_and_that_it_stops(
    cluster: StartCluster, manager: Manager
) -> None:
    relay = await cluster(workers=0, environ=manager.environ)
    await until(lambda: manager.messages, what="the first message")
    assert manager.messages[0] == {"READY": "1", "STATUS": f"serving {relay.api}"}
    for _ in range(3):
        await manager.wait("WATCHDOG", "1", within_s=5)
    (server,) = relay.servers
    assert await server.stop() == 0
    manager.hear()
    assert manager.told("STOPPING") == ["1"]
    assert manager.told("STATUS")[-1] == "draining"


async def test_a_step_that_takes_too_long_starves_the_watchdog_until_it_ends(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "STALLED_S", 0.5)
    for name, value in manager.environ.items():
        monkeypatch.setenv(name, value)
    step = watchdog.Step("claim")
    told = watchdog.Watchdog([step], Roster(4, Terms(15)), Drain(), queues=("default",))
    async with asyncio.TaskGroup() as tasks:
        telling = tasks.create_task(told.serve())
        await manager.wait("WATCHDOG", "1")
        with step:
            await until(lambda: step.lasts_s > watchdog.STALLED_S, what="a stall")
            manager.hear()
            await silence(manager, for_s=1.5)
        await manager.wait("WATCHDOG", "1")
        telling.cancel()


async def test_without_a_service_manager_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify.is_heard()
    assert not notify.tell("READY=1")
    assert notify.watchdog_s({"WATCHDOG_USEC": "1000000"}) is None
    async with asyncio.timeout(1):
        await watchdog.Watchdog([], Roster(1, Terms(15)), Drain(), queues=()).serve()


def test_a_manager_that_is_gone_is_no_error(tmp_path: Path) -> None:
    assert not notify.tell("READY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "nobody")})


def test_a_full_socket_holds_nobody_up(tmp_path: Path) -> None:
    environ = {"NOTIFY_SOCKET": str(tmp_path / "full")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(environ["NOTIFY_SOCKET"])
        assert any(not notify.tell("WATCHDOG=1", environ=environ) for _ in range(10_000))


def test_an_abstract_socket_is_found_and_a_status_stays_one_line() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as receiver:
        receiver.bind("")  # the kernel picks an abstract address
        address = receiver.getsockname()
        assert notify.tell("READY=1", "STATUS=one\nMAINPID=1", environ={"NOTIFY_SOCKET": f"@{address[1:].decode()}"})
        assert receiver.recv(100) == b"READY=1\nSTATUS=one MAINPID=1"


@pytest.mark.parametrize(("text", "expected"), [("1500000", 1.5), ("", None), ("0", None), ("soon", None)])
def test_the_watchdogs_time_is_read_whoever_watchdog_pid_names(text: str, expected: float | None) -> None:
    environ = {"NOTIFY_SOCKET": "/run/n", "WATCHDOG_USEC": text, "WATCHDOG_PID": "1"}
    assert notify.watchdog_s(environ) == expected
