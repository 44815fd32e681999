"""Job specs out of files and stdin: JSON, YAML and NDJSON, with errors that name line and column.

The file's ending decides; stdin is one document, or else NDJSON: if its first line is a whole JSON value and more follows,
each line is a spec and they are handed on as they come. YAML is read with its timestamps left as text, because a spec's
times are text, and what JSON can't hold is refused, since a spec travels as JSON. What a spec may contain is not checked
here: the API says that, for all faults at once.
"""

from __future__ import annotations

import json
import sys
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from relay.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

_YAML, _LINES = frozenset({".yaml", ".yml"}), frozenset({".ndjson", ".jsonl"})


class Document(NamedTuple):
    """One spec as it was written, and where (`line 7`; empty when it is the only one)."""

    value: dict[str, Any]
    place: str


class Unreadable(BadRequest):
    """The file can't be read."""


def read(name: str) -> Iterator[Document]:
    """The specs in a file, or on stdin for `-`; a list counts as its elements. Raises Unreadable."""
    if name == "-":
        yield from _from_stream(sys.stdin.buffer)
        return
    try:
        with open(name, "rb") as file:  # noqa: PTH123 - the name as the user typed it stands in errors
            yield from _from_file(file, name)
    except IsADirectoryError:
        raise Unreadable(f"{name} is a directory: name a file in it") from None
    except OSError as error:
        raise Unreadable(f"{name}: {error.strerror}") from None


def _from_file(file: IO[bytes], name: str) -> Iterator[Document]:
    ending = PurePath(name).suffix.lower()
    if ending in _LINES:
        return _lines(file, name)
    text = _text(file.read(), name)
    return _several(_yaml(text, name) if ending in _YAML else [_json(text, name)], name)


def _from_stream(stream: IO[bytes]) -> Iterator[Document]:
    """Decide by the first line that is not empty whether each line is a spec."""
    head = b""
    for line in stream:
        head += line
        if line.strip():
            break
    try:
        first = json.loads(head)
    except ValueError:
        first = None
    following = next((line for line in stream if line.strip()), b"") if isinstance(first, dict) else b""
    if following:
        yield Document(first, "line 1")
        yield from _lines(stream, "stdin", before=[following])
        return
    text = _text(head + stream.read(), "stdin")
    looks_like_json = text.lstrip()[:1] in {"{", "[", ""}
    yield from _several([_json(text, "stdin")] if looks_like_json else _yaml(text, "stdin"), "stdin")


def _lines(stream: IO[bytes], name: str, *, before: list[bytes] | None = None) -> Iterator[Document]:
    """NDJSON; `before` are lines that were read already, after a first one."""
    number = 1 if before else 0
    for source in (before or [], stream):
        for line in source:
            number += 1
            if line.strip():
                place = f"line {number}"
                yield Document(_object(_json(_text(line, name), name, line=number), f"{name}, {place}"), place)


def _several(values: list[Any], name: str) -> Iterator[Document]:
    """One document, many YAML documents, or a list of specs."""
    elements = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if not elements:
        raise Unreadable(f'{name} is empty: a job spec is expected, such as {{"payload": {{"command": "true"}}}}')
    for number, value in enumerate(elements, 1):
        place = f"job {number}" if len(elements) > 1 else ""
        yield Document(_object(value, f"{name}, {place}" if place else name), place)


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Unreadable(f'{where}: a job spec must be an object, such as {{"payload": {{"command": "true"}}}}')
    return value


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name} is not UTF-8 text (byte {error.start + 1})") from None


def _json(text: str, name: str, *, line: int | None = None) -> Any:
    if not text.strip():
        raise Unreadable(f"{name} is empty")
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise Unreadable(
            f"{name}: bad JSON at line {line or error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"{name}: bad JSON: {error}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError(
            f"the key {next(key for key, _ in pairs if [k for k, _ in pairs].count(key) > 1)!r} is there twice"
        )
    return value


def _yaml(text: str, name: str) -> list[Any]:
    """All documents of a YAML stream, without the empty ones."""
    import yaml  # noqa: PLC0415 - only YAML needs it

    from relay.cli.yaml_loader import Loader  # noqa: PLC0415 - likewise

    try:
        return [value for value in yaml.load_all(text, Loader=Loader) if value is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Unreadable(f"{name}: bad YAML{place}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(f"{name}: bad YAML: {' '.join(str(error).split())}") from None
