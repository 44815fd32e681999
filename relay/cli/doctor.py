"""`relay doctor`: each setting, where it came from, and whether what it names answers.

Secrets are masked. The checks use what the roles use (`store`, `lease`, `bus`), each with a deadline of its own, all at once.
Exit code 0: all answer; 1: something does not; 78: the configuration itself is wrong.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from relay import config
from relay.cli import database, settings, tables, terminal
from relay.cli.options import find_endpoint, open_client
from relay.cli.tables import Column
from relay.errors import BadConfig, RelayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from relay.client import Endpoint
    from relay.config import Settings, Variable

_CHECK_S = 10.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked, and what was found."""

    what: str
    is_good: bool
    detail: str


@click.command()
@settings.options("doctor")
def doctor(**flags: object) -> int:
    """Show the configuration, where each value came from, and whether what it names answers."""
    loaded = settings.load("doctor", flags)
    documented = [variable for variable in config.VARIABLES if variable.is_documented]
    tables.write(_columns(loaded, find_endpoint()), documented)
    sys.stdout.write("\n")
    sys.stdout.flush()
    findings: Sequence[Finding] = database.run(_check_all(loaded))
    tables.write(_FINDING_COLUMNS, findings)
    return 0 if all(finding.is_good for finding in findings) else 1


def _columns(loaded: Settings, endpoint: Endpoint) -> Sequence[Column[Variable]]:
    return (
        Column("SETTING", lambda variable: variable.name),
        Column("VALUE", lambda variable: _found(variable, loaded, endpoint)[0], is_long=True),
        Column("ORIGIN", lambda variable: _found(variable, loaded, endpoint)[1]),
    )


def _found(variable: Variable, loaded: Settings, endpoint: Endpoint) -> tuple[str, str]:
    """A setting's value as it is shown, and its origin; address and token are the ones that commands would use."""
    from relay.config import urls  # noqa: PLC0415 - only this command needs it

    if variable.name == "RELAY_API":
        return endpoint.api, endpoint.api_origin
    if variable.name == "RELAY_TOKEN":
        return urls.MASK if endpoint.token else "", endpoint.token_origin
    return _shown(variable, loaded), loaded.origins.get(variable.name, "default")


_FINDING_COLUMNS: Sequence[Column[Finding]] = (
    Column("CHECK", lambda finding: finding.what),
    Column("STATE", lambda finding: "ok" if finding.is_good else "FAILED"),
    Column("DETAIL", lambda finding: finding.detail, is_long=True),
)


def _shown(variable: Variable, loaded: Settings) -> str:
    """A setting's value, as its variable would be written; secrets masked."""
    from relay.config import urls  # noqa: PLC0415 - only this command needs it
    from relay.model import durations, sizes  # noqa: PLC0415 - likewise

    value = getattr(loaded, str(variable.field))
    if value is None or value == ():
        return ""
    if variable.is_secret:
        return urls.masked(value) if "://" in value else urls.MASK
    if str(variable.field).endswith("_s"):
        return durations.format_duration(value)
    if str(variable.field).endswith("_bytes"):
        return sizes.format_size(value)
    if isinstance(value, (tuple, frozenset)):
        return ",".join(sorted(value) if isinstance(value, frozenset) else value)
    return _switch(variable, is_on=value) if isinstance(value, bool) else str(value)


def _switch(variable: Variable, *, is_on: bool) -> str:
    """A switch in its variable's own words: `on` and `off` where its default is one of them, else `true` and `false`."""
    if variable.default in {"on", "off"}:
        return "on" if is_on else "off"
    return "true" if is_on else "false"


async def _check_all(loaded: Settings) -> list[Finding]:
    import asyncio  # noqa: PLC0415 - slow to import, and not needed for help

    checks: dict[str, Callable[[Settings], Awaitable[str]]] = {
        "PostgreSQL": _postgres,
        "Redis": _redis,
        "Kafka": _kafka,
        "API": _api,
    }
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_checked(what, check, loaded)) for what, check in checks.items()]
    return [task.result() for task in tasks]


async def _checked(what: str, check: Callable[[Settings], Awaitable[str]], loaded: Settings) -> Finding:
    import asyncio  # noqa: PLC0415 - slow to import, and not needed for help

    try:
        async with asyncio.timeout(_CHECK_S):
            return Finding(what, True, await check(loaded))
    except RelayError as error:
        return Finding(what, False, error.detail)
    except Exception as error:  # noqa: BLE001 - whatever a library raises is what this command is to find out
        return Finding(what, False, terminal.shown(database.reason(error)))


async def _postgres(loaded: Settings) -> str:
    from relay.store import cluster, migrate  # noqa: PLC0415 - asyncpg is slow to import

    async with database.connected(loaded) as conn:
        version = conn.get_server_version()
        await migrate.check_schema(conn)
        row = await cluster.get_cluster(conn)
    if row.lease_ttl_s not in (None, loaded.lease_ttl_s):
        raise BadConfig(
            f"RELAY_LEASE_TTL is {loaded.lease_ttl_s:g}s here, but {row.lease_ttl_s:g}s in this cluster: use that"
        )
    return f"version {version.major}.{version.minor}, schema up to date, cluster {row.cluster_id}"


async def _redis(loaded: Settings) -> str:
    from uuid import UUID  # noqa: PLC0415 - likewise

    from relay.lease import Leases  # noqa: PLC0415 - redis is slow to import

    leases = Leases(loaded.redis_url, cluster_id=UUID(int=0), ttl_s=loaded.lease_ttl_s)  # a ping touches no key
    try:
        await leases.ping()
    finally:
        await leases.close()
    return "answers"


async def _kafka(loaded: Settings) -> str:
    from aiokafka.client import AIOKafkaClient  # noqa: PLC0415 - slow to import

    from relay.bus import connecting  # noqa: PLC0415 - likewise

    client = AIOKafkaClient(**connecting.options(loaded))
    try:
        await client.bootstrap()
        count = len(client.cluster.brokers())
        return f"{count} broker{'' if count == 1 else 's'}"
    finally:
        await client.close()


async def _api(_loaded: Settings) -> str:
    endpoint = find_endpoint()
    async with open_client(endpoint) as client:
        await client.jobs([], limit=1)
    return f"{endpoint.api} answers, and takes the token"
