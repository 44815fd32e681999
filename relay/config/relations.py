"""How settings must go together. Each rule yields the whole sentence that a user gets, beginning with the variable's name.

Only what concerns the role is asked for: `relay migrate` does not mind that jobs would run as a user it can't become.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from relay.config.settings import Settings

_LONGEST_LEASE_S = 600.0
_SHORTEST_RETENTION_S = 10
_SMALLEST_BODY = 1024


def faults(settings: Settings, *, role: str) -> Iterator[str]:
    """Every rule that these settings break for this role, as one sentence each."""
    if not settings.db_dsn and role != "dev":
        yield "RELAY_DB_DSN is required: postgresql://USER:PASSWORD@HOST:5432/DATABASE (or RELAY_DB_DSN_FILE)"
    yield from _limits(settings)
    if role in {"serve", "doctor"}:
        yield from _listening(settings)
    if role in {"serve", "work", "doctor"}:
        yield from _kafka(settings)
    if role in {"work", "dev"}:
        yield from _run_as(settings)
    if settings.failpoints and settings.env == "production":
        yield "RELAY_FAILPOINTS must not be set in production"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_wildcard(host: str) -> bool:
    """Whether `host` means every address of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _limits(settings: Settings) -> Iterator[str]:
    if not 3 <= settings.lease_ttl_s <= _LONGEST_LEASE_S:
        yield f"RELAY_LEASE_TTL is {settings.lease_ttl_s:g}s, but must be from 3s to 10m"
    if settings.retention_s < _SHORTEST_RETENTION_S:
        yield f"RELAY_RETENTION is {settings.retention_s:g}s, but must be at least {_SHORTEST_RETENTION_S}s"
    if settings.max_body_bytes < _SMALLEST_BODY:
        yield "RELAY_MAX_BODY must be at least 1K"


def _listening(settings: Settings) -> Iterator[str]:
    loopback = is_loopback(settings.host)
    if not settings.auth and not loopback:
        yield f"RELAY_AUTH=off works on loopback only, and RELAY_HOST is {settings.host}"
    if not settings.auth and settings.env == "production":
        yield "RELAY_AUTH=off does not work with RELAY_ENV=production"
    if bool(settings.tls_cert) != bool(settings.tls_key):
        yield "RELAY_TLS_CERT and RELAY_TLS_KEY must be set together"
    elif not settings.tls_cert and not loopback and not settings.behind_proxy:
        yield (
            f"RELAY_TLS_CERT and RELAY_TLS_KEY are needed to listen on {settings.host}: tokens would cross the network in "
            "the clear (if a proxy in front ends TLS, set RELAY_BEHIND_PROXY=true)"
        )
    yield from _readable("RELAY_TLS_CERT", settings.tls_cert)
    yield from _readable("RELAY_TLS_KEY", settings.tls_key)


def _kafka(settings: Settings) -> Iterator[str]:
    sasl = {
        "RELAY_KAFKA_SASL_MECHANISM": settings.kafka_sasl_mechanism,
        "RELAY_KAFKA_SASL_USERNAME": settings.kafka_sasl_username,
        "RELAY_KAFKA_SASL_PASSWORD": settings.kafka_sasl_password,
    }
    protocol = settings.kafka_security_protocol
    for name, value in sasl.items():
        if protocol.startswith("SASL_") and value is None:
            yield f"{name} is needed with RELAY_KAFKA_SECURITY_PROTOCOL={protocol}"
        if not protocol.startswith("SASL_") and value is not None:
            yield f"{name} is set, but RELAY_KAFKA_SECURITY_PROTOCOL is {protocol}: use SASL_SSL"
    if settings.kafka_ca_file is not None and not protocol.endswith("SSL"):
        yield f"RELAY_KAFKA_CA_FILE is set, but RELAY_KAFKA_SECURITY_PROTOCOL is {protocol}: use SSL or SASL_SSL"
    yield from _readable("RELAY_KAFKA_CA_FILE", settings.kafka_ca_file)


def _run_as(settings: Settings) -> Iterator[str]:
    if settings.run_as is None:
        return
    if os.geteuid() != 0:
        yield "RELAY_RUN_AS needs a worker started as root"
    try:
        _entry(settings.run_as)
    except (KeyError, ValueError):  # ValueError: more digits than Python reads
        yield f"RELAY_RUN_AS is {settings.run_as!r}, but this machine has no such user"


def _entry(user: str) -> pwd.struct_passwd:
    """Look a user up as `relay.process.users` will, which lies above: by name or decimal id. Raises KeyError."""
    return pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)


def _readable(name: str, path: str | None) -> Iterator[str]:
    if path is not None and not (Path(path).is_file() and os.access(path, os.R_OK)):
        yield f"{name} is {path}, which can't be read"
