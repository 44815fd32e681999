"""Alive, ready, and measured: `/healthz`, `/readyz`, `/metrics`.

Alive means that this process answers. Ready means that submits are accepted: PostgreSQL answers and has this code's schema.
Redis or Kafka away is degraded, not down: jobs take the slow way, and taking this server out of service would help nobody.
The parts are looked at no more than once a second, however many ask, since asking needs no token.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from relay import errors, lease
from relay.api import answers, metrics
from relay.store import migrate

if TYPE_CHECKING:
    from relay.api.call import Call, Parts

LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Health:
    """What each part was seen to be: 'up', 'down', or for the schema what is wrong with it."""

    postgresql: str
    schema: str
    redis: str
    kafka: str

    @property
    def status(self) -> str:
        """'ready', 'degraded' or 'unavailable'."""
        if (self.postgresql, self.schema) != ("up", "current"):
            return "unavailable"
        return "ready" if (self.redis, self.kafka) == ("up", "up") else "degraded"


class Looks:
    """The last look at the parts, shared by all who ask within `LOOK_S`."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._last = Health("down", "unknown", "down", "down")
        self._until = 0.0

    async def get(self, parts: Parts) -> Health:
        """Look, unless somebody just has."""
        async with self._lock:
            if time.monotonic() >= self._until:
                (postgresql, schema), redis = await _look_at_database(parts), await _look_at_redis(parts)
                self._last = Health(postgresql, schema, redis, "up" if parts.publisher.is_up else "down")
                self._until = time.monotonic() + LOOK_S
            return self._last


async def healthz(_call: Call) -> web.Response:
    """Answer that this process is alive."""
    return answers.as_json({"status": "ok"})


async def readyz(call: Call) -> web.Response:
    """Answer whether jobs are accepted, and each part's state."""
    health = await call.parts.looks.get(call.parts)
    members = {
        "status": health.status,
        "postgresql": health.postgresql,
        "schema": health.schema,
        "redis": health.redis,
        "kafka": health.kafka,
    }
    is_down = health.status == "unavailable"
    return answers.as_json(members, status=503 if is_down else 200, headers={"Retry-After": "1"} if is_down else None)


async def get_metrics(call: Call) -> web.Response:
    """Answer Prometheus' text format; without the database, what is known without it."""
    health = await call.parts.looks.get(call.parts)
    parts_up = {name: getattr(health, name) == "up" for name in ("postgresql", "redis", "kafka")}
    counts, fenced = None, None
    with contextlib.suppress(errors.Unavailable):
        counts, fenced = await call.parts.numbers.live_counts(call.parts)
    body = metrics.render(
        parts_up, counts, streams=call.parts.readers.count, fenced=fenced, maintenance=call.parts.maintenance
    )
    return web.Response(body=body, headers={**answers.HEADERS, "Content-Type": CONTENT_TYPE_LATEST})


async def _look_at_database(parts: Parts) -> tuple[str, str]:
    try:
        async with asyncio.timeout(2), parts.connection() as conn:
            await migrate.check_schema(conn)
    except errors.BadConfig:
        return "up", "other than this code's: run 'relay migrate' of the same version"
    except (errors.Unavailable, TimeoutError):
        return "down", "unknown"
    return "up", "current"


async def _look_at_redis(parts: Parts) -> str:
    try:
        await parts.leases.ping()
    except lease.LeaseUnavailable:
        return "down"
    return "up"
