from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.results import Ending, Result
from relay.model.settle import Settlement, refuse, settle
from relay.model.spec import JobSpec, parse_spec
from relay.model.states import JobStatus, Outcome, Reason, is_legal

RESULTS = st.builds(
    Result,
    ending=st.sampled_from(Ending),
    exit_code=st.none() | st.integers(0, 255),
    signal=st.none() | st.just("SIGTERM"),
)


def spec(**keys: object) -> JobSpec:
    payload = {"command": "work", "success_codes": keys.pop("success_codes", [0])}
    return parse_spec({"payload": payload, **keys})


def settled(job: JobSpec, result: Result, *, retries_used: int = 0) -> Settlement:
    return settle(job, result, retries_used=retries_used, rng=random.Random(0))


@pytest.mark.parametrize("code", [0, 3])
def test_a_success_code_completes_the_job(code: int) -> None:
    expected = Settlement(JobStatus.COMPLETED, Outcome.SUCCEEDED)
    assert expected == settled(spec(success_codes=[0, 3]), Result(Ending.EXITED, exit_code=code))


@pytest.mark.parametrize(
    ("ending", "outcome", "reason"),
    [
        (Ending.EXITED, Outcome.FAILED, Reason.EXIT),
        (Ending.SIGNALED, Outcome.FAILED, Reason.SIGNAL),
        (Ending.TIMED_OUT, Outcome.TIMED_OUT, Reason.TIMEOUT),
        (Ending.START_ERROR, Outcome.FAILED, Reason.START_ERROR),
        (Ending.LIMIT, Outcome.FAILED, Reason.LIMIT),
    ],
)
def test_a_failure_waits_for_its_retry_then_kills_the_job(ending: Ending, outcome: Outcome, reason: Reason) -> None:
    job = spec(max_retries=2, backoff={"strategy": "linear", "initial": 3, "jitter": False})
    result = Result(ending, exit_code=1)
    assert Settlement(JobStatus.FAILED, outcome, reason, 6.0) == settled(job, result, retries_used=1)
    assert Settlement(JobStatus.DEAD, outcome, reason) == settled(job, result, retries_used=2)


@pytest.mark.parametrize("ending", [Ending.EXITED, Ending.START_ERROR])
def test_a_no_retry_code_makes_the_job_dead_at_once(ending: Ending) -> None:
    assert settled(spec(no_retry_codes=[127]), Result(ending, exit_code=127)).status is JobStatus.DEAD


@pytest.mark.parametrize("ending", [Ending.TIMED_OUT, Ending.LIMIT])
def test_an_exit_code_after_our_own_signal_has_no_say(ending: Ending) -> None:
    job = spec(no_retry_codes=[3], success_codes=[0])
    assert settled(job, Result(ending, exit_code=3)).status is JobStatus.FAILED
    assert settled(job, Result(ending, exit_code=0)).status is JobStatus.FAILED


def test_a_start_error_is_no_success_whatever_its_code() -> None:
    job = spec(success_codes=[0, 127])
    assert settled(job, Result(Ending.START_ERROR, exit_code=127)).status is JobStatus.FAILED


def test_a_job_that_must_run_at_most_once_is_dead_when_it_is_handed_back_after_its_start() -> None:
    expected = Settlement(JobStatus.DEAD, Outcome.RELEASED, Reason.WORKER_LOST)
    once = spec(on_worker_lost="fail")
    assert expected == settled(once, Result(Ending.RELEASED, signal="SIGTERM"))
    assert settled(once, Result(Ending.RELEASED)).status is JobStatus.PENDING  # it never started


def test_a_released_job_is_pending_again_and_uses_no_retry() -> None:
    assert Settlement(JobStatus.PENDING, Outcome.RELEASED) == settled(spec(max_retries=0), Result(Ending.RELEASED))


def test_a_cancelled_job_is_cancelled_even_if_it_exited_well() -> None:
    assert Settlement(JobStatus.CANCELLED, Outcome.CANCELLED) == settled(spec(), Result(Ending.CANCELLED, exit_code=0))


def test_a_job_whose_spec_cannot_be_read_is_dead() -> None:
    assert Settlement(JobStatus.DEAD, Outcome.FAILED, Reason.START_ERROR) == refuse()


@given(RESULTS, st.integers(0, 1000), st.integers(0, 1000))
def test_every_settlement_is_a_legal_one(result: Result, max_retries: int, retries_used: int) -> None:
    settlement = settled(spec(max_retries=max_retries, no_retry_codes=[9]), result, retries_used=retries_used)
    is_failed = settlement.status in {JobStatus.FAILED, JobStatus.DEAD}
    assert is_legal(JobStatus.RUNNING, settlement.status)
    assert is_failed == (settlement.reason is not None)
    assert (settlement.status is JobStatus.FAILED) == (settlement.retry_delay_s is not None)
    assert settlement.status is not JobStatus.FAILED or retries_used < max_retries
