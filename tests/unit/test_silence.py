"""How long something has been seen unchanged: never longer than it was, and only while somebody looked."""

from __future__ import annotations

from relay.maintenance.silence import Silence


def watch(max_gap_s: float = 2.5) -> Silence[int, int]:
    return Silence(max_gap_s=max_gap_s)


def see(silence: Silence[int, int], at: float, values: dict[int, int], *, took: float = 0.0) -> dict[int, float]:
    return silence.see(values, sent_at=at, received_at=at + took)


def test_an_unchanged_value_counts_from_its_first_look() -> None:
    silence = watch()

    assert [see(silence, at, {1: 5})[1] for at in (10, 11, 12, 13)] == [0, 1, 2, 3]


def test_a_change_starts_its_count_again_and_no_other() -> None:
    silence = watch()
    see(silence, 10, {1: 5, 2: 5})

    assert see(silence, 12, {1: 5, 2: 6}) == {1: 2, 2: 0}


def test_a_count_runs_from_the_first_answer_to_the_last_question() -> None:
    silence = watch()
    see(silence, 10, {1: 5}, took=0.5)

    assert see(silence, 12, {1: 5}, took=0.4) == {1: 1.5}


def test_a_late_look_starts_all_counts_again() -> None:
    silence = watch(max_gap_s=2)
    see(silence, 10, {1: 5})

    assert see(silence, 12.1, {1: 5}) == {1: 0}
    assert see(silence, 13.1, {1: 5}) == {1: 1}


def test_a_look_that_took_long_is_late() -> None:
    silence = watch(max_gap_s=2)
    see(silence, 10, {1: 5})

    assert see(silence, 11, {1: 5}, took=1.5) == {1: 0}


def test_a_failed_look_starts_all_counts_again() -> None:
    silence = watch()
    see(silence, 10, {1: 5})
    silence.restart()

    assert see(silence, 11, {1: 5}) == {1: 0}


def test_what_vanished_and_came_back_is_new() -> None:
    silence = watch()
    see(silence, 10, {1: 5})
    see(silence, 11, {})

    assert see(silence, 12, {1: 5}) == {1: 0}
