"""Turn pydantic's errors into faults that a person can act on.

A path is what one would write to get at the value (`on_success[1].payload.env.HOME`), with the index left out where the
body has a single child instead of a list. A message completes the sentence that the path begins: `max_retries must be a
whole number`. An unknown key is compared with the known ones of its object, and of the object it may have been meant for.
Only runs when something is wrong, but then on hostile bodies too: so many faults are told at most, and texts are cut.
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any

from relay.errors import Fault, InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

MAX_FAULTS = 200
_TOO_MANY = 5_000  # listing them would hold up the server for longer than reading them did
_MAX_KEY = 60
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_KEY_ITSELF = "[key]"  # pydantic's mark at the end of a location
_OBJECT = "must be an object"
_LIST = "must be a list"
_WHOLE = "must be a whole number"
_NUMBER = "must be a number"

_TEXTS: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_sub_type": "must be a string",
    "string_unicode": "has a character that is not valid Unicode",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": "must be true or false",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "invalid_key": "has a key that is not a string",
    "string_pattern_mismatch": "must be 1 to 63 of a-z, 0-9, '-' and '_', and begin with a letter or digit",
}
_LIMITS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than_equal": lambda ctx: f"must be at least {int(ctx['ge']):,}",
    "less_than_equal": lambda ctx: f"must be at most {int(ctx['le']):,}",
    "string_too_long": lambda ctx: f"must have at most {ctx['max_length']:,} characters",
    "string_too_short": lambda _: "must not be empty",
    "too_long": lambda ctx: f"must have at most {ctx['max_length']:,} entries",
    "too_short": lambda ctx: f"must have at least {ctx['min_length']:,} entry",
    "literal_error": lambda ctx: f"must be {ctx['expected']}",
    "value_error": lambda ctx: str(ctx["error"]),
}


def explain(error: ValidationError, raw: object, *, path: str, keys: Mapping[str, Sequence[str]]) -> list[Fault]:
    """Make faults of a validation error.

    `raw` is what was validated; `keys` the known keys by the name of the object they belong in (`""`: a spec).
    """
    if error.error_count() > _TOO_MANY:
        return [Fault(path, f"has {error.error_count():,} faults, too many to list")]
    details = error.errors(include_url=False, include_input=False)[:MAX_FAULTS]
    return [_fault(detail, raw, path, keys) for detail in details]


def refusal(faults: Iterable[Fault]) -> InvalidSpec:
    """Make the error that carries these faults, sorted, each once; its one line tells the first."""
    ordered = sorted(set(faults), key=lambda fault: (fault.path, fault.message))
    shown = ordered[:MAX_FAULTS]
    more = f" (and {len(ordered) - 1} more)" if len(ordered) > 1 else ""
    return InvalidSpec(f"{shown[0].path or 'the spec'} {shown[0].message}{more}", faults=shown)


def join(path: str, *parts: str | int) -> str:
    """Append keys and indices to a path."""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif _PLAIN_KEY.fullmatch(part) and len(part) <= _MAX_KEY:
            path += f".{part}" if path else part
        else:
            path += f"[{_quoted(part)}]"
    return path


def _quoted(key: str) -> str:
    """Quote a key for display: short, and with nothing in it that a terminal would obey."""
    key = key if len(key) <= _MAX_KEY else f"{key[:_MAX_KEY]}…"
    return json.dumps(key, ensure_ascii=not key.isprintable())


def _fault(detail: ErrorDetails, raw: object, path: str, keys: Mapping[str, Sequence[str]]) -> Fault:
    parts = _path_parts(detail["loc"], raw)
    kind = detail["type"]
    if detail["loc"][-1:] == (_KEY_ITSELF,) and kind == "string_type":
        message = _TEXTS["invalid_key"]
    elif kind == "extra_forbidden":
        message = _unknown(str(parts[-1]), parts[:-1], keys)
    elif kind in _LIMITS:
        message = _LIMITS[kind](detail["ctx"])
    else:
        message = _TEXTS.get(kind, detail["msg"])
    return Fault(join(path, *parts), message)


def _path_parts(loc: tuple[str | int, ...], raw: object) -> list[str | int]:
    """Follow a location through the raw body, leaving out what the body doesn't have."""
    parts: list[str | int] = []
    for part in loc:
        if part == _KEY_ITSELF:
            continue
        if isinstance(part, int) and isinstance(raw, dict):  # a single child, made a list of one
            continue
        parts.append(part)
        if isinstance(raw, dict):
            raw = raw.get(part)
        elif isinstance(raw, list | tuple) and isinstance(part, int) and part < len(raw):
            raw = raw[part]
        else:
            raw = None
    return parts


def _unknown(key: str, parents: Sequence[str | int], keys: Mapping[str, Sequence[str]]) -> str:
    """Say that a key is unknown, and which was probably meant."""
    names = [part for part in parents if isinstance(part, str)]
    place = names[-1] if names and names[-1] in keys else ""
    text = "is not a known key"
    if len(key) > _MAX_KEY:
        return text
    word = key.casefold().replace("-", "_")
    if found := difflib.get_close_matches(word, keys[place], n=1, cutoff=0.6):
        return f"{text}: did you mean '{found[0]}'?"
    for other, known in keys.items():
        if word in known:
            return f"{text} here: it belongs in {other!r}" if other else f"{text} here: it belongs beside {names[-1]!r}"
    return text
