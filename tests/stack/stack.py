"""Which servers there are, and how each kind of them is started.

The servers of a test session live in one temporary folder and die with the test process, even when it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from relay.dev import postgres, redis_server, servers
from tests.stack import apache, containers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("embedded", "apache", "containers", "external")


@dataclass(frozen=True, slots=True)
class Stack:
    """The running servers; `pg_admin_dsn` is of a user who may create databases."""

    name: str
    pg_admin_dsn: str
    redis_url: str
    kafka_brokers: str


@contextlib.contextmanager
def start(name: str, folder: Path) -> Iterator[Stack]:
    """Start the servers of that name, and end them afterwards."""
    with {"embedded": embedded, "apache": apache_stack, "containers": container_stack, "external": external}[name](
        folder
    ) as running:
        yield running


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[Stack]:
    """PostgreSQL, Redis and Tansu from the wheels of the extra `dev`."""
    running = servers.start(folder, is_durable=False)
    try:
        asyncio.run(running.ready())
        yield Stack("embedded", running.postgres.dsn("postgres"), running.redis.url, running.broker.address)
    finally:
        running.kill()
        shutil.rmtree(running.postgres.folder, ignore_errors=True)  # it may lie outside the session's folder


@contextlib.contextmanager
def apache_stack(folder: Path) -> Iterator[Stack]:
    """Apache Kafka on a JVM, the system's Redis, and PostgreSQL from the wheel."""
    if shutil.which("redis-server") is None:
        pytest.exit("--stack=apache needs redis-server 7: apt-get install redis-server", returncode=2)
    libraries = apache.fetch_libraries()
    database = postgres.start(folder / "postgres", log=folder / "postgres.log", is_durable=False)
    redis = redis_server.start(folder, log=folder / "redis.log")
    kafka = apache.start(folder / "kafka", libraries)
    try:
        for server in (database, redis, kafka):
            asyncio.run(server.ready())
        yield Stack("apache", database.dsn("postgres"), redis.url, kafka.address)
    finally:
        for server in (database, redis, kafka):
            server.child.kill()


@contextlib.contextmanager
def container_stack(folder: Path) -> Iterator[Stack]:
    """The three servers in containers, where a Docker engine answers."""
    del folder
    with containers.start() as (dsn, redis_url, brokers):
        yield Stack("containers", dsn, redis_url, brokers)


@contextlib.contextmanager
def external(folder: Path) -> Iterator[Stack]:
    """Servers that run already. The tests make databases and topics there, and remove them again."""
    del folder
    names = ("RELAY_TEST_DB_DSN", "RELAY_TEST_REDIS_URL", "RELAY_TEST_KAFKA_BROKERS")
    missing = [name for name in names if not os.environ.get(name)]
    if missing:
        pytest.exit(f"--stack=external needs {', '.join(missing)}", returncode=2)
    yield Stack("external", *(os.environ[name] for name in names))
