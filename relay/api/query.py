"""Read a query string: strictly, and all of it.

An unknown or repeated parameter is an error, not noise: `?stauts=DEAD` answered with every job is how a purge goes wrong.
All faults are told at once, as for a body. Errors are 400.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl

from relay import errors
from relay.model import durations

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
_MAX_FIELDS = 200


class BadQuery(errors.BadRequest):
    """The query string is not valid."""

    code = "bad_query"


class Query:
    """The parameters of one request; `done` reports what was wrong or not asked for."""

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self._values = {name: list(given) for name, given in values.items()}
        self._faults: list[errors.Fault] = []

    @classmethod
    def of_text(cls, text: str) -> Query:
        """Read a query string."""
        return cls(_parse(text))

    @classmethod
    def of_object(cls, given: Mapping[str, object]) -> Query:
        """Read the same parameters from a JSON object, where a list repeats one and `label` may be an object."""
        return cls({name: _texts(name, value) for name, value in given.items()})

    def all(self, name: str) -> list[str]:
        """Take every value of a repeatable parameter."""
        return self._values.pop(name, [])

    def one(self, name: str) -> str | None:
        """Take a parameter that may be given once."""
        values = self._values.pop(name, [])
        if len(values) > 1:
            self.fault(name, "may be given once")
        return values[0] if values else None

    def integer(self, name: str, *, low: int, high: int) -> int | None:
        """Take a whole number between `low` and `high`."""
        value = self.one(name)
        if value is None:
            return None
        digits = value.removeprefix("-")
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19 and low <= int(value) <= high):
            self.fault(name, f"must be a whole number from {low} to {high}")
            return None
        return int(value)

    def duration(self, name: str, *, high_s: float) -> float | None:
        """Take a duration ('30s') up to `high_s`."""
        seconds = self.parsed(name, durations.parse_duration)
        if seconds is not None and seconds > high_s:
            self.fault(name, f"may be at most {durations.format_duration(high_s)}")
            return None
        return seconds

    def flag(self, name: str) -> bool:
        """Take 'true' or 'false'; absent is false."""
        value = self.one(name)
        if value is None or value.lower() in {"false", "0"}:
            return False
        if value.lower() not in {"true", "1", ""}:
            self.fault(name, "must be true or false")
        return True

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        """Take a parameter through `parse`, whose ValueError is the fault's message."""
        value = self.one(name)
        if value is None:
            return None
        try:
            return parse(value)
        except ValueError as error:
            self.fault(name, str(error))
            return None

    def fault(self, name: str, message: str) -> None:
        """Note what is wrong with a parameter."""
        self._faults.append(errors.Fault(name, message))

    def done(self) -> None:
        """Raise BadQuery if anything was wrong, or is left over."""
        self._faults += [errors.Fault(name, "is not known here") for name in self._values]
        if self._faults:
            told = "; ".join(f"{fault.path}: {fault.message}" for fault in self._faults)
            raise BadQuery(told, faults=self._faults)


def _parse(text: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = defaultdict(list)
    if not text:
        return values
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise BadQuery(f"the query string can't be read: {error}") from error
    for name, value in pairs:
        if "\x00" in name or "\x00" in value:
            raise BadQuery(f"{name!r} holds a NUL")
        values[name].append(value)
    return values


def _texts(name: str, value: object) -> list[str]:
    """Write a JSON value as a query string would repeat it; one that names nothing is refused, since it would narrow nothing."""
    if isinstance(value, dict | list) and not value:
        raise _bad(name, "is empty: name what to match, or leave it out to match any")
    if isinstance(value, dict):
        return [f"{_text(name, key)}:{_text(name, text)}" for key, text in value.items()]
    return [_text(name, one) for one in (value if isinstance(value, list) else [value])]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _bad(name, "must be a text, a whole number, or a list of these")
    text = str(value)
    if "\x00" in text:
        raise _bad(name, "holds a NUL")
    return text


def _bad(name: str, message: str) -> BadQuery:
    return BadQuery(f"{name}: {message}", faults=[errors.Fault(name, message)])
