"""The files of `sql/queries`, and what their header comments say."""

from __future__ import annotations

import re

from relay.store import queries

STEMS = sorted(path.stem for path in (queries.folder() / "queries").glob("*.sql"))
PARAMETER = re.compile(r"^-- \$(\d+) (.*)$", re.MULTILINE)
TYPE = re.compile(
    r"(?<!\w)(double precision|timestamptz|bigint|integer|smallint|boolean|text|jsonb?|bytea|uuid|date)(\[\])?"
)
CATALOG_NAMES = {
    "double precision": "float8",
    "bigint": "int8",
    "integer": "int4",
    "smallint": "int2",
    "boolean": "bool",
}


def header(stem: str) -> str:
    """The comment that a statement begins with."""
    lines = queries.text(stem).splitlines()
    return "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("--"))])


def documented_types(stem: str) -> list[str]:
    """The parameters' types by the header, as PostgreSQL's catalog names them."""
    found = PARAMETER.findall(header(stem))
    assert [int(number) for number, _ in found] == list(range(1, len(found) + 1))
    types = []
    for _, words in found:
        match = TYPE.search(words)
        assert match is not None, f"no type in {words!r}"
        types.append(CATALOG_NAMES.get(match[1], match[1]) + (match[2] or ""))
    return types
