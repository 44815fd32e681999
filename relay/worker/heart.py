"""The heart: proves that this worker lives, to PostgreSQL and to Redis, and hears from PostgreSQL what it should run.

Both proofs prolong trust (see `trust`), so neither store alone ends a job by failing; only after an hour without a heartbeat
does Redis no longer suffice. After each beat the worker's claims are compared with PostgreSQL's:
- PostgreSQL has one that the roster doesn't: reported lost, but only if no claim was in flight since the beat was sent.
- The roster has one that PostgreSQL doesn't, and its commit was known before: fenced, killed now.
- A cancellation was asked for: stopped. (The fast way is a wake-up through Redis; this is the sure one.)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors, log
from relay.lease import CANCEL, LeaseUnavailable, Renewal
from relay.model.results import Ending
from relay.store import rescue, workers
from relay.store.connection import connection
from relay.worker import trust
from relay.worker.roster import Claim, Phase
from relay.worker.watchdog import Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.process.link import GuardLink
    from relay.store.connection import Connection
    from relay.worker.aftermath import Aftermath
    from relay.worker.claimer import Claimer
    from relay.worker.drain import Drain
    from relay.worker.roster import Roster
    from relay.worker.stores import Stores

_log = log.get(__name__)
_REDIS_ALONE_NS = 60 * 60 * 1_000_000_000


class Forgotten(Exception):
    """PostgreSQL no longer knows this worker: it must start anew."""


class Heart:
    """Heartbeats, renewals and their consequences, for one worker."""

    def __init__(
        self,
        stores: Stores,
        roster: Roster,
        *,
        worker_id: int,
        terms: trust.Terms,
        claimer: Claimer,
        link: GuardLink,
        drain: Drain,
        aftermath: Aftermath,
    ) -> None:
        self._pool = stores.heart_pool
        self._leases = stores.leases
        self._roster = roster
        self._worker_id = worker_id
        self._terms = terms
        self._claimer = claimer
        self._link = link
        self._drain = drain
        self._aftermath = aftermath
        self.beating, self.renewing = Step("heartbeat"), Step("renewal")
        self._beaten_ns = trust.now_ns()
        self._is_beating = True
        self._is_renewing = True

    async def beat(self) -> None:
        """Beat every TTL/3 until cancelled; a beat that failed is tried again after TTL/15."""
        while True:
            try:
                with self.beating:
                    async with asyncio.timeout(self._terms.beat_s):
                        await self._beat_once()
            except (errors.Unavailable, TimeoutError) as error:
                if self._is_beating:
                    _log.warning("heartbeat.failed", error=str(error.__cause__ or error))
                self._is_beating = False
                await asyncio.sleep(self._terms.retry_s)
            else:
                if not self._is_beating:
                    _log.info("heartbeat.recovered")
                self._is_beating = True
                await asyncio.sleep(self._terms.beat_s)

    async def renew(self) -> None:
        """Renew all locks every TTL/3 until cancelled; a renewal that failed is tried again after TTL/15."""
        while True:
            with self.renewing:
                is_renewed = await self._renew_once()
            if is_renewed != self._is_renewing:
                self._is_renewing = is_renewed
                _log.warning("redis.recovered" if is_renewed else "redis.unreachable")
            await asyncio.sleep(self._terms.beat_s if is_renewed else self._terms.retry_s)

    async def watch_lapses(self) -> None:
        """Give up claims whose trust has passed, until cancelled. The guard enforces the same from outside."""
        while True:
            nearest_s = (self._give_up_lapsed() - trust.now_ns()) / 1e9
            await asyncio.sleep(max(0.02, min(1.0, nearest_s)))

    async def hear_cancels(self) -> None:
        """Stop jobs when a wake-up says that their cancellation was asked for, until cancelled."""
        async for _, job_ids in self._leases.listen([CANCEL]):
            held = {claim.facts.job_id for claim in self._roster}
            asked = [job_id for job_id in job_ids if job_id in held]
            if not asked:
                continue
            try:
                async with connection(self._pool) as conn:
                    stopped = await workers.list_cancelled_claims(conn, self._worker_id, asked)
            except errors.Unavailable:
                continue  # the next heartbeat's list has it
            for claim_id in stopped:
                self._stop(claim_id)

    async def _beat_once(self) -> None:
        epoch = None if self._claimer.is_claiming else self._claimer.epoch
        sent_ns = trust.now_ns()
        async with connection(self._pool) as conn:
            answer = await workers.beat(
                conn, self._worker_id, running=self._roster.taken, is_draining=self._drain.is_asked
            )
            if answer is None:
                raise Forgotten
            self._beaten_ns = sent_ns
            self._witness(list(self._roster), sent_ns)
            known = [claim for claim in self._roster if claim.phase is not Phase.FINISHING]
            held = await workers.list_running_claims(conn, self._worker_id)
            if epoch is not None and epoch == self._claimer.epoch:
                await self._report_lost(conn, [claim for claim in held if self._roster.get(claim.claim_id) is None])
        if answer.is_drain_requested:
            self._drain.ask()
        self._obey(known, held)

    def _give_up_lapsed(self) -> int:
        """Give up what has lapsed; return when the next claim will, if it is not prolonged (without one: in a second)."""
        now = trust.now_ns()
        nearest = now + 1_000_000_000
        for claim in self._roster:
            if claim.is_over or claim.phase is Phase.FINISHING:
                continue
            if claim.trusted_until_ns <= now:
                _log.warning("claim.lapsed", job_id=claim.facts.job_id, attempt=claim.facts.attempt)
                claim.give_up()
            nearest = min(nearest, claim.trusted_until_ns)
        return nearest

    def _obey(self, known: Sequence[Claim], held: Sequence[workers.RunningClaim]) -> None:
        in_postgres = {claim.claim_id for claim in held}
        for claim in known:
            if claim.facts.claim_id not in in_postgres and claim.phase is not Phase.FINISHING and not claim.is_over:
                _log.info("claim.fenced", job_id=claim.facts.job_id, attempt=claim.facts.attempt)
                claim.give_up()
        for running in held:
            if running.is_cancel_requested:
                self._stop(running.claim_id)

    async def _report_lost(self, conn: Connection, unknown: Sequence[workers.RunningClaim]) -> None:
        """Give back claims that were committed without this worker hearing of it, or that it has given up."""
        if not unknown:
            return
        _log.warning("claims.reported_lost", job_ids=[claim.job_id for claim in unknown])
        lost = await rescue.lose_attempts(conn, [rescue.LostClaim(each.job_id, each.claim_id) for each in unknown])
        self._aftermath.add_lost(lost)

    async def _renew_once(self) -> bool:
        pairs = [claim.pair for claim in self._roster] + list(self._claimer.witnessed)
        sent_ns = trust.now_ns()
        try:
            if not pairs:
                if not self._is_renewing:
                    await self._leases.ping()
                return True
            renewals = await self._leases.renew(pairs)
        except LeaseUnavailable:
            return False
        proven = [pair for pair, renewal in zip(pairs, renewals, strict=True) if renewal is not Renewal.HELD_BY_OTHER]
        if trust.now_ns() - self._beaten_ns < _REDIS_ALONE_NS:
            in_flight = self._claimer.witnessed
            in_flight.update((pair, max(sent_ns, in_flight[pair])) for pair in proven if pair in in_flight)
            self._witness([claim for _, claim_id in proven if (claim := self._roster.get(claim_id))], sent_ns)
        return True

    def _witness(self, claims: Sequence[Claim], sent_ns: int) -> None:
        prolonged = self._roster.prolong(claims, sent_ns)
        if prolonged:
            self._link.renewed(prolonged)

    def _stop(self, claim_id: str) -> None:
        claim = self._roster.get(claim_id)
        if claim is not None:
            claim.stop(Ending.CANCELLED)
