"""The lease protocol, checked as a model: random walks over the real SQL, the real Lua and Relay's own worker and rescuer.

The walks are derandomized: the same everywhere. That they are silent proves little by itself, since the holes of such a
protocol need long and pointed traces; those are in `test_lease_rules`, one for each rule that matters. So each walk begins
in the middle: rescuers have looked for a while, and a claim has come to some point of its life.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.integration.lease_model import SLOW, Rates
from tests.integration.lease_model_calls import Store
from tests.integration.lease_model_moves import PHASES, come_to, faults, flow, live, moves
from tests.integration.lease_model_stage import Stage, opened

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from tests.integration.lease_model_calls import Actor
    from tests.integration.lease_model_moves import Move
    from tests.stack import Stack

pytestmark = pytest.mark.once  # the rules one by one (`test_lease_rules`) are run again

PICK = st.integers(0, 99)
SECONDS = st.sampled_from([1, 2, 4, 6, 8, 9, 11, 13, 15, 16])
RATE = st.sampled_from([1.0, SLOW])
RATES = st.builds(Rates, worker=RATE, rescuer=RATE, redis=RATE)
LOOKS = st.sampled_from([0, 4, 7, 10, 14])
GROUPS = st.sampled_from(["all", "all but the first", "the first and the rescuers", "the rescuers", "the first"])
MEETINGS = (
    "rescued by silence",
    "a finish fenced",
    "a process killed by its guard",
    "a worker killed at its fork",
    "an attempt lost",
    "an attempt succeeded",
    "a guard is killed",
    "a worker is killed",
    "fast rescue",
    "Redis is wiped",
    "Redis is a stale copy",
    "claim arrives late",
    "a call is applied twice",
)
UP = st.sampled_from([set(Store), set(Store), {Store.POSTGRESQL}, {Store.REDIS}, set[Store]()])


class LeaseProtocol(RuleBasedStateMachine):
    """One walk."""

    stage: ClassVar[Stage]
    met: ClassVar[Counter[str]]
    healthy: ClassVar[Store | None]

    @initialize(
        rates=RATES, rescuers=st.integers(1, 2), looks_s=LOOKS, phase=st.sampled_from(PHASES), has_lock=st.booleans()
    )
    def begin(self, rates: Rates, rescuers: int, looks_s: int, phase: str, *, has_lock: bool) -> None:
        """Skip what a walk would need long for: rescuers that have looked for a while, and a claim that has come to somewhere."""
        self.world = self.stage.begin(rates=rates, rescuers=rescuers, healthy=self.healthy)
        if self.healthy is None:
            self.do("rescuers have looked", live(self.world, looks_s, actors=self.world.rescuers, up=()))
            self.do(f"a claim is {phase}", come_to(self.world, phase, has_lock=has_lock))

    @rule(n=PICK)
    def move(self, n: int) -> None:
        self.take(moves(self.world), n)

    @rule(n=PICK)
    def another_move(self, n: int) -> None:
        self.take(moves(self.world), n)

    @precondition(lambda self: bool(self.world.wire.under_way))
    @rule(who=GROUPS)
    def flow(self, who: str) -> None:
        self.do("calls flow", flow(self.world, self.group(who)))

    @precondition(lambda self: self.healthy is None)
    @rule(seconds=SECONDS, who=GROUPS, up=UP, is_deaf=st.booleans())
    def live(self, seconds: int, who: str, up: set[Store], *, is_deaf: bool) -> None:
        self.do(f"life of {who}", live(self.world, seconds, actors=self.group(who), up=up, is_deaf=is_deaf))

    @precondition(lambda self: self.healthy is None)
    @rule(seconds=SECONDS)
    def the_first_worker_pauses(self, seconds: int) -> None:
        self.do("a pause", live(self.world, seconds, actors=self.group("all but the first"), up=set(Store)))

    @rule(ms=st.sampled_from([1, 200, 1000, 2500, 4000]), is_deaf=st.booleans())
    def time_passes(self, ms: int, *, is_deaf: bool) -> None:
        self.do("time", self.world.advance(ms, is_deaf=is_deaf))

    @precondition(lambda self: bool(faults(self.world)))
    @rule(n=PICK, chance=st.integers(0, 3))
    def something_breaks(self, n: int, chance: int) -> None:
        if chance == 0:
            self.take(faults(self.world), n)

    @invariant()
    def holds(self) -> None:
        self.stage.run(self.world.attend())
        self.stage.run(self.world.check())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.met.update(self.world.summary())
            self.stage.end()

    def take(self, found: list[Move], n: int) -> None:
        if found:
            label, move = found[n % len(found)]
            self.do(label, move())

    def do(self, label: str, what: Awaitable[None]) -> None:
        self.met["steps"] += 1
        self.met[label] += 1
        self.met["a call is applied twice"] += label.endswith("is applied twice")
        self.stage.run(finish(what))

    def group(self, name: str) -> list[Actor]:
        first, rest, rescuers = self.world.living[:1], self.world.living[1:], self.world.rescuers
        groups: dict[str, list[Actor]] = {
            "all": [*first, *rest, *rescuers],
            "all but the first": [*rest, *rescuers],
            "the first and the rescuers": [*first, *rescuers],
            "the rescuers": [*rescuers],
            "the first": [*first],
        }
        return groups[name]


async def finish(move: Awaitable[None]) -> None:
    await move


def walk(on: Stage, *, examples: int, steps: int, healthy: Store | None = None) -> Counter[str]:
    """Walk at random; what was met."""
    seen: Counter[str] = Counter()

    class Walk(LeaseProtocol):
        stage = on
        met = seen

    Walk.healthy = healthy
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return seen


@pytest.fixture
def stage(stack: Stack) -> Iterator[Stage]:
    with opened(stack) as made:
        yield made


@pytest.mark.timeout(600)  # a failure is shrunk first
def test_no_two_attempts_of_a_job_ever_run_at_once(stage: Stage) -> None:
    met = walk(stage, examples=440, steps=12)

    assert met["steps"] >= 4800
    assert [what for what in MEETINGS if not met[what]] == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("healthy", Store)
def test_one_healthy_store_is_enough_to_keep_every_attempt(stage: Stage, healthy: Store) -> None:
    met = walk(stage, examples=125, steps=30, healthy=healthy)

    assert met["steps"] >= 2600
    assert met["an attempt lost"] == 0 or healthy is Store.REDIS  # claims given up unheard are reported then
    assert met["an attempt succeeded"]
