"""The servers in containers, by testcontainers; used only where a Docker engine answers."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ENGINE_S = 20


@contextlib.contextmanager
def start() -> Iterator[tuple[str, str, str]]:
    """Start PostgreSQL, Redis and Kafka; the DSN, the Redis URL and the brokers."""
    _require_engine()
    # Imported late: testcontainers asks for a Docker engine as it is imported.
    from testcontainers.kafka import KafkaContainer  # noqa: PLC0415
    from testcontainers.postgres import PostgresContainer  # noqa: PLC0415
    from testcontainers.redis import RedisContainer  # noqa: PLC0415

    with (
        PostgresContainer("postgres:16", driver=None) as postgres,
        RedisContainer("redis:7") as redis,
        KafkaContainer("confluentinc/cp-kafka:7.9.0").with_kraft() as kafka,
    ):
        address = f"{redis.get_container_host_ip()}:{redis.get_exposed_port(6379)}"
        yield postgres.get_connection_url(), f"redis://{address}/0", kafka.get_bootstrap_server()


def _require_engine() -> None:
    docker = shutil.which("docker")
    answered = False
    if docker is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            argv = [docker, "info", "--format", "{{.ServerVersion}}"]
            answered = subprocess.run(argv, check=False, capture_output=True, timeout=ENGINE_S).returncode == 0
    if not answered:
        pytest.exit("--stack=containers needs a Docker engine, and none answers: use --stack=embedded", returncode=2)
