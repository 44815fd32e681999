"""Tables: aligned text for pipes, never cut; rich on a capable terminal, fitted to its width.

The columns of a table are the same in both. rich is imported only for a terminal.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from relay.cli import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.table import Table

T = TypeVar("T")

STATUS_STYLES = {
    "PENDING": "yellow",
    "RUNNING": "cyan",
    "FAILED": "magenta",
    "COMPLETED": "green",
    "DEAD": "red",
    "CANCELLED": "dim",
    "active": "green",
    "draining": "yellow",
    "lost": "red",
}


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A heading and how a row's cell is made. `is_number`: aligned to the right. `is_long`: cut first on a narrow terminal."""

    heading: str
    value: Callable[[T], object]
    is_number: bool = False
    is_long: bool = False


def write(columns: Sequence[Column[T]], rows: Sequence[T]) -> None:
    """Write the table to stdout."""
    if not terminal.is_fancy(sys.stdout):
        sys.stdout.write(plain(columns, rows))
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import, and only a terminal needs it

    styles: Literal["auto"] | None = "auto" if terminal.has_colour(sys.stdout) else None  # NO_COLOR: nor bold, nor dim
    Console(color_system=styles, highlight=False).print(rich(columns, rows))


def plain(columns: Sequence[Column[T]], rows: Sequence[T]) -> str:
    """The table as lines of aligned text, two spaces between columns."""
    cells = [[column.heading for column in columns]]
    cells += [[terminal.cell(column.value(row)) or "-" for column in columns] for row in rows]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return "".join(_line(line, widths, columns) for line in cells)


def _line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column[T]]) -> str:
    padded = [
        text.rjust(width) if column.is_number else text.ljust(width)
        for text, width, column in zip(cells, widths, columns, strict=True)
    ]
    return "  ".join(padded).rstrip() + "\n"


def rich(columns: Sequence[Column[T]], rows: Sequence[T]) -> Table:
    """The table for a terminal: styled states, long cells shortened."""
    from rich.table import Table  # noqa: PLC0415 - see `write`
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        # rich narrows the columns that may wrap before all others; their cells forbid it, and so are cut instead.
        table.add_column(
            Text(column.heading, no_wrap=True, overflow="ellipsis"),
            justify="right" if column.is_number else "left",
            no_wrap=not column.is_long,
        )
    for row in rows:
        texts = [terminal.cell(column.value(row)) for column in columns]
        table.add_row(
            *(Text(text, style=STATUS_STYLES.get(text, ""), no_wrap=True, overflow="ellipsis") for text in texts)
        )
    return table
