"""Which Relay a database belongs to, and the one setting that all its processes must share.

The lease TTL is kept in the database because every proof of life and of death is counted in it: a rescuer with a shorter TTL
than a worker's would take jobs that still run. The first process sets it; another value stops the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay import errors
from relay.model import durations
from relay.store import queries

if TYPE_CHECKING:
    from uuid import UUID

    from relay.store.connection import Connection


@dataclass(frozen=True, slots=True)
class Cluster:
    """The identity of one Relay: names its keys in Redis and its groups in Kafka."""

    cluster_id: UUID
    lease_ttl_s: float | None
    """None until the first process has started."""


async def get_cluster(conn: Connection) -> Cluster:
    """Read the cluster's row. Raises BadConfig when it is gone."""
    row = await conn.fetchrow(queries.text("get_cluster"))
    if row is None:
        raise errors.BadConfig("the table 'cluster' has lost its row: restore it from the backup")
    return Cluster(row["cluster_id"], row["lease_ttl_s"])


async def agree_lease_ttl(conn: Connection, ttl_s: float) -> None:
    """Make sure that all processes use this lease TTL: set it first, or raise BadConfig when another one was set."""
    agreed = await conn.fetchval(queries.text("agree_lease_ttl"), ttl_s)
    if agreed is None:
        raise errors.BadConfig("the table 'cluster' has lost its row: restore it from the backup")
    if agreed != ttl_s:
        wanted, given = durations.format_duration(agreed), durations.format_duration(ttl_s)
        raise errors.BadConfig(
            f"RELAY_LEASE_TTL is {given}, but this cluster runs with {wanted}: use {wanted} "
            f"(to change it, stop all processes and set lease_ttl_s in the table cluster to null)"
        )
