"""Read JSON from outside, strictly: what two readers could take for two things is refused, with its position.

Beyond the grammar (RFC 8259) that means: UTF-8 without a byte order mark, no NaN or Infinity, no number that a double or
Python's limit of 4,300 digits can't hold, no lone surrogate, no key twice in one object, no nesting that exhausts the
stack. Numbers keep their kind (3.0 is no whole number).
The standard decoder is used and not pydantic's faster one, because only it shows an object's pairs before they become a
dict, where a second `command` would silently win over the first.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from pydantic_core import from_json

from relay.errors import BadJson

MAX_DIGITS = 4300
_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?Infinity|NaN|-?[0-9][0-9.eE+-]*|[{}\[\]:,]', re.DOTALL)
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _RefusedError(ValueError):
    """A value that JSON's grammar allows and Relay does not; `literal` is its text, None for a key that came twice."""

    def __init__(self, problem: str, literal: str | None = None) -> None:
        super().__init__(problem)
        self.literal = literal


def parse_json(body: bytes) -> object:
    """Read one JSON document.

    Raises:
        BadJson: it is none, or is ambiguous; the text says where.

    """
    return _parse(body, first_line=1)


def parse_object(body: bytes) -> dict[str, object]:
    """Read one JSON object; raise BadJson for any other value too."""
    value = parse_json(body)
    if not isinstance(value, dict):
        raise BadJson("the body must be a JSON object")
    return value


def parse_ndjson(body: bytes) -> list[object]:
    """Read one JSON document a line, passing over blank lines; BadJson names the line."""
    lines = enumerate(body.split(b"\n"), start=1)
    return [_parse(line, first_line=number) for number, line in lines if line and not line.isspace()]


def _parse(body: bytes, first_line: int) -> object:
    text = _decode(body, first_line)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        problem = error.msg.removesuffix(" at").removesuffix(" starting")
        raise _bad(problem[:1].lower() + problem[1:], text, error.pos, first_line) from None
    except _RefusedError as error:
        position = _second_key(text) if error.literal is None else _find(text, error.literal)
        raise _bad(str(error), text, position, first_line) from None
    except RecursionError:
        raise BadJson(f"the JSON is nested too deeply (line {first_line})") from None
    if b"\\u" in body and _SURROGATE.search(body):
        _check_surrogates(text, first_line)
    return value


def _decode(body: bytes, first_line: int) -> str:
    if body.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise BadJson(f"line {first_line} begins with a byte order mark: send plain UTF-8")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _bad("this is not valid UTF-8", body[: error.start].decode(), error.start, first_line) from None
    if not text or text.isspace():
        raise BadJson("the body is empty: send JSON")
    return text


def _bad(problem: str, text: str, position: int, first_line: int) -> BadJson:
    position = min(position, len(text))
    line = first_line + text.count("\n", 0, position)
    column = position - text.rfind("\n", 0, position)
    return BadJson(f"the JSON is not valid at line {line}, column {column}: {problem}")


def _find(text: str, literal: str) -> int:
    """Find where a literal stands as a token of its own, not inside a string."""
    return next((token.start() for token in _TOKEN.finditer(text) if token[0] == literal), 0)


def _second_key(text: str) -> int:
    """Find the first key that its object has already."""
    objects: list[set[str] | None] = []
    last: re.Match[str] | None = None
    for token in _TOKEN.finditer(text):
        if token[0] in "{[":
            objects.append(set() if token[0] == "{" else None)
        elif token[0] in "}]":
            objects.pop()
        elif token[0] == ":" and last and objects and (keys := objects[-1]) is not None:
            key = json.loads(last[0])
            if key in keys:
                return last.start()
            keys.add(key)
        last = token
    return 0


def _check_surrogates(text: str, first_line: int) -> None:
    """Refuse half a surrogate pair, which no UTF-8 can carry on. The faster decoder knows whether there is one."""
    try:
        from_json(text)
    except ValueError:
        for token in _TOKEN.finditer(text):
            if token[0][0] == '"' and any("\ud800" <= char <= "\udfff" for char in json.loads(token[0])):
                problem = "this string has half a surrogate pair"
                raise _bad(problem, text, token.start(), first_line) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RefusedError("this key stands twice in one object")
    return found


def _constant(literal: str) -> NoReturn:
    raise _RefusedError(f"{literal} is not a JSON number", literal)


def _integer(literal: str) -> int:
    if len(literal) > MAX_DIGITS:
        raise _RefusedError(f"a number of {len(literal):,} digits is too long", literal)
    return int(literal)


def _float(literal: str) -> float:
    value = float(literal)
    if math.isinf(value):
        raise _RefusedError("this number is too large", literal)
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float)
