"""Calls in separate steps: what the lease model puts between Relay's code and the real servers.

Whatever a worker or a rescuer asks of PostgreSQL or Redis becomes a `Call`. The model decides when the real statement or script
runs (`apply`), and when the asker hears of it (`answer`), or that it never does (`lose`: a timeout, a cut connection). What was
given up may still be applied later, and a call to Redis twice, as a client that retries makes it. So lost, late and doubled
messages, servers that are away and processes that are paused are all one thing: steps that are not taken yet.

Statements run one after the other. What happens when they overlap inside PostgreSQL is for the tests of the store.
"""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from relay import errors
from relay.lease import Leases, LeaseUnavailable
from relay.store import claims, finish, rescue, workers

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import ModuleType

    import pytest

    from relay.lease import Renewal
    from relay.lease.locks import Look
    from relay.store.connection import Connection
    from tests.integration.lease_model_redis import SimulatedRedis

T = TypeVar("T")
_STATEMENTS: tuple[tuple[ModuleType, str], ...] = (
    (claims, "claim"),
    (workers, "beat"),
    (workers, "list_running_claims"),
    (finish, "finish"),
    (rescue, "list_heartbeats"),
    (rescue, "list_suspects"),
    (rescue, "lose_attempts"),
    (rescue, "mark_lost"),
)


class FrozenLoop(asyncio.SelectorEventLoop):
    """Real sockets, but no timer ever fires: that a call takes too long is for the model to say."""

    def time(self) -> float:
        return 0.0

    @property
    def is_quiet(self) -> bool:
        """Whether every other task waits."""
        return not self._ready  # type: ignore[attr-defined]


async def settle() -> None:
    """Let all tasks run until each waits for a call."""
    loop = cast("FrozenLoop", asyncio.get_running_loop())
    while not loop.is_quiet:  # noqa: ASYNC110 - turns of the loop are what is waited for
        await asyncio.sleep(0)


class Store(Enum):
    """Where a call goes, and how it fails."""

    POSTGRESQL = auto()
    REDIS = auto()

    @property
    def failure(self) -> Exception:
        return errors.Unavailable() if self is Store.POSTGRESQL else LeaseUnavailable("it did not answer")


class Actor(Protocol):
    """Who calls. One that is not free hears no answers, and sends nothing."""

    @property
    def is_free(self) -> bool:
        """Whether its event loop runs."""


@dataclass(eq=False, slots=True)
class Call:
    """One request: sent; applied or not yet; answered or given up."""

    sender: Actor
    store: Store
    name: str
    run: Callable[[], Awaitable[object]]
    future: asyncio.Future[object]
    sent_ms: int
    is_applied: bool = False
    result: object = None


@dataclass(eq=False, slots=True)
class Wire:
    """All calls: those under way, those given up that may still be applied, and those to Redis that may be applied again."""

    conn: Connection
    now_ms: int = 0
    under_way: list[Call] = field(default_factory=list)
    stray: list[Call] = field(default_factory=list)
    has_written: bool = False

    async def send(self, sender: Actor, store: Store, name: str, run: Callable[[], Awaitable[T]]) -> T:
        """Ask, and wait until the model answers."""
        call = Call(sender, store, name, run, asyncio.get_running_loop().create_future(), self.now_ms)
        self.under_way.append(call)
        return cast("T", await call.future)

    def of(self, sender: Actor, name: str | None = None) -> list[Call]:
        """The calls that this one waits for, oldest first."""
        return [call for call in self.under_way if call.sender is sender and name in (None, call.name)]

    async def apply(self, call: Call) -> None:
        """Let the server take the call; again, if it has already."""
        call.result = await call.run()
        call.is_applied = True
        self.has_written |= call.store is Store.POSTGRESQL and not call.name.startswith("list_")

    async def answer(self, call: Call) -> None:
        """Let the sender hear of it."""
        self.under_way.remove(call)
        if call.store is Store.REDIS and call.name != "look":
            self.stray = [*self.stray[-5:], call]
        call.future.set_result(call.result)
        await settle()

    async def exchange(self, call: Call) -> None:
        """Apply and answer at once."""
        if not call.is_applied:
            await self.apply(call)
        await self.answer(call)

    async def lose(self, call: Call) -> None:
        """Let the sender give the call up; if it was not applied, it may yet be."""
        self.under_way.remove(call)
        if not call.is_applied and not call.name.startswith(("list_", "look")):
            self.stray = [*self.stray[-5:], call]
        call.future.set_exception(call.store.failure)
        await settle()

    async def apply_stray(self, call: Call) -> None:
        """Let a server take a call that nobody waits for."""
        self.stray.remove(call)
        await self.apply(call)

    def abandon(self, sender: Actor) -> None:
        """The sender is dead: it hears of nothing; what it has sent may still be applied."""
        for call in self.of(sender):
            self.under_way.remove(call)
            if not call.is_applied:
                self.stray.append(call)


class Site:
    """One process's way to PostgreSQL: a pool, and the connections that it lends."""

    def __init__(self, wire: Wire, sender: Actor) -> None:
        self.wire = wire
        self.sender = sender

    async def acquire(self) -> Site:
        return self

    async def release(self, _conn: Site, *, timeout: float) -> None:
        assert timeout > 0


def gate_statements(patch: pytest.MonkeyPatch) -> None:
    """Have the store's functions ask the wire, where they are called with a Site for a connection."""
    for module, name in _STATEMENTS:
        patch.setattr(module, name, _gated(name, getattr(module, name)))


def _gated(name: str, real: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    @functools.wraps(real)
    async def call(conn: object, *args: object, **kwargs: object) -> object:
        if not isinstance(conn, Site):
            return await real(conn, *args, **kwargs)
        wire = conn.wire
        return await wire.send(conn.sender, Store.POSTGRESQL, name, lambda: real(wire.conn, *args, **kwargs))

    return call


class GatedLeases(Leases):
    """One process's way to Redis."""

    def __init__(self, redis: SimulatedRedis, wire: Wire, sender: Actor) -> None:
        self.ttl_s = redis.ttl_s
        self._redis = redis
        self._wire = wire
        self._sender = sender

    async def acquire(self, pairs: Sequence[tuple[int, str]]) -> list[bool]:
        return await self._send("acquire", lambda: self._redis.acquire(pairs))

    async def renew(self, pairs: Sequence[tuple[int, str]]) -> list[Renewal]:
        return await self._send("renew", lambda: self._redis.renew(pairs))

    async def release(self, pairs: Sequence[tuple[int, str]], *, changed: Sequence[int] = ()) -> None:
        await self._send("release", lambda: self._redis.release(pairs, changed=changed))

    async def look(self, pairs: Sequence[tuple[int, str]]) -> Look:
        return await self._send("look", lambda: self._redis.look(pairs))

    async def publish_wake(self, _kind: str, _job_ids: Sequence[int]) -> None:
        """Wake-ups are no part of the protocol."""

    async def ping(self) -> None:
        """Always there: only calls that carry a claim matter."""

    async def _send(self, name: str, run: Callable[[], Awaitable[T]]) -> T:
        return await self._wire.send(self._sender, Store.REDIS, name, run)
