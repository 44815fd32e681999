"""Fixtures that all tests share: servers, a fresh database, settings, a pool, whole clusters.

`stack` lasts for the session and starts on first use; a test that needs no server starts none. `--stack=apache` has another Kafka
and Redis, but the same PostgreSQL: it runs the tests whose fixtures reach Kafka or Redis, and no others a second time.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from relay import config
from relay.store import connection
from tests import stack as stacks
from tests.stack import databases, topics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from relay.config import Settings

# What reaches Kafka or Redis: the stack's own, or a test's.
OTHER_SERVERS = {"cluster", "kafka", "own_kafka", "own_redis", "relay", "server", "stage"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--stack", choices=stacks.NAMES, default="embedded", help="the servers to test against")
    parser.addoption("--full-length", action="store_true", help="tests/chaos: outages of minutes, gigabytes of output")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what would be the same again."""
    if config.getoption("--stack") == "apache":
        again = [item for item in items if _differs_on_apache(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(again)])
        items[:] = again


def _differs_on_apache(item: pytest.Item) -> bool:
    if item.path.parent.name not in {"unit", "integration", "e2e"}:
        return True
    used = set(getattr(item, "fixturenames", ()))
    return bool(used & OTHER_SERVERS) and item.get_closest_marker("once") is None


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[stacks.Stack]:
    """The servers, with a migrated template database in PostgreSQL."""
    with stacks.start(request.config.getoption("--stack"), tmp_path_factory.mktemp("servers")) as running:
        asyncio.run(databases.create_template(running.pg_admin_dsn))
        yield running
        asyncio.run(databases.drop(running.pg_admin_dsn, databases.TEMPLATE))


@pytest.fixture
async def db(stack: stacks.Stack) -> AsyncIterator[str]:
    """The DSN of a fresh migrated database."""
    name = await databases.create(stack.pg_admin_dsn)
    yield databases.dsn_of(stack.pg_admin_dsn, name)
    await databases.drop(stack.pg_admin_dsn, name)


@pytest.fixture
async def kafka(stack: stacks.Stack) -> AsyncIterator[str]:
    """Kafka's brokers; Relay's topics are removed afterwards."""
    yield stack.kafka_brokers
    await topics.remove_all(stack.kafka_brokers)


@pytest.fixture
def settings(stack: stacks.Stack, db: str, kafka: str) -> Settings:
    """Settings of a process of Relay that works on the fresh database."""
    environ = {
        "RELAY_DB_DSN": db,
        "RELAY_KAFKA_BROKERS": kafka,
        "RELAY_REDIS_ADDR": stack.redis_url,
        "RELAY_CONCURRENCY": "4",
    }
    return config.load(environ, role="work")


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[connection.Pool]:
    """A pool on the fresh database."""
    opened = await connection.open_pool(settings, application="relay test", size=8)
    yield opened
    await opened.close()


@pytest.fixture
async def cluster(settings: Settings, tmp_path: Path) -> AsyncIterator[stacks.StartCluster]:
    """Start a Relay of real processes: `relay = await cluster(workers=2)`. All are killed after the test."""
    starter = stacks.StartCluster(settings, tmp_path)
    yield starter
    await starter.kill_all()
