"""Each rule of the lease protocol that matters forbids a trace: without the rule two attempts run at once, with it they don't.

Every trace of `lease_rules` is told twice, on the real SQL, the real Lua and Relay's own worker, guard and rescuer: with the rule
dropped, and with it, after the very same steps as far as they can still be taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.lease_model import Overlap
from tests.integration.lease_model_calls import Store
from tests.integration.lease_model_script import Script
from tests.integration.lease_model_stage import Stage, opened
from tests.integration.lease_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stack import Stack


@pytest.fixture
def stage(stack: Stack) -> Iterator[Stage]:
    with opened(stack) as made:
        yield made


@pytest.mark.parametrize("rule", RULES)
def test_without_the_rule_two_attempts_run_at_once(rule: str, stage: Stage) -> None:
    drop, trace = RULES[rule]
    drop(stage.patch)

    with Script(stage) as script, pytest.raises(Overlap):
        trace(script)


@pytest.mark.parametrize("rule", RULES)
def test_with_the_rule_the_same_trace_is_safe(rule: str, stage: Stage) -> None:
    _, trace = RULES[rule]

    with Script(stage) as script:
        trace(script)


def test_redis_alone_keeps_a_claim_whose_answer_took_long(stage: Stage) -> None:
    """The lock is renewed from its taking on, so a claim that is answered late has not used its trust up by then."""
    with Script(stage, healthy=Store.REDIS) as script:
        script.send_claim()
        script.time_passes(9)
        script.claim_is_answered()
        script.time_passes(60)

        assert script.is_running
