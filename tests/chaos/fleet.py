"""Relay's own processes in a chaos run: places where `relay serve` and `relay work` run, and are started again when they end.

A place does what a service manager does: it starts its process again a moment after it ended, however it ended. It also has own
proxies to PostgreSQL and Redis, so that one process can be cut off from a store that the others reach.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.dev import child, ports
from relay.process import tree
from tests.chaos.postgres_proxy import CommitProxy
from tests.chaos.proxy import Proxy
from tests.stack import processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.dev.child import Child
    from tests.chaos.network import Network
    from tests.chaos.stores import Stores

RESTART_S = 0.2
SABOTAGED = ("-m", "tests.chaos.worker", "--without")
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Exit:
    """A process has ended by itself or by a fault: when, and how (-N: signal N)."""

    at: float
    pid: int
    code: int


@dataclass(slots=True)
class Place:
    """One process of Relay, and its successors."""

    name: str
    argv: tuple[str, ...]
    environ: dict[str, str] = field(repr=False)
    folder: Path
    postgres: CommitProxy
    redis: Proxy
    api: str = ""
    before: tuple[str, ...] = ()
    exits: list[Exit] = field(default_factory=list)
    child: Child | None = None
    _may_start: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._may_start.set()

    @property
    def log(self) -> Path:
        """What all its processes have written."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The process that was started: of a worker its guard."""
        assert self.child is not None
        return self.child.pid

    @property
    def is_running(self) -> bool:
        """Whether there is a process now."""
        return self.child is not None and self.child.is_running

    @property
    def worker_pid(self) -> int | None:
        """The worker below the guard; None while there is none."""
        if self.child is None:
            return None
        below = [
            proc.pid for proc in tree.snapshot().values() if proc.ppid == self.child.pid and not tree.is_dead(proc)
        ]
        return next((pid for pid in sorted(below) if _is_worker(pid)), None)

    def start(self, **extra: str) -> None:
        """Start its process; `extra` is in the environment of this one only, not of its successors."""
        self.child = child.spawn(
            self.name, self.argv, cwd=self.folder, log=self.log, env={**self.environ, **extra}, before=self.before
        )

    def hold(self) -> None:
        """Don't start another when this process ends."""
        self._may_start.clear()

    def release(self) -> None:
        """Start another when this process has ended."""
        self._may_start.set()

    async def replace(self, **extra: str) -> None:
        """End the process at once and start another with `extra` in its environment."""
        self.hold()
        self.kill()
        await self.ended()
        self.start(**extra)
        self.release()

    def kill(self) -> None:
        """kill -9: of a worker itself, not the guard."""
        if self.child is not None:
            send(self.worker_pid or self.child.pid, signal.SIGKILL)

    def has_ended(self, pid: int) -> bool:
        """Whether this process of the place has ended."""
        return any(each.pid == pid for each in self.exits)

    async def ended(self) -> None:
        """Wait until there is no process."""
        if self.child is not None:
            async with asyncio.timeout(30):
                await self.child.ended()

    async def keep(self) -> None:
        """Start again what has ended, until cancelled."""
        while True:
            started = self.child
            if started is None:
                await asyncio.sleep(RESTART_S)
                continue
            code = await started.ended()
            self.exits.append(Exit(time.time(), started.pid, code))
            if self.child is started:
                self.child = None
            await asyncio.sleep(RESTART_S)
            await self._may_start.wait()
            if self.child is None:
                self.start()

    async def end(self) -> None:
        """Leave nothing of it."""
        self.hold()
        for pid in (self.worker_pid, self.child.pid if self.is_running and self.child else None):
            if pid is not None:
                send(pid, signal.SIGCONT)
        worker = self.worker_pid
        if worker is not None:
            send(worker, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await self.ended()
        if self.child is not None:
            self.child.kill()
        await self.postgres.stop()
        await self.redis.stop()


@dataclass(slots=True)
class Fleet:
    """All places."""

    serves: list[Place] = field(default_factory=list)
    works: list[Place] = field(default_factory=list)

    @property
    def all(self) -> list[Place]:
        """Each place."""
        return [*self.serves, *self.works]

    async def heal(self) -> None:
        """End what faults have done to the proxies, and let everything start."""
        for place in self.all:
            await place.postgres.heal()
            await place.redis.heal()
            place.release()

    async def end(self) -> None:
        """Leave nothing of it."""
        async with asyncio.TaskGroup() as group:
            for place in self.all:
                group.create_task(place.end())


async def make_place(
    *,
    role: str,
    name: str,
    folder: Path,
    stores: Stores,
    dsn: str,
    environ: Mapping[str, str],
    without: str = "",
    before: Sequence[str] = (),
    network: Network | None = None,
) -> Place:
    """A place for a `relay serve` or `relay work` (sabotaged when `without` says how), with proxies that listen."""
    hosts = [network.host(store) if network else ports.HOST for store in ("postgres", "redis")]
    to_postgres, to_redis = CommitProxy(stores.postgres.port, host=hosts[0]), Proxy(stores.redis.port, host=hosts[1])
    await to_postgres.start()
    await to_redis.start()
    own = {
        **processes.base_environ(),
        "RELAY_DB_DSN": _through(dsn, to_postgres),
        "RELAY_REDIS_ADDR": _through(stores.redis.url, to_redis),
        "RELAY_KAFKA_BROKERS": stores.kafka.proxy.address,
        **environ,
    }
    api = ""
    if role == "serve":
        own["RELAY_PORT"] = str(ports.free_port())
        api = f"http://{ports.HOST}:{own['RELAY_PORT']}"
    argv = [*processes.RELAY, role]
    if without:
        argv = [processes.RELAY[0], *SABOTAGED, without]
        own["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [own.get("PYTHONPATH")])])
    return Place(
        name, tuple(argv), own, folder, to_postgres, to_redis, api, before=network.before if network else tuple(before)
    )


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have ended."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped by a signal."""
    proc = tree.snapshot().get(pid)
    return proc is not None and proc.state == "T"


def _through(url: str, proxy: Proxy) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@{proxy.address}").geturl()


def _is_worker(pid: int) -> bool:
    return any(word in _command_line(pid) for word in ("relay.work", "tests.chaos.worker"))


def _command_line(pid: int) -> Sequence[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return ()
