"""Parsers of single values: text from the environment, a flag or a file in; a typed value out.

Each raises ValueError whose message continues the sentence "RELAY_X …", and which never repeats a secret.
"""

from __future__ import annotations

import os
import re

from relay.config import urls
from relay.model import durations, sizes

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})
_QUEUE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_HOST = re.compile(r"[A-Za-z0-9_.:-]+")
_SECURITY_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_SASL_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_POSTGRES = frozenset({"postgres", "postgresql"})
_REDIS = frozenset({"redis", "rediss"})


def text(value: str) -> str:
    """Any printable text."""
    if not value.isprintable():
        raise ValueError("contains a control character")
    return value


def secret(value: str) -> str:
    """Any text at all."""
    return value


def switch(value: str) -> bool:
    """`true` or `false`, `on` or `off`, `yes` or `no`, `1` or `0`."""
    word = value.lower()
    if word not in _ON | _OFF:
        raise ValueError(f"is {value!r}, but must be true or false")
    return word in _ON


def port(value: str) -> int:
    """A TCP port, 1 to 65535."""
    return _whole_number(value, low=1, high=65535)


def concurrency(value: str) -> int:
    """A number of slots."""
    return _whole_number(value, low=1, high=10_000)


def duration(value: str) -> float:
    """Seconds of `15s`, `1h30m` or `30d`."""
    try:
        return durations.parse_duration(value)
    except ValueError as error:
        raise ValueError(f"is {value!r}, but {error}") from None


def size(value: str) -> int:
    """Bytes of `1M` or a plain number of bytes."""
    try:
        return sizes.parse_size(value)
    except ValueError as error:
        raise ValueError(f"is {value!r}, but {error}") from None


def postgres_url(value: str) -> str:
    """A PostgreSQL address."""
    return urls.repaired(value, schemes=_POSTGRES, what="a URL like postgresql://USER:PASSWORD@HOST:5432/DATABASE")


def redis_url(value: str) -> str:
    """A Redis address: `host:port`, or a `redis://` or `rediss://` (TLS) URL."""
    if "://" in value:
        return urls.repaired(value, schemes=_REDIS, what="a URL like redis://:PASSWORD@HOST:6379/0")
    if "@" in value:
        raise ValueError("has a password, so it needs the form redis://:PASSWORD@HOST:6379")
    return f"redis://{urls.check_host_port(value)}"


def brokers(value: str) -> tuple[str, ...]:
    """Kafka's `host:port`, separated by commas."""
    return tuple(urls.check_host_port(each) for each in _listed(value))


def security_protocol(value: str) -> str:
    """How Kafka is spoken to."""
    return _one_of(value.upper(), _SECURITY_PROTOCOLS)


def sasl_mechanism(value: str) -> str:
    """How Kafka is shown the password."""
    return _one_of(value.upper(), _SASL_MECHANISMS)


def environment(value: str) -> str:
    """`development` or `production`."""
    return _one_of(value.lower(), ("development", "production"))


def host(value: str) -> str:
    """A host name or address, without a port."""
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    if not _HOST.fullmatch(bare) or (":" in bare and bare.count(":") < 2):
        raise ValueError(f"is {value!r}, but must be a host name or an address (the port is RELAY_PORT)")
    return bare.lower()


def hosts(value: str) -> frozenset[str]:
    """Host names, separated by commas; `*` is any."""
    return frozenset(each if each == "*" else host(each) for each in _listed(value))


def queues(value: str) -> tuple[str, ...]:
    """Queue names, separated by commas; the same one twice counts once."""
    for each in _listed(value):
        if not _QUEUE.fullmatch(each):
            raise ValueError(
                f"names the queue {each!r}, but a name is 1 to 63 of a-z, 0-9, _ and -, not beginning with _ or -"
            )
    return tuple(dict.fromkeys(_listed(value)))


def globs(value: str) -> tuple[str, ...]:
    """Patterns of absolute paths, separated by commas or colons."""
    patterns = tuple(each for part in _listed(value) for each in part.split(os.pathsep) if each)
    for each in patterns:
        if not each.startswith("/") or ".." in each.split("/"):
            raise ValueError(f"has the pattern {each!r}, but each must be an absolute path without '..'")
    return patterns


def default_concurrency() -> int:
    """Four slots for each core that this process may use."""
    return 4 * len(os.sched_getaffinity(0))


def _listed(value: str) -> list[str]:
    parts = [part.strip() for part in value.split(",")]
    if not all(parts):
        raise ValueError("has an empty element: separate the elements with single commas")
    return parts


def _one_of(value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"is {value!r}, but must be one of {', '.join(choices)}")
    return value


def _whole_number(value: str, *, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value) or not low <= int(value) <= high:
        raise ValueError(f"is {value!r}, but must be a whole number from {low} to {high}")
    return int(value)
