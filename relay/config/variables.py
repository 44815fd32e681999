"""The table of every variable that Relay reads: the one place to add a setting.

A variable's flag is its name without `RELAY_`, in lower case with dashes: `RELAY_DB_DSN` is `--db-dsn`. A secret may also
come from a file: `RELAY_DB_DSN_FILE`, `--db-dsn-file`. Variables that Relay itself gives to jobs are known too, so that a
`relay` command inside a job does not stop at its own environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from relay.config import values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROLES: Final = ("serve", "work", "migrate", "token", "doctor", "dev")
_ALL: Final = frozenset(ROLES)
_STORE_USERS: Final = frozenset({"serve", "work", "doctor"})
_SERVE: Final = frozenset({"serve", "doctor"})
_WORK: Final = frozenset({"work", "doctor", "dev"})


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting. `field`: its attribute in Settings, None for the CLI's own; `roles`: those that have its flag."""

    name: str
    field: str | None
    parse: Callable[[str], object]
    default: str | None
    help: str
    roles: frozenset[str] = _ALL
    is_secret: bool = False
    is_documented: bool = True

    @property
    def flag(self) -> str:
        """The parameter's name: `db_dsn` for `--db-dsn`."""
        return self.name.removeprefix("RELAY_").lower()


VARIABLES: Final = (
    Variable(
        "RELAY_DB_DSN",
        "db_dsn",
        values.postgres_url,
        None,
        "PostgreSQL: postgresql://USER:PASSWORD@HOST/DATABASE",
        _ALL - {"dev"},
        is_secret=True,
    ),
    Variable(
        "RELAY_KAFKA_BROKERS", "kafka_brokers", values.brokers, "localhost:9092", "Kafka's host:port,…", _STORE_USERS
    ),
    Variable(
        "RELAY_KAFKA_SECURITY_PROTOCOL",
        "kafka_security_protocol",
        values.security_protocol,
        "PLAINTEXT",
        "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
        _STORE_USERS,
    ),
    Variable(
        "RELAY_KAFKA_SASL_MECHANISM",
        "kafka_sasl_mechanism",
        values.sasl_mechanism,
        None,
        "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        _STORE_USERS,
    ),
    Variable("RELAY_KAFKA_SASL_USERNAME", "kafka_sasl_username", values.text, None, "Kafka's user", _STORE_USERS),
    Variable(
        "RELAY_KAFKA_SASL_PASSWORD",
        "kafka_sasl_password",
        values.secret,
        None,
        "Kafka's password",
        _STORE_USERS,
        is_secret=True,
    ),
    Variable(
        "RELAY_KAFKA_CA_FILE",
        "kafka_ca_file",
        values.text,
        None,
        "CA certificates that sign Kafka's (PEM)",
        _STORE_USERS,
    ),
    Variable(
        "RELAY_REDIS_ADDR",
        "redis_url",
        values.redis_url,
        "localhost:6379",
        "Redis: host:port, or redis://… or rediss://… (TLS)",
        _STORE_USERS,
        is_secret=True,
    ),
    Variable("RELAY_HOST", "host", values.host, "127.0.0.1", "address to listen on", _SERVE),
    Variable("RELAY_PORT", "port", values.port, "4000", "port to listen on", _SERVE),
    Variable(
        "RELAY_ALLOWED_HOSTS",
        "allowed_hosts",
        values.hosts,
        None,
        "accepted Host headers (default: loopback names and RELAY_HOST)",
        _SERVE,
    ),
    Variable("RELAY_TLS_CERT", "tls_cert", values.text, None, "certificate chain (PEM)", _SERVE),
    Variable("RELAY_TLS_KEY", "tls_key", values.text, None, "the certificate's private key (PEM)", _SERVE),
    Variable("RELAY_BEHIND_PROXY", "behind_proxy", values.switch, "false", "a proxy in front ends TLS", _SERVE),
    Variable(
        "RELAY_ENV",
        "env",
        values.environment,
        "development",
        "production: JSON logs, authentication required",
        _STORE_USERS,
    ),
    Variable("RELAY_AUTH", "auth", values.switch, "on", "off: no tokens; loopback and development only", _SERVE),
    Variable("RELAY_API", None, values.text, None, "the API's address, for the CLI", frozenset()),
    Variable("RELAY_TOKEN", None, values.secret, None, "the CLI's token", frozenset(), is_secret=True),
    Variable(
        "RELAY_CONCURRENCY", "concurrency", values.concurrency, None, "jobs at a time (default: 4 for each core)", _WORK
    ),
    Variable("RELAY_QUEUES", "queues", values.queues, "default", "queues to work on, separated by commas", _WORK),
    Variable(
        "RELAY_LEASE_TTL", "lease_ttl_s", values.duration, "15s", "the same in every process; at least 3s", _STORE_USERS
    ),
    Variable(
        "RELAY_DRAIN_TIMEOUT",
        "drain_timeout_s",
        values.duration,
        "60s",
        "how long running jobs may end after SIGTERM",
        _WORK,
    ),
    Variable(
        "RELAY_ALLOWED_COMMANDS",
        "allowed_commands",
        values.globs,
        None,
        "globs of absolute paths that jobs may run (default: any)",
        _WORK,
    ),
    Variable(
        "RELAY_RUN_AS", "run_as", values.text, None, "user that jobs run as (needs a worker started as root)", _WORK
    ),
    Variable(
        "RELAY_RETENTION", "retention_s", values.duration, "30d", "how long ended jobs and output are kept", _SERVE
    ),
    Variable("RELAY_MAX_BODY", "max_body_bytes", values.size, "1M", "largest request body", _SERVE),
    Variable("RELAY_MAX_BATCH", "max_batch_bytes", values.size, "64M", "largest body of POST /v1/jobs/batch", _SERVE),
    Variable(
        "RELAY_FAILPOINTS",
        "failpoints",
        values.text,
        None,
        "faults on purpose, for tests",
        frozenset(),
        is_documented=False,
    ),
)

GIVEN_TO_JOBS: Final = frozenset(
    f"RELAY_{name}"
    for name in (
        "JOB_ID", "ATTEMPT", "CLAIM", "QUEUE", "WORKER", "PARENT_ID", "PARENT_STATUS", "PARENT_EXIT_CODE",
    )
)  # fmt: skip


def known_names() -> Mapping[str, Variable | None]:
    """Every environment variable that may be set, and its row (None: one that jobs are given)."""
    names: dict[str, Variable | None] = dict.fromkeys(GIVEN_TO_JOBS)
    for variable in VARIABLES:
        names[variable.name] = variable
        if variable.is_secret:
            names[f"{variable.name}_FILE"] = variable
    return names
