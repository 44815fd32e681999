"""The kinds of value that a spec is made of, as pydantic types: strict, so `"3"`, `true` and `3.0` are no whole numbers.

Each check raises ValueError with a text that completes '<path> …'; `faults` turns it into what a person reads. The limits
are those of Linux and PostgreSQL: a NUL fits neither an argument nor a jsonb, and the kernel takes no argument of 128 KiB.
No `from __future__ import annotations` in modules that define models: pydantic needs the annotations themselves.
"""

import re
from datetime import datetime
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    WithJsonSchema,
)

from relay.model.durations import parse_duration
from relay.model.sizes import parse_size
from relay.model.times import parse_time

MAX_ARGUMENT_BYTES = 128 * 1024 - 1  # MAX_ARG_STRLEN with its NUL (execve(2)); an environment string counts as one
MAX_NAME = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Part(BaseModel):
    """A part of a spec: strict, frozen, no unknown keys, and nothing of the input in its errors."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def check_text(value: str) -> str:
    """Refuse a NUL and half a surrogate pair, which neither PostgreSQL nor a file takes."""
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    if not value.isascii():
        encoded_size(value)
    return value


def check_argument(value: str) -> str:
    """Refuse what execve can't take as one argument."""
    if (len(value) if value.isascii() else encoded_size(value)) > MAX_ARGUMENT_BYTES:
        raise ValueError("is 128 KiB or more, which no program can be started with: pass it through stdin or a file")
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    return value


def encoded_size(value: str) -> int:
    """Give the size in UTF-8; refuse what has none."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("has a character that is not valid Unicode") from None


def check_name(value: str) -> str:
    """Refuse what would be empty, break a line or leave a folder where a name is shown or used."""
    if not value.strip():
        raise ValueError("must not be empty")
    if not (value.isascii() and value.isprintable()) and _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    if ".." in value and ".." in value.split("/"):
        raise ValueError("must not contain '../'")
    return value if value.isascii() else check_text(value)


def at_most(limit: int) -> BeforeValidator:
    """Bound a list or map before its entries are looked at: a million bad entries would make a million errors."""

    def check(value: object) -> object:
        if isinstance(value, list | tuple | dict) and len(value) > limit:
            raise ValueError(f"must have at most {limit:,} entries")
        return value

    return BeforeValidator(check)


def lower(value: object) -> object:
    """Make a word lower-case: words in requests are read in any case."""
    return value.lower() if isinstance(value, str) else value


def upper(value: object) -> object:
    """Make a word upper-case."""
    return value.upper() if isinstance(value, str) else value


def _positive(value: object) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise ValueError("must be more than 0")
    return seconds


_DURATION_SCHEMA = WithJsonSchema(
    {
        "anyOf": [{"type": "string"}, {"type": "number", "minimum": 0}],
        "description": "A Go-style duration (300ms, 90s, 5m, 1h30m) or a number of seconds.",
        "examples": ["90s"],
    }
)
Duration = Annotated[float, PlainValidator(parse_duration), _DURATION_SCHEMA]
PositiveDuration = Annotated[float, PlainValidator(_positive), _DURATION_SCHEMA]
Size = Annotated[
    int,
    PlainValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "integer", "minimum": 0}],
            "description": "A size (64K, 512M, 1G; powers of 1024) or a number of bytes.",
            "examples": ["512M"],
        }
    ),
]
Time = Annotated[
    datetime,
    PlainValidator(parse_time),
    WithJsonSchema({"type": "string", "format": "date-time", "description": "RFC 3339 with a zone."}),
]
Argument = Annotated[str, AfterValidator(check_argument)]
Text = Annotated[str, AfterValidator(check_text)]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(check_name)]
ExitCode = Annotated[int, Field(ge=0, le=255)]
LowerCase = BeforeValidator(lower)
UpperCase = BeforeValidator(upper)
Listed = Strict(False)  # a JSON list is a Python list, which strict mode would not take for a tuple
ExitCodes = Annotated[tuple[ExitCode, ...], Listed, Field(max_length=256), at_most(256)]
