"""Durations as Go writes them (`300ms`, `90s`, `5m`, `1h30m`), plus `d` for days, or a plain number of seconds.

In memory a duration is a float of seconds, rounded to the microsecond and never from something to nothing (`1ns` must not
become a timeout of 0, which means none); what is shorter than a nanosecond, the smallest unit, is refused. Up to the limit
of 100 years a double holds every microsecond exactly, so `parse_duration(format_duration(s)) == s`: a normalised spec reads
back as what it was made from.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

MAX_DURATION_S = 100 * 365 * 86_400.0
_BEYOND = 1e12
_SHORTEST_US = 0.999e-3  # a nanosecond, less what its conversion may lose
_MAX_TEXT = 64  # longer is no duration; it also bounds what the cache holds
_UNIT_US = {
    "ns": 1e-3,
    "us": 1.0,
    "µs": 1.0,
    "μs": 1.0,
    "ms": 1e3,
    "s": 1e6,
    "m": 60e6,
    "h": 3600e6,
    "d": 86_400e6,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d)")
_EXPECTED = "must be a duration such as 300ms, 90s, 5m or 1h30m, or a number of seconds"


def parse_duration(value: object) -> float:
    """Read a duration, in seconds.

    Raises:
        ValueError: it is none, is negative, is shorter than 1ns or longer than 100 years; the text completes '<name> …'.

    """
    if isinstance(value, str):
        return _parse_text(value) if len(value) <= _MAX_TEXT else _refuse()
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _refuse()
    if abs(value) > _BEYOND:  # settled before the product, which a huge int would overflow
        return _from_microseconds(math.inf if value > 0 else -math.inf)
    return _from_microseconds(value * 1e6)


@lru_cache(maxsize=4096)
def _parse_text(text: str) -> float:
    if text == "0":
        return 0.0
    if text.removeprefix("-").replace(".", "", 1).isdecimal():
        raise ValueError(f"has no unit: write {text}s if seconds are meant")
    if text.startswith("-") and _PART.match(text, 1):
        raise ValueError("must not be negative")
    total, end = 0.0, 0
    while match := _PART.match(text, end):
        total += float(match[1]) * _UNIT_US[match[2]]
        end = match.end()
    if end != len(text) or end == 0:
        return _refuse()
    return _from_microseconds(total)


def _refuse() -> float:
    raise ValueError(_EXPECTED)


def _from_microseconds(microseconds: float) -> float:
    if math.isnan(microseconds):
        return _refuse()
    if microseconds < 0:
        raise ValueError("must not be negative")
    if microseconds > MAX_DURATION_S * 1e6:
        raise ValueError("must be at most 100 years")
    if 0 < microseconds < _SHORTEST_US:
        raise ValueError("must be 0 or at least 1ns")
    whole = round(microseconds) or math.ceil(microseconds)
    return whole / 1e6


@lru_cache(maxsize=4096)
def format_duration(seconds: float) -> str:
    """Write seconds in the canonical form: hours, minutes, seconds without zero parts (`1h30m`), below a second `300ms`."""
    microseconds = round(seconds * 1e6)
    if microseconds == 0:
        return "0s"
    if microseconds < 1_000:
        return f"{microseconds}us"
    if microseconds < 1_000_000:
        return f"{_decimal(microseconds, 3)}ms"
    minutes, rest = divmod(microseconds, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    parts = (f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{_decimal(rest, 6)}s" if rest else "")
    return "".join(parts)


def _decimal(value: int, places: int) -> str:
    """Write value / 10**places without trailing zeros."""
    whole, part = divmod(value, 10**places)
    return f"{whole}.{part:0{places}d}".rstrip("0") if part else str(whole)
