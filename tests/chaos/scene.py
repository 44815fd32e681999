"""One chaos run's world: stores behind proxies, Relay's processes, the load's folder and journal, and notes of what was done to them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import aiohttp
import asyncpg

from relay.process import tree
from relay.store import tokens
from tests.chaos import evidence
from tests.chaos.fleet import Fleet, Place, make_place, send
from tests.chaos.journal import Journal
from tests.stack import processes
from tests.stack.waiting import until

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.evidence import Line
    from tests.chaos.network import Network
    from tests.chaos.stores import Stores

READY_S = 30.0
GONE_S = 20.0


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was killed: when, its pid, the claims it ran, and how soon no process of these was left (None: not looked at)."""

    fault: str
    at: float
    worker_pid: int
    claims: frozenset[str]
    gone_s: float | None


@dataclass(frozen=True, slots=True)
class Note:
    """A fault, from its beginning to its end."""

    fault: str
    detail: str
    began: float
    ended: float


@dataclass(slots=True)
class Scene:
    """Everything that a fault can hurt, and everything that the checker reads."""

    stores: Stores
    fleet: Fleet
    folder: evidence.Folder
    journal: Journal
    dsn: str = field(repr=False)
    token: str = field(repr=False)
    ttl_s: float
    kills: list[Kill] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    held_twice: list[str] = field(default_factory=list)

    @property
    def felled(self) -> list[Kill]:
        """Deaths of workers that ran jobs."""
        return [kill for kill in self.kills if kill.claims]

    def apis(self) -> list[str]:
        """The addresses of all `relay serve`."""
        return [place.api for place in self.fleet.serves]

    async def ready(self) -> None:
        """Wait until every API accepts jobs and every worker is known."""
        for place in self.fleet.serves:
            await until(partial(_is_ready, place), within_s=READY_S, what=f"{place.name} ready")
        for place in self.fleet.works:
            await self.ready_at(place)

    async def staffed(self) -> None:
        """Wait until a worker is known at every place, however often it must be started."""

        async def look() -> bool:
            pids = [place.worker_pid for place in self.fleet.works]
            rows = await self.query("SELECT pid FROM workers WHERE pid = ANY($1)", [pid for pid in pids if pid])
            return len(rows) >= len(pids)

        await until(look, within_s=READY_S, what="a worker at every place")

    async def ready_at(self, place: Place) -> None:
        """Wait until this worker is known."""
        await until(partial(self._is_registered, place), within_s=READY_S, what=f"{place.name} known")

    async def _is_registered(self, place: Place) -> bool:
        assert place.child is None or place.child.is_running, f"{place.name} has ended: {place.log.read_text()[-800:]}"
        pid = place.worker_pid
        connection = await asyncpg.connect(self.dsn)
        try:
            return bool(pid and await connection.fetchval("SELECT true FROM workers WHERE pid = $1", pid))
        finally:
            await connection.close()

    async def kill(self, place: Place, fault: str, pids: Collection[int], *, is_watched: bool = True) -> Kill | None:
        """kill -9 these processes of a worker at once, and see how soon its jobs' processes are gone. None: no worker ran."""
        worker_pid = place.worker_pid
        if worker_pid is None:
            return None
        jobs = tree.descendants(worker_pid, procs=tree.snapshot())
        claims = frozenset(claim for each in jobs if (claim := tree.claim_of(each.pid)))
        at, began = time.time(), time.monotonic()
        for pid in pids:
            send(pid, signal.SIGKILL)
        gone_s = None
        if is_watched:
            await until(
                lambda: not processes.still_running(jobs), within_s=GONE_S, what="the end of all jobs' processes"
            )
            gone_s = time.monotonic() - began
        self.kills.append(Kill(fault, at, worker_pid, claims, gone_s))
        return self.kills[-1]

    async def lose(self, place: Place) -> None:
        """Take a worker away with its guard and all that it ran, as when its machine is gone."""
        worker_pid = place.worker_pid
        if worker_pid is None:
            return
        send(place.pid, signal.SIGSTOP)
        send(worker_pid, signal.SIGSTOP)
        jobs = tree.descendants(worker_pid, procs=tree.snapshot())
        claims = frozenset(claim for each in jobs if (claim := tree.claim_of(each.pid)))
        at = time.time()
        await asyncio.to_thread(tree.sweep, claims)
        for pid in (place.pid, worker_pid):
            send(pid, signal.SIGKILL)
        self.kills.append(Kill("lose_host", at, worker_pid, claims, None))

    async def started(self, count: int, *, within_s: float = READY_S) -> list[Line]:
        """Wait until so many attempts have started: their lines."""

        def look() -> list[Line] | None:
            starts = [line for line in self.folder.lines() if line.what == "start"]
            return starts if len(starts) >= count else None

        return await until(look, within_s=within_s, what=f"{count} started attempts")

    async def said(self, what: str, *, within_s: float = READY_S) -> Line:
        """Wait until a job has said this: the line."""

        def look() -> Line | None:
            return next((line for line in self.folder.lines() if line.what == what), None)

        return await until(look, within_s=within_s, what=what)

    async def query(self, statement: str, *values: object) -> list[asyncpg.Record]:
        """Ask the tables, past all proxies."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *values))
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def noted(self, fault: str, detail: str = "") -> AsyncIterator[None]:
        """Note a fault that lasts for a block."""
        began = time.time()
        try:
            yield
        finally:
            self.notes.append(Note(fault, detail, began, time.time()))


@contextlib.asynccontextmanager
async def on(
    running: Stores,
    folder: Path,
    *,
    serves: int = 1,
    works: int = 2,
    ttl_s: float = 3.0,
    concurrency: int = 8,
    without: str = "",
    before: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    network: Network | None = None,
) -> AsyncIterator[Scene]:
    """Start Relay on these stores, keep it running for a block, and leave nothing of it. `without` sabotages the workers.

    `before` are the words of a program that prepares something for a worker and then executes the words that follow (`unshare …`).
    With a `network` the first worker runs there.
    """
    await running.heal()
    dsn = await running.new_database()
    own = {"RELAY_LEASE_TTL": f"{ttl_s:g}s", "RELAY_CONCURRENCY": str(concurrency), **(environ or {})}
    written = evidence.Folder(folder / "evidence")
    written.make()
    scene = Scene(running, Fleet(), written, Journal(folder / "journal"), dsn, await _token(dsn), ttl_s)
    try:
        of_works = _OfWorks(without, before, network)
        await _start(scene, folder, serves=serves, works=works, environ=own, of_works=of_works)
        await scene.ready()
        async with _kept(scene.fleet):
            yield scene
    finally:
        await scene.fleet.end()
        scene.journal.close()
        tree.kill_round(
            [tree.Target(line.claim_id) for line in written.lines()]
        )  # a test may have switched the guard off


@dataclass(frozen=True, slots=True)
class _OfWorks:
    """What is special about a scene's workers: see `on`."""

    without: str
    before: Sequence[str]
    network: Network | None


async def _start(
    scene: Scene, folder: Path, *, serves: int, works: int, environ: Mapping[str, str], of_works: _OfWorks
) -> None:
    for role, count, places in (("serve", serves, scene.fleet.serves), ("work", works, scene.fleet.works)):
        for number in range(1, count + 1):
            place = await make_place(
                role=role,
                name=f"{role}-{number}",
                folder=folder,
                stores=scene.stores,
                dsn=scene.dsn,
                environ=environ,
                without=of_works.without if role == "work" else "",
                before=of_works.before if role == "work" else (),
                network=of_works.network if (role, number) == ("work", 1) else None,
            )
            places.append(place)
            place.start()


@contextlib.asynccontextmanager
async def _kept(fleet: Fleet) -> AsyncIterator[None]:
    """Start again, for a block, whatever of the fleet ends."""
    async with asyncio.TaskGroup() as group:
        keeping = [group.create_task(place.keep()) for place in fleet.all]
        try:
            yield
        finally:
            for task in keeping:
                task.cancel()


def pick(places: list[Place], rng: random.Random) -> Place:
    """One that runs, if any does."""
    return rng.choice([place for place in places if place.is_running] or places)


async def _token(dsn: str) -> str:
    connection = await asyncpg.connect(dsn)
    try:
        return (await tokens.create_token(connection, "chaos", scope="admin", actor="cli:chaos"))[1]
    finally:
        await connection.close()


async def _is_ready(place: Place) -> bool:
    assert place.child is None or place.child.is_running, f"{place.name} has ended: {place.log.read_text()[-800:]}"
    try:
        async with aiohttp.ClientSession() as session, session.get(f"{place.api}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False
