"""The roster: the claims that this worker holds, until when it may run them, and how many more it can take.

A claim is on the roster from its commit until its finish is recorded, or until its processes are gone if it was given
up. What PostgreSQL counts as this worker's and the roster does not know is reported lost by the heart; so forgetting a
claim here is how a claim is given back.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING

from relay.worker import trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from relay.model.results import Ending
    from relay.process.output import Output
    from relay.process.run import Execution
    from relay.store.claims import Claimed


class Phase(Enum):
    """Where a claim is: before its process, with it, or after it."""

    STARTING = auto()
    RUNNING = auto()
    FINISHING = auto()


class Claim:
    """One job that this worker runs. `is_over`: trust has passed or PostgreSQL has fenced it; it will not be recorded."""

    __slots__ = ("asked", "execution", "facts", "grace_s", "is_over", "output", "phase", "trusted_until_ns")

    def __init__(self, facts: Claimed, trusted_until_ns: int) -> None:
        self.facts = facts
        self.trusted_until_ns = trusted_until_ns
        self.phase = Phase.STARTING
        self.is_over = False
        self.asked: Ending | None = None
        self.grace_s = 0.0
        self.execution: Execution | None = None
        self.output: Output | None = None

    @property
    def pair(self) -> tuple[int, str]:
        """Job id and claim id: what the lock in Redis is called, and whose it is."""
        return self.facts.job_id, self.facts.claim_id

    def stop(self, ending: Ending) -> None:
        """End its processes (TERM, grace, KILL); the attempt ends as `ending`. Asked before the start, it never starts."""
        self.asked = self.asked or ending
        if self.execution is not None:
            self.execution.stop(self.asked)

    def give_up(self) -> None:
        """End it for good: its processes are killed at once and nothing is recorded."""
        self.is_over = True
        if self.execution is not None:
            self.execution.kill()


class Roster:
    """All claims by claim id, and `slots`: how many attempts may run at once."""

    def __init__(self, slots: int, terms: trust.Terms) -> None:
        self.slots = slots
        self._terms = terms
        self._claims: dict[str, Claim] = {}
        self._taken = 0
        self._freed = asyncio.Event()
        self._freed.set()
        self._emptied = asyncio.Event()
        self._emptied.set()

    def __len__(self) -> int:
        return len(self._claims)

    def __iter__(self) -> Iterator[Claim]:
        return iter(list(self._claims.values()))

    def get(self, claim_id: str) -> Claim | None:
        """The claim of that id, if this worker holds it."""
        return self._claims.get(claim_id)

    def add(self, claim: Claim) -> None:
        """Take a committed claim in."""
        self._claims[claim.facts.claim_id] = claim
        self._emptied.clear()

    def remove(self, claim: Claim) -> None:
        """Forget a claim that is recorded, or given up with its processes gone."""
        self._claims.pop(claim.facts.claim_id, None)
        if not self._claims:
            self._emptied.set()

    async def wait_empty(self) -> None:
        """Wait until no claim is held."""
        await self._emptied.wait()

    @property
    def free(self) -> int:
        """Slots that can be taken now."""
        return self.slots - self._taken

    @property
    def taken(self) -> int:
        """Slots in use: being claimed, or running."""
        return self._taken

    def take(self, count: int) -> None:
        """Take slots; the caller has looked at `free`."""
        self._taken += count
        if self._taken >= self.slots:
            self._freed.clear()

    def give(self, count: int) -> None:
        """Give slots back."""
        self._taken -= count
        if self._taken < self.slots:
            self._freed.set()

    async def wait_free(self) -> None:
        """Wait until a slot is free."""
        await self._freed.wait()

    def prolong(self, claims: Iterable[Claim], sent_ns: int) -> dict[str, int]:
        """Prolong trust by a witness sent at `sent_ns`; return the new deadlines. Trust that has passed stays so."""
        until, now = self._terms.until_ns(sent_ns), trust.now_ns()
        prolonged = {}
        for claim in claims:
            if now < claim.trusted_until_ns < until and not claim.is_over:
                claim.trusted_until_ns = until
                prolonged[claim.facts.claim_id] = until
        return prolonged
