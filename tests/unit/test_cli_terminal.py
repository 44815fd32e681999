"""What a terminal is sent, and tables."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from relay.cli import logs, output, tables, terminal
from relay.cli.tables import Column

if TYPE_CHECKING:
    from relay.client.types import Record


def neutralised(*pieces: bytes) -> str:
    neutraliser = terminal.Neutraliser()
    return "".join([*(neutraliser.feed(piece) for piece in pieces), neutraliser.feed(b"", final=True)])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"\x1b[31mred\x1b[0m", "^[[31mred^[[0m"),
        (b"\x1b]52;c;cm0gLXJm\x07", "^[]52;c;cm0gLXJm^G"),
        (b"\x1b]0;title\x1b\\", "^[]0;title^[\\"),
        ("\x9b2J".encode(), "\\x9b2J"),
        ("a\u202eb".encode(), "a\\u202eb"),
        (b"10%\r20%\r30%\n", "10%\n20%\n30%\n"),
        (b"dos\r\nline\r\n", "dos\nline\n"),
        (b"tab\tand \xc3\xbc\n", "tab\tand ü\n"),
        (b"\x00\x08\x7f\xff", "^@^H^?\ufffd"),
    ],
)
def test_control_sequences_are_shown_not_obeyed(written: bytes, expected: str) -> None:
    assert neutralised(written) == expected


def test_a_sequence_cut_anywhere_is_still_neutralised() -> None:
    whole = "x\x1b]0;ü\x07\r\ny\rz".encode()
    for cut in range(len(whole)):
        assert neutralised(whole[:cut], whole[cut:]) == "x^[]0;ü^G\ny\nz"


def record(seq: int, data: bytes) -> Record:
    return {"attempt": 1, "seq": seq, "ts": "", "stream": "stdout", "base64": base64.b64encode(data).decode()}


@pytest.mark.parametrize("lines", range(7))
def test_tail_keeps_the_last_lines_wherever_records_are_cut(lines: int) -> None:
    whole = b"1\n2\n\n4\n5"
    expected = b"".join(whole.splitlines(keepends=True)[-lines:] if lines else [])
    for cut in range(1, len(whole)):
        records = [record(1, whole[:cut]), record(2, whole[cut:])]
        assert b"".join(map(output.data_of, logs.last_lines(records, lines))) == expected


def test_tail_counts_a_last_line_that_has_an_end_once() -> None:
    assert [output.data_of(each) for each in logs.last_lines([record(1, b"a\nb\n")], 1)] == [b"b\n"]


def test_a_plain_table_is_aligned_and_never_cut() -> None:
    columns: list[Column[tuple[int, str | None]]] = [
        Column("ID", lambda row: row[0], is_number=True),
        Column("NAME", lambda row: row[1]),
    ]
    long = "n" * 300
    assert tables.plain(columns, [(1, "a\nb"), (100, None), (2, long)]) == (
        f" ID  NAME\n  1  a^Jb\n100  -\n  2  {long}\n"
    )


def test_a_narrow_terminal_cuts_names_before_anything_else() -> None:
    columns: list[Column[str]] = [
        Column("ID", lambda _: 1234567, is_number=True),
        Column("NAME", lambda row: row, is_long=True),
        Column("STATUS", lambda _: "COMPLETED"),
    ]
    console = Console(width=30, color_system=None, file=io.StringIO())
    with console.capture() as written:
        console.print(tables.rich(columns, ["n" * 90]))
    assert written.get().splitlines() == ["     ID  NAME        STATUS   ", f"1234567  {'n' * 9}…  COMPLETED"]


def test_no_color_leaves_no_escape_sequence(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty(io.StringIO):
        def isatty(self) -> bool:
            return True

    columns: list[Column[str]] = [Column("STATUS", lambda row: row)]
    written = Tty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout", written)
    tables.write(columns, ["CANCELLED"])
    assert [line.strip() for line in written.getvalue().splitlines()] == ["STATUS", "CANCELLED"]


def test_colour_needs_a_capable_terminal_and_no_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty:
        def isatty(self) -> bool:
            return True

    stream = Tty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert terminal.has_colour(stream)  # type: ignore[arg-type]
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.has_colour(stream)  # type: ignore[arg-type]
    assert terminal.is_fancy(stream)  # type: ignore[arg-type]
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.is_fancy(stream)  # type: ignore[arg-type]
