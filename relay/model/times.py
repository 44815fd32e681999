"""Times as RFC 3339 writes them: a date, a time, and always a zone.

A time without a zone is refused, since nobody can know which one was meant; so is one outside 1970 to 2200, which is a
typo or milliseconds taken for seconds. Answers are in UTC with `Z` and microseconds, so that they sort as text.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

FIRST_YEAR, LAST_YEAR = 1970, 2200
_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?(?P<zone>[Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)?", re.ASCII
)
_EXPECTED = "must be an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z"


def parse_time(value: object) -> datetime:
    """Read an RFC 3339 time (or an aware datetime, as YAML gives) and turn it to UTC.

    Raises:
        ValueError: it is none, has no zone, or lies outside 1970 to 2200; the text completes '<name> …'.

    """
    if isinstance(value, str) and len(value) <= 40:
        value = _read(value)
    if not isinstance(value, datetime):
        raise ValueError(_EXPECTED)  # noqa: TRY004 - one kind of refusal for callers
    if value.tzinfo is None:
        raise ValueError("needs a zone: end it with Z, or an offset such as +02:00")
    if FIRST_YEAR - 1 <= value.year <= LAST_YEAR + 1:  # further out, the zone makes no difference and may overflow
        value = value.astimezone(UTC)
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must lie between the years {FIRST_YEAR} and {LAST_YEAR}")
    return value


def _read(text: str) -> datetime | None:
    match = _RFC3339.fullmatch(text)
    if not match:
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:  # the 31st of February, an hour of 25
        raise ValueError(f"is not a time that exists ({error})") from None


def format_time(moment: datetime) -> str:
    """Write an aware datetime as RFC 3339 in UTC: `2030-01-31T12:00:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"
