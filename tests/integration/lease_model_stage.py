"""Where the lease model plays: one event loop, one connection, and Relay's clocks and machine replaced by the world's."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from relay import config
from relay.maintenance import rescue
from relay.process import guard, link, run
from relay.worker import attempt, claimer, finisher, heart, trust
from tests.integration.lease_model import EVEN, Rates, World
from tests.integration.lease_model_calls import FrozenLoop, Store, gate_statements
from tests.stack import databases

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from typing import TypeVar

    from relay.config import Settings
    from relay.store.connection import Connection
    from tests.integration.lease_model_worker import Process
    from tests.stack import Stack

    T = TypeVar("T")


@dataclass
class Stage:
    """The world on it is the one whose time Relay's code sees."""

    runner: asyncio.Runner
    conn: Connection
    settings: Settings
    patch: pytest.MonkeyPatch
    world: World = field(init=False)

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        return self.runner.run(coroutine)

    def begin(self, *, rates: Rates = EVEN, healthy: Store | None = None, workers: int = 2, rescuers: int = 1) -> World:
        """Put a new world on."""
        self.world = World(self.conn, self.settings, rates=rates, healthy=healthy)
        self.run(self.world.begin(workers=workers, rescuers=rescuers))
        return self.world

    def end(self) -> None:
        self.run(self.world.close())


@contextmanager
def opened(stack: Stack) -> Iterator[Stage]:
    """A stage on a database of its own."""
    with asyncio.Runner(loop_factory=FrozenLoop) as runner, pytest.MonkeyPatch.context() as patch:
        name = runner.run(databases.create(stack.pg_admin_dsn))
        dsn = databases.dsn_of(stack.pg_admin_dsn, name)
        conn = runner.run(asyncpg.connect(dsn))
        stage = Stage(runner, conn, _settings(stack, dsn), patch)
        _replace_the_machine(stage)
        try:
            yield stage
        finally:
            runner.run(conn.close())
            runner.run(databases.drop(stack.pg_admin_dsn, name))


def _settings(stack: Stack, dsn: str) -> Settings:
    environ = {
        "RELAY_DB_DSN": dsn,
        "RELAY_KAFKA_BROKERS": stack.kafka_brokers,
        "RELAY_REDIS_ADDR": stack.redis_url,
        "RELAY_CONCURRENCY": "1",
        "RELAY_LEASE_TTL": "15s",
    }
    return config.load(environ, role="work")


def _replace_the_machine(stage: Stage) -> None:
    """Calls, clocks and processes become the world's; pauses before a retry become none."""
    gate_statements(stage.patch)
    clock = SimpleNamespace(clock_gettime_ns=lambda _: stage.world.boot_ns, CLOCK_BOOTTIME=None)
    stage.patch.setattr(trust, "now_ns", lambda: stage.world.boot_ns)
    stage.patch.setattr(guard, "_now_ns", lambda: stage.world.boot_ns)
    stage.patch.setattr(link, "time", clock)
    stage.patch.setattr(run, "Execution", _Executions(stage))
    stage.patch.setattr(claimer, "_RETRY_S", 0)
    stage.patch.setattr(finisher, "_RETRY_S", (0,))
    for module in (attempt, claimer, finisher, heart, rescue):
        stage.patch.setattr(module, "_log", Mute())


class _Executions:
    """Makes executions of the world that is on the stage by then."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(self, *args: Any, **kwargs: Any) -> Process:
        return self._stage.world.execution(*args, **kwargs)


class Mute:
    """A log of thousands of lost calls helps nobody."""

    def info(self, event: str, **facts: object) -> None:
        """Say nothing."""

    warning = exception = info
