"""The load: jobs of all kinds, submitted with idempotency keys until each is acknowledged.

A generator that gives up would hide a loss, so it never does: it sends the same job with the same key until it gets an answer that
settles it. What it sends follows from its random numbers alone, never from the answers, so a seed replays.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.chaos.journal import Acknowledged, CancelAcknowledged, Order, Sent, Surprise, now

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from tests.chaos.evidence import Folder
    from tests.chaos.journal import Journal

REQUEST_S = 10.0
AGAIN_S = 0.2
CANCEL_AFTER_S = 1.0
LOCKS = 3
MANY_RETRIES = 200  # lost workers use them up; only kinds that are about retries have few
KINDS: Mapping[str, int] = {
    "plain": 30,
    "printing": 15,
    "long": 10,
    "family": 10,
    "once": 10,
    "failing": 5,
    "at_most_once": 5,
    "chain": 5,
    "locked": 5,
    "delayed": 5,
    "cancelled": 5,
}
"""Kinds and their weights."""
LONG = frozenset({"long", "family", "at_most_once"})
SHORT_S = (0.01, 0.4)


def mean_s(long_s: float) -> float:
    """How long a job takes on average, of all kinds."""
    return sum(KINDS[kind] * (long_s if kind in LONG else sum(SHORT_S) / 2) for kind in KINDS) / sum(KINDS.values())


def spec_of(folder: Folder, order: Order, *, seconds: float) -> dict[str, object]:
    """The job spec of an order."""
    tag, kind = order.tag, order.kind
    spec = _job(folder, tag, plan=_PLANS.get(kind, "0"), seconds=seconds, lines=order.lines, kind=kind)
    if kind == "failing":
        spec |= {"max_retries": 1, "on_failure": _job(folder, f"{tag}.f0")}
    elif kind == "at_most_once":
        spec |= {"on_worker_lost": "fail"}
    elif kind == "chain":
        spec |= {"on_success": [_job(folder, f"{tag}.s0"), _job(folder, f"{tag}.s1", plan="once")]}
        spec |= {"on_failure": _job(folder, f"{tag}.f0")}
    elif kind == "locked":
        spec |= {"lock": _lock_of(tag)}
    elif kind in {"delayed", "cancelled"}:
        spec |= {"delay": "1s"}
    return spec


_PLANS = {"once": "once", "failing": "7"}


def _lock_of(tag: str) -> str:
    return f"lock-{sum(tag.encode()) % LOCKS}"


def _job(
    folder: Folder, tag: str, *, plan: str = "0", seconds: float = 0.05, lines: int = 0, kind: str = ""
) -> dict[str, object]:
    lock = _lock_of(tag) if kind == "locked" else ""
    family = "family" if kind == "family" else ""
    return {
        "name": kind or "child",
        "payload": {
            "command": str(folder.script),
            "args": [str(folder.path), tag, plan, f"{seconds:.3f}", str(lines), lock, family],
            "timeout": "10m",
            "kill_grace": "1s",
        },
        "max_retries": MANY_RETRIES,
        "backoff": {"strategy": "constant", "initial": "200ms"},
    }


class Load:
    """Submits jobs to any of the APIs. `kinds` narrows what is sent."""

    def __init__(
        self,
        apis: Callable[[], Sequence[str]],
        token: str,
        *,
        folder: Folder,
        journal: Journal,
        rng: random.Random,
        kinds: Mapping[str, int] = KINDS,
        long_s: float = 4.0,
        prefix: str = "job",
    ) -> None:
        self.sent = 0
        self._apis = apis
        self._headers = {"Authorization": f"Bearer {token}"}
        self._folder = folder
        self._journal = journal
        self._rng = rng
        self._kinds = kinds
        self._long_s = long_s
        self._prefix = prefix

    async def submit(self, count: int) -> None:
        """Submit so many jobs, some at a time, and return when all are acknowledged."""
        orders = [self._draw() for _ in range(count)]
        async with aiohttp.ClientSession(headers=self._headers) as session:
            for at in range(0, count, 16):
                async with asyncio.TaskGroup() as group:
                    for order, seconds in orders[at : at + 16]:
                        group.create_task(self._see_through(session, order, seconds))

    async def run(self, *, per_s: float, over: asyncio.Event) -> None:
        """Submit jobs at a steady rate until `over` is set, and return when all are acknowledged."""
        async with aiohttp.ClientSession(headers=self._headers) as session, asyncio.TaskGroup() as group:
            while not over.is_set():
                order, seconds = self._draw()
                group.create_task(self._see_through(session, order, seconds))
                await asyncio.sleep(1 / per_s)

    def _draw(self) -> tuple[Order, float]:
        self.sent += 1
        (kind,) = self._rng.choices(list(self._kinds), list(self._kinds.values()))
        lines = self._rng.choice([1, 10, 400]) if kind == "printing" else self._rng.randint(0, 2)
        seconds = self._long_s * self._rng.uniform(0.5, 1.5) if kind in LONG else self._rng.uniform(*SHORT_S)
        return Order(f"{self._prefix}-{kind}-{self.sent}", kind, lines), seconds

    async def _see_through(self, session: aiohttp.ClientSession, order: Order, seconds: float) -> None:
        """Send an order until it is acknowledged; cancel it later where it is of that kind."""
        self._journal.write(Sent(order, now()))
        spec = spec_of(self._folder, order, seconds=seconds)
        answer = await self._call(session, "/v1/jobs", order.tag, json=spec, headers={"Idempotency-Key": order.tag})
        if answer is None:
            return
        status, job = answer
        self._journal.write(Acknowledged(order.tag, job["id"], status == 200, now()))
        if order.kind == "cancelled":
            await asyncio.sleep(CANCEL_AFTER_S * (sum(order.tag.encode()) % 2))
            answer = await self._call(session, f"/v1/jobs/{job['id']}/cancel", order.tag, settled={409})
            if answer is not None and answer[0] == 202:
                self._journal.write(CancelAcknowledged(job["id"], answer[1]["status"], now()))

    async def _call(
        self,
        session: aiohttp.ClientSession,
        path: str,
        tag: str,
        *,
        settled: frozenset[int] | set[int] = frozenset(),
        **request: Any,
    ) -> tuple[int, dict[str, Any]] | None:
        """Call until it is settled: status and answer; None after an answer that must never be."""
        tries = 0
        while True:
            apis = self._apis()
            try:
                async with (
                    asyncio.timeout(REQUEST_S),
                    session.post(f"{apis[tries % len(apis)]}{path}", **request) as answer,
                ):
                    if answer.status in {200, 201, 202} | settled:
                        return answer.status, await answer.json()
                    if answer.status != 503 or "Retry-After" not in answer.headers:
                        self._journal.write(Surprise(tag, answer.status, (await answer.text())[:500], now()))
                        return None
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # it may have been accepted or not: the key makes sending it again harmless
            tries += 1
            await asyncio.sleep(AGAIN_S)
