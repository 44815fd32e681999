"""The README's generated tables: `python -m tests.readme` writes them anew; a test compares them with the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from relay.config.variables import VARIABLES
from relay.model import spec
from tests.chaos import rows

if TYPE_CHECKING:
    from collections.abc import Iterator

README = Path(__file__).parents[1] / "README.md"
_MARKED = r"(<!-- {name}: python -m tests.readme -->\n)(.*?)(\n<!-- end -->)"


def tables() -> dict[str, str]:
    """Each generated table by its marker's name."""
    return {"job spec": _spec_table(), "settings": _settings_table(), "chaos": rows.table()}


def written(name: str) -> str:
    """The table as the README has it."""
    match = re.search(_MARKED.format(name=name), README.read_text(encoding="utf-8"), re.DOTALL)
    assert match, f"README.md has no place for the table '{name}'"
    return match.group(2)


def examples() -> Iterator[tuple[str, dict[str, Any]]]:
    """The README's example specs: the heading's words and the spec of each YAML block."""
    for title, text in re.findall(
        r"^\*\*(.+?)\*\*.*?\n+```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    ):
        yield title, yaml.safe_load(text)


def _spec_table() -> str:
    schema = spec.json_schema()
    parts = schema["$defs"]
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for prefix, name in (
        ("", "JobSpec"),
        ("payload.", "Payload"),
        ("payload.limits.", "Limits"),
        ("backoff.", "Backoff"),
    ):
        for key, field in parts[name]["properties"].items():
            rows.append(f"| `{prefix}{key}` | {_default(field)} | {_meaning(field)} |")
    return "\n".join(rows)


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    if default in (None, [], {}):
        return ""
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`"


def _meaning(field: dict[str, Any]) -> str:
    words = next((each["enum"] for each in (field, *field.get("anyOf", ())) if "enum" in each), ())
    choice = " · ".join(f"`{word}`" for word in words)
    return ": ".join(each for each in (choice, field.get("description", "").replace("|", r"\|")) if each)


def _settings_table() -> str:
    rows = ["| variable | default | |", "|---|---|---|"]
    for each in VARIABLES:
        if each.is_documented:
            name = f"`{each.name}`" + (" / `_FILE`" if each.is_secret else "")
            default = f"`{each.default}`" if each.default else ""
            rows.append(f"| {name} | {default} | {each.help} |")
    return "\n".join(rows)


def main() -> None:
    """Write the tables into the README."""
    text = README.read_text(encoding="utf-8")
    for name, table in tables().items():
        found = re.search(_MARKED.format(name=name), text, re.DOTALL)
        assert found, f"README.md has no place for the table '{name}'"
        text = text[: found.start(2)] + table + text[found.end(2) :]
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
