"""A rescuer whose clock stands still between looks: a full TTL passes in steps of one look. Nothing else is unreal.

Test files import the fixtures `scene`, `blind` and `worker_id`.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from relay.lease import Leases
from relay.maintenance.announce import Announcer
from relay.maintenance.rescue import Rescuer
from relay.maintenance.state import State
from relay.store import workers
from tests.integration import seeding, working

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from relay.config import Settings
    from relay.model.records import JobRef
    from relay.store.claims import Claimed
    from relay.store.connection import Connection, Pool


TTL_S = 15.0


NOWHERE = "redis://127.0.0.1:1"


@dataclass
class Published:
    """Keeps what is published."""

    refs: list[JobRef] = field(default_factory=list)

    def publish(self, refs: Sequence[JobRef]) -> None:
        self.refs += refs


@dataclass
class Scene:
    """A rescuer whose clock stands still between looks."""

    rescuer: Rescuer
    leases: Leases
    published: Published
    state: State
    now: float = 1000.0

    async def look(self, *, for_s: float = 0.0, step_s: float = 1.0) -> None:
        """Look once, and then every `step_s` until `for_s` have passed."""
        await self.rescuer.look()
        end = self.now + for_s
        while self.now < end:
            self.now += step_s
            await self.rescuer.look()


def scene_of(pool: Pool, leases: Leases) -> Scene:
    published, state = Published(), State()
    rescuer = Rescuer(pool, leases, Announcer(pool, leases, published), state, clock=lambda: made.now)
    made = Scene(rescuer, leases, published, state)
    return made


@pytest.fixture
async def scene(pool: Pool, settings: Settings) -> AsyncIterator[Scene]:
    leases = Leases(settings.redis_url, cluster_id=uuid.uuid4(), ttl_s=TTL_S)
    yield scene_of(pool, leases)
    await leases.close()


@pytest.fixture
async def blind(pool: Pool) -> AsyncIterator[Scene]:
    """A rescuer that can't reach Redis."""
    leases = Leases(NOWHERE, cluster_id=uuid.uuid4(), ttl_s=TTL_S)
    yield scene_of(pool, leases)
    await leases.close()


@pytest.fixture
async def worker_id(conn: Connection) -> int:
    return await working.register(conn)


async def running(conn: Connection, worker_id: int, **spec: object) -> Claimed:
    return await working.claim_one(conn, worker_id, await seeding.insert_one(conn, **spec))


async def status(conn: Connection, job_id: int) -> str:
    return str(await conn.fetchval("SELECT status FROM jobs WHERE id = $1", job_id))


async def beat(conn: Connection, worker_id: int) -> None:
    assert await workers.beat(conn, worker_id, running=1, is_draining=False)
