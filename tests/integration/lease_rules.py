"""Rules of the lease protocol, each as the way to drop it and the trace that it forbids.

The traces are the shortest that an exhaustive search of the protocol's state space found for each rule that was dropped, retold
step by step for a TTL of 15 s. A rule is dropped by changing the statement or the method that holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.process import link
from relay.store import queries
from relay.worker import trust
from relay.worker.claimer import Claimer
from relay.worker.roster import Roster
from tests.integration.lease_model_redis import SimulatedRedis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pytest

    from relay.lease.locks import Look
    from relay.process.link import GuardLink
    from relay.process.tree import Start
    from relay.worker.roster import Claim
    from tests.integration.lease_model_script import Script

    Rule = tuple[Callable[[pytest.MonkeyPatch], None], Callable[[Script], None]]


def beats_hidden_from_claims(patch: pytest.MonkeyPatch) -> None:
    """A claim is a witness, and leaves the worker's counter alone."""
    change_statement(patch, "claim_jobs", "hb_seq = hb_seq + 1", "hb_seq = hb_seq")


def a_silent_worker_claims(script: Script) -> None:
    """A10: the rescuer has counted this worker's silence for half a TTL when it claims, without Redis."""
    script.rescuer_looks(for_s=7)
    script.claim(has_lock=False)
    script.start()
    script.rescuer_looks(for_s=8)
    script.second_worker_claims_and_starts()


def trust_that_revives(patch: pytest.MonkeyPatch) -> None:
    """A witness prolongs trust that has passed, for the worker and for its guard."""

    def prolong(roster: Roster, claims: Iterable[Claim], sent_ns: int) -> dict[str, int]:
        until = roster._terms.until_ns(sent_ns)
        for claim in claims:
            claim.trusted_until_ns = max(until, claim.trusted_until_ns)
        return {claim.facts.claim_id: claim.trusted_until_ns for claim in claims}

    patch.setattr(Roster, "prolong", prolong)


def a_renewal_arrives_between_look_and_write(script: Script) -> None:
    """F4: the lock is missing when the rescuer looks, then re-created by a worker whose trust had passed and which starts late."""
    script.claim(has_lock=False)
    script.rescuer_looks(for_s=14)
    script.send_renewal()
    script.rescuer_looks(for_s=1, until="lose_attempts")
    script.renewal_arrives()
    script.start()
    script.rescuer_writes()
    script.second_worker_claims_and_starts()


def guard_told_after_the_fork(patch: pytest.MonkeyPatch) -> None:
    """The worker checks the deadline, forks, and only then tells its guard."""
    started = link.GuardLink.started
    deadlines: dict[str, int] = {}

    def check(_: GuardLink, claim_id: str, deadline_ns: int) -> None:
        if trust.now_ns() >= deadline_ns:
            raise link.StartRefused
        deadlines[claim_id] = deadline_ns

    def tell(own: GuardLink, claim_id: str, pid: int, start: Start, *, cgroup: str | None = None) -> None:
        own._send(f"starting {claim_id} {deadlines[claim_id]}\n")
        started(own, claim_id, pid, start, cgroup=cgroup)

    patch.setattr(link.GuardLink, "starting", check)
    patch.setattr(link.GuardLink, "started", tell)


def a_pause_before_the_fork(script: Script) -> None:
    """A3: the worker stops between its check and the fork for as long as a rescue takes."""
    script.claim(has_lock=False)
    script.come_to_the_fork()
    script.rescuer_looks(for_s=15)
    script.fork()
    script.second_worker_claims_and_starts()


def run_id_ignored(patch: pytest.MonkeyPatch) -> None:
    """The sentinel alone says whether Redis is the same."""
    look = SimulatedRedis.look

    async def without(redis: SimulatedRedis, pairs: Sequence[tuple[int, str]]) -> Look:
        return (await look(redis, pairs))._replace(run_id="the same")

    patch.setattr(SimulatedRedis, "look", without)


def redis_is_replaced(script: Script) -> None:
    """A4: only the lock keeps the attempt; then Redis starts from a copy that has the sentinel and not the lock."""
    script.claim()
    script.start()
    script.rescuer_looks(for_s=9)
    script.renew()
    script.rescuer_looks(for_s=6)
    script.redis_becomes_a_stale_copy()
    script.rescuer_looks()
    script.second_worker_claims_and_starts()


def writes_without_hb_seq(patch: pytest.MonkeyPatch) -> None:
    """A rescue's write names the claim only."""
    change_statement(
        patch, "lose_claims", "AND (claim.hb_seq IS NULL OR claim.hb_seq = coalesce(worker.hb_seq, -1))", ""
    )


def a_heartbeat_arrives_between_look_and_write(script: Script) -> None:
    """C4: the rescuer has seen silence and pauses; a heartbeat arrives; the lock, no longer renewed, runs out."""
    script.claim()
    script.start()
    script.rescuer_looks(for_s=9)
    script.renew()
    script.rescuer_looks(for_s=6, until="look")
    script.time_passes(2)
    script.beat()
    script.time_passes(7)
    script.rescuer_looks_on()
    script.second_worker_claims_and_starts()


def reports_claims_in_flight(patch: pytest.MonkeyPatch) -> None:
    """The heart reports what it does not know, whether a claim is on its way or not."""
    patch.setattr(Claimer, "epoch", property(lambda _: 0, lambda _, __: None), raising=False)
    patch.setattr(Claimer, "is_claiming", property(lambda _: False, lambda _, __: None), raising=False)


def a_heartbeat_overtakes_a_claim(script: Script) -> None:
    """A15: the claim is committed, its answer is not there yet, and a heartbeat lists it."""
    script.send_claim()
    script.beat()
    script.claim_is_answered()
    script.start()
    script.second_worker_claims_and_starts()


RULES: dict[str, Rule] = {
    "a claim is a heartbeat": (beats_hidden_from_claims, a_silent_worker_claims),
    "trust never revives": (trust_that_revives, a_renewal_arrives_between_look_and_write),
    "the guard hears starting": (guard_told_after_the_fork, a_pause_before_the_fork),
    "run_id is in the sentinel": (run_id_ignored, redis_is_replaced),
    "the write names hb_seq": (writes_without_hb_seq, a_heartbeat_arrives_between_look_and_write),
    "nothing in flight is reported": (reports_claims_in_flight, a_heartbeat_overtakes_a_claim),
}


def change_statement(patch: pytest.MonkeyPatch, stem: str, sound: str, broken: str) -> None:
    text = queries.text
    assert text(stem).count(sound) == 1
    patch.setattr(queries, "text", lambda name: text(name).replace(sound, broken) if name == stem else text(name))
