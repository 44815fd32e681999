from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.times import format_time, parse_time

NOON = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
ZONES = st.integers(min_value=-23 * 60, max_value=23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "value",
    [
        "2030-01-31T12:00:00Z",
        "2030-01-31t12:00:00z",
        "2030-01-31 12:00:00Z",
        "2030-01-31T14:00:00+02:00",
        "2030-01-31T12:00:00.000000Z",
        datetime(2030, 1, 31, 14, 0, tzinfo=timezone(timedelta(hours=2))),
    ],
)
def test_any_zone_is_turned_to_utc(value: object) -> None:
    moment = parse_time(value)
    assert moment == NOON
    assert moment.tzinfo is UTC


@pytest.mark.parametrize("value", ["2030-01-31T12:00:00", datetime(2030, 1, 31, 12)])  # noqa: DTZ001 - the point
def test_a_time_without_a_zone_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        parse_time(value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "tomorrow",
        "2030-01-31",
        "20300131T120000Z",
        "2030-01-31T12:00Z",
        "2030-W05-4T12:00:00Z",
        "2030-01-31T12:00:00+24:00",
        0,
        None,
        "2" * 99,
    ],
)
def test_what_is_not_rfc_3339_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_time(value)


@pytest.mark.parametrize("value", ["2030-02-31T12:00:00Z", "2030-01-31T25:00:00Z", "2030-13-01T00:00:00Z"])
def test_a_time_that_does_not_exist_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="is not a time that exists"):
        parse_time(value)


@pytest.mark.parametrize(
    "value",
    [
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "1970-01-01T00:00:00+00:01",
        "2200-12-31T23:59:59-00:01",
        "1969-12-31T23:59:59Z",
    ],
)
def test_absurd_years_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="between the years 1970 and 2200"):
        parse_time(value)


def test_answers_have_microseconds_and_a_z() -> None:
    assert format_time(NOON.astimezone(timezone(timedelta(hours=-5)))) == "2030-01-31T12:00:00.000000Z"


@given(st.datetimes(datetime(1971, 1, 1), datetime(2199, 12, 30), timezones=ZONES))  # noqa: DTZ001 - bounds are naive
def test_what_is_written_reads_back(moment: datetime) -> None:
    assert moment == parse_time(format_time(moment))


@given(st.datetimes(timezones=ZONES) | st.text())
def test_any_input_is_a_time_or_a_value_error(value: object) -> None:
    try:
        moment = parse_time(value)
    except ValueError:
        return
    assert 1970 <= moment.year <= 2200
