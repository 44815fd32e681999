from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.durations import MAX_DURATION_S, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("300ms", 0.3),
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("30d", 30 * 86_400.0),
        ("0", 0.0),
        ("0s", 0.0),
        (".5s", 0.5),
        ("250us", 0.000_25),
        ("250µs", 0.000_25),
        (90, 90.0),
        (0.25, 0.25),
        (0, 0.0),
    ],
)
def test_go_style_and_plain_seconds_are_read(text: object, seconds: float) -> None:
    assert seconds == parse_duration(text)


@pytest.mark.parametrize(
    "value",
    ["", "h", "5 m", "5M", "m5", "1h30", "1e3s", "inf", "nan", "٣s", "s" * 100, True, None, [], {}, math.nan, b"5m"],
)
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="duration such as"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["90", "-90", "1.5"])
def test_a_text_without_unit_is_told_how_to_write_seconds(value: str) -> None:
    with pytest.raises(ValueError, match=f"has no unit: write {value}s"):
        parse_duration(value)


@pytest.mark.parametrize("value", [-1, -0.001, "-5m", -(10**400), -math.inf])
def test_negative_durations_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        parse_duration(value)


@pytest.mark.parametrize("value", [10**400, 1e300, math.inf, "999999999999999999999h", MAX_DURATION_S + 1])
def test_durations_beyond_a_century_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="at most 100 years"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["1ns", 1e-9, "0.6us"])
def test_something_never_becomes_nothing(value: object) -> None:
    assert parse_duration(value) == 1e-6


@pytest.mark.parametrize("value", ["0.1ns", 1e-12, 5e-324])
def test_durations_below_the_smallest_unit_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be 0 or at least 1ns"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (0.3, "300ms"),
        (0.001_5, "1.5ms"),
        (0.000_002, "2us"),
        (1.5, "1.5s"),
        (60.25, "1m0.25s"),
        (90.0, "1m30s"),
        (300.0, "5m"),
        (3605.0, "1h5s"),
        (5400.0, "1h30m"),
        (86_400.0, "24h"),
    ],
)
def test_the_canonical_form_has_no_zero_parts(seconds: float, text: str) -> None:
    assert text == format_duration(seconds)


@given(st.integers(min_value=0, max_value=int(MAX_DURATION_S * 1e6)))
def test_what_is_written_reads_back_to_the_microsecond(microseconds: int) -> None:
    seconds = microseconds / 1e6
    assert seconds == parse_duration(format_duration(seconds))


@given(st.text() | st.integers() | st.floats() | st.none() | st.booleans())
def test_any_input_is_a_duration_or_a_value_error(value: object) -> None:
    try:
        seconds = parse_duration(value)
    except ValueError:
        return
    assert 0 <= seconds <= MAX_DURATION_S
