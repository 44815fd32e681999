"""The size of the code's parts: a file or a function that is too long to be read at once is two."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(ROOT) for folder in ("relay", "tests") for path in (ROOT / folder).rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 300, 40


def long_functions(text: str) -> dict[str, int]:
    """The functions that have too many lines, docstring and all, and how many."""
    found = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    sizes = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in found}
    return {name: lines for name, lines in sizes.items() if lines > FUNCTION_LINES}


def test_files_can_be_read_at_once() -> None:
    sizes = {str(path): len((ROOT / path).read_text().splitlines()) for path in FILES}
    assert {path: lines for path, lines in sizes.items() if lines > FILE_LINES} == {}


def test_functions_can_be_read_at_once() -> None:
    found = {str(path): long_functions((ROOT / path).read_text()) for path in FILES}
    assert {path: functions for path, functions in found.items() if functions} == {}


def test_a_long_function_is_noticed_wherever_it_is() -> None:
    body = "\n        pass" * FUNCTION_LINES
    assert long_functions(f"class A:\n    async def long(self):{body}") == {"long": FUNCTION_LINES + 1}
    assert long_functions(f"class A:\n    def short(self):{body[:-13]}") == {}
