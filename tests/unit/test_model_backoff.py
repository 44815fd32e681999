from __future__ import annotations

import random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.backoff import Backoff, delay_s, from_word

Strategy = Literal["exponential", "linear", "constant"]
BACKOFFS = st.builds(
    Backoff,
    strategy=st.sampled_from(["exponential", "linear", "constant"]),
    initial=st.just(0.0) | st.floats(1e-9, 1e6),
    factor=st.floats(1, 1000),
    max=st.just(0.0) | st.floats(1e-9, 1e9),
    jitter=st.booleans(),
)
SEEDS = st.integers(0, 2**32)


@pytest.mark.parametrize(
    ("strategy", "delays"),
    [("exponential", [1, 2, 4, 8, 10, 10]), ("linear", [1, 2, 3, 4, 5, 6]), ("constant", [1, 1, 1, 1, 1, 1])],
)
def test_each_strategy_grows_as_documented(strategy: Strategy, delays: list[float]) -> None:
    backoff = Backoff(strategy=strategy, initial=1, factor=2, max=10, jitter=False)
    assert delays == [delay_s(backoff, retry=n, rng=random.Random(0)) for n in range(1, 7)]


def test_a_thousand_retries_with_a_large_factor_do_not_overflow() -> None:
    backoff = Backoff(factor=1000, jitter=False)
    assert delay_s(backoff, retry=1000, rng=random.Random(0)) == backoff.max


@given(BACKOFFS, st.integers(1, 1000), SEEDS)
def test_a_delay_never_exceeds_the_maximum(backoff: Backoff, retry: int, seed: int) -> None:
    assert 0 <= delay_s(backoff, retry=retry, rng=random.Random(seed)) <= backoff.max


@given(BACKOFFS, st.integers(1, 1000), SEEDS)
def test_jitter_draws_from_the_top_half(backoff: Backoff, retry: int, seed: int) -> None:
    full = delay_s(backoff.model_copy(update={"jitter": False}), retry=retry, rng=random.Random(seed))
    drawn = delay_s(backoff.model_copy(update={"jitter": True}), retry=retry, rng=random.Random(seed))
    assert full / 2 <= drawn <= full


@given(BACKOFFS, st.integers(1, 999))
def test_without_jitter_no_retry_waits_less_than_the_one_before(backoff: Backoff, retry: int) -> None:
    steady = backoff.model_copy(update={"jitter": False})
    rng = random.Random(0)
    assert delay_s(steady, retry=retry, rng=rng) <= delay_s(steady, retry=retry + 1, rng=rng)


def test_a_word_stands_for_its_defaults() -> None:
    assert from_word("LINEAR") == Backoff(strategy="linear")


def test_the_normalised_form_has_every_default() -> None:
    expected = {"strategy": "exponential", "initial": "1s", "factor": 2, "max": "1h", "jitter": True}
    assert expected == Backoff().normalised()
