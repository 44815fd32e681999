from __future__ import annotations

import pytest

from relay.errors import Fault
from relay.model.faults import MAX_FAULTS, join, refusal


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        (("on_success", 1, "payload", "timeout"), "on_success[1].payload.timeout"),
        (("payload", "env", "HOME"), "payload.env.HOME"),
        (("labels", "a b"), 'labels["a b"]'),
        (("labels", 'quote"'), 'labels["quote\\""]'),
        (("labels", "é"), 'labels["é"]'),
        (("labels", "\x9b2J"), 'labels["\\u009b2J"]'),
        (("labels", "\ud800"), 'labels["\\ud800"]'),
        (("labels", ""), 'labels[""]'),
        ((), ""),
    ],
)
def test_a_path_is_written_as_one_would_reach_the_value(parts: tuple[str | int, ...], path: str) -> None:
    assert path == join("", *parts)


def test_a_path_continues_the_one_before() -> None:
    assert join("[3]", "payload") == "[3].payload"


def test_a_key_of_a_megabyte_is_cut() -> None:
    assert len(join("labels", "x" * 1_000_000)) < 100


def test_faults_are_sorted_and_told_once() -> None:
    twice = [Fault("b", "is bad"), Fault("a", "is bad"), Fault("b", "is bad")]
    error = refusal(twice)
    assert (Fault("a", "is bad"), Fault("b", "is bad")) == error.faults
    assert error.detail == "a is bad (and 1 more)"


def test_a_fault_of_the_whole_reads_as_a_sentence() -> None:
    assert refusal([Fault("", "must be an object")]).detail == "the spec must be an object"


def test_no_answer_lists_more_than_its_share() -> None:
    error = refusal(Fault(f"k{n}", "is not a known key") for n in range(MAX_FAULTS + 1))
    assert len(error.faults) == MAX_FAULTS
    assert "(and 200 more)" in error.detail
