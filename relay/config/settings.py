"""What a process of Relay was told: one frozen record, made once at the start and handed down as an argument.

Durations are seconds and sizes bytes, as the names say. Its repr masks every secret, so it may appear in a log or in a
traceback.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.config import urls

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, repr=False)
class Settings:
    """Every setting of contract §5; a role uses those that concern it.

    `allowed_commands` empty: any command. `db_dsn` empty: only for roles that need no database (`relay dev`).
    `origins` says for each variable where its value came from: `default`, `environment`, `flag`, or `file PATH`.
    """

    db_dsn: str
    kafka_brokers: tuple[str, ...] = ("localhost:9092",)
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: str | None = None
    kafka_ca_file: str | None = None
    redis_url: str = "redis://localhost:6379"
    host: str = "127.0.0.1"
    port: int = 4000
    allowed_hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    tls_cert: str | None = None
    tls_key: str | None = None
    behind_proxy: bool = False
    env: str = "development"
    auth: bool = True
    concurrency: int = 4
    queues: tuple[str, ...] = ("default",)
    lease_ttl_s: float = 15.0
    drain_timeout_s: float = 60.0
    allowed_commands: tuple[str, ...] = ()
    run_as: str | None = None
    retention_s: float = 30 * 86400.0
    max_body_bytes: int = 1 << 20
    max_batch_bytes: int = 64 << 20
    failpoints: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = (f"{each.name}={_masked(each.name, getattr(self, each.name))!r}" for each in dataclasses.fields(self))
        return f"Settings({', '.join(shown)})"


def _masked(name: str, value: object) -> object:
    if name in {"db_dsn", "redis_url"} and isinstance(value, str):
        return urls.masked(value)
    return urls.MASK if name == "kafka_sasl_password" and value is not None else value
