"""Traces of the lease model, written as a story: one worker (the first), one rescuer, and a second worker that takes over.

A step that the protocol has made impossible (starting what was given up, claiming what still runs) does nothing, so that the same
trace can be told with and without a rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tests.integration.lease_model_calls import Store, settle
from tests.integration.lease_model_moves import flow
from tests.integration.lease_model_worker import State

if TYPE_CHECKING:
    from tests.integration.lease_model_calls import Actor, Call
    from tests.integration.lease_model_stage import Stage


class Script:
    """Tells one trace on a new world, whose guards act as late as they may."""

    def __init__(self, stage: Stage, *, healthy: Store | None = None) -> None:
        self._stage = stage
        self._healthy = healthy

    def __enter__(self) -> Self:
        self.world = self._stage.begin(healthy=self._healthy)
        self._worker, self._second = self.world.workers
        (self._rescuer,) = self.world.rescuers
        self.rescuer_looks(for_s=20)  # the sentinel has been there for long
        return self

    def __exit__(self, *_: object) -> None:
        self._stage.end()

    @property
    def is_running(self) -> bool:
        """Whether the worker's process runs."""
        return self._worker.has_processes

    def time_passes(self, seconds: int) -> None:
        self._stage.run(self.world.advance(seconds * 1000))
        self._check()

    def claim(self, *, has_lock: bool = True) -> None:
        """The worker claims, and hears that it has; without a lock if Redis does not answer."""
        self.send_claim(has_lock=has_lock)
        self.claim_is_answered()

    def send_claim(self, *, has_lock: bool = True) -> None:
        """The worker claims, and PostgreSQL commits."""
        self._worker.parts.claimer.want([self.world.job_id])
        self._settle()
        self._stage.run(self.world.attend())
        for lock in self.world.wire.of(self._worker, "acquire"):
            self._stage.run(self.world.wire.exchange(lock) if has_lock else self.world.wire.lose(lock))
        self._stage.run(self.world.wire.apply(self._call(self._worker, "claim")))

    def claim_is_answered(self) -> None:
        self._stage.run(self.world.wire.answer(self._call(self._worker, "claim")))

    def start(self) -> None:
        """The worker starts the process, if it still may."""
        self.come_to_the_fork()
        self.fork()

    def come_to_the_fork(self) -> None:
        for process in self._worker.processes:
            if process.state is State.WAITING:
                process.start()
        self._settle()

    def fork(self) -> None:
        if self._worker.forking is not None:
            self._worker.forking.fork()
        self._settle()
        self._check()

    def renew(self) -> None:
        self.send_renewal()
        self.renewal_arrives()

    def send_renewal(self) -> None:
        self._worker.renew()
        self._settle()

    def renewal_arrives(self) -> None:
        self._flow(self._worker)

    def beat(self) -> None:
        """The worker beats, hears of it, and does what follows."""
        self._worker.beat()
        self._settle()
        for name in ("beat", "list_running_claims", "lose_attempts", "release"):
            for call in self.world.wire.of(self._worker, name):
                self._stage.run(self.world.wire.exchange(call))

    def rescuer_looks(self, *, for_s: int = 0, until: str | None = None) -> None:
        """The rescuer looks now and after each second; the last look stops before the call `until`."""
        for second in range(for_s + 1):
            if second:
                self.time_passes(1)
            self._rescuer.look()
            self._settle()
            if second == for_s and until is not None:
                self._flow_until(until)
            else:
                self._flow(self._rescuer)

    def rescuer_looks_on(self) -> None:
        self._flow(self._rescuer)

    rescuer_writes = rescuer_looks_on

    def redis_becomes_a_stale_copy(self) -> None:
        self._stage.run(self.world.redis.replace_by_stale_copy())

    def second_worker_claims_and_starts(self) -> None:
        self._second.parts.claimer.want([self.world.job_id])
        self._settle()
        self._flow(self._second)
        self._second.attend_processes()
        self._settle()
        self._second.attend_processes()
        self._settle()
        self._check()

    def _flow_until(self, name: str) -> None:
        while calls := [call for call in self.world.wire.of(self._rescuer) if call.name != name]:
            self._stage.run(self.world.wire.exchange(calls[0]))

    def _call(self, sender: Actor, name: str) -> Call:
        (call,) = self.world.wire.of(sender, name)
        return call

    def _flow(self, actor: Actor) -> None:
        self._stage.run(flow(self.world, [actor]))
        self._check()

    def _settle(self) -> None:
        self._stage.run(settle())

    def _check(self) -> None:
        self._stage.run(self.world.check())
