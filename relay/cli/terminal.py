"""What a terminal may be sent, and who is told what.

A job's output may hold escape sequences that recolour the screen, retitle the window, fill the clipboard (OSC 52) or answer
as if the user had typed. On a terminal all of them are shown as what they are; a carriage return alone becomes a new line,
so that no text can hide another. Elsewhere, and with `--raw`, the bytes go through untouched.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from typing import TextIO

# C0 but tab and newline; DEL and C1; marks that turn the direction of text; line separators.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ALONE = re.compile("\r(?!\n)")


def complain(message: str) -> None:
    """One plain line on stderr: what went wrong and what to do next."""
    say(f"relay: {message}")


def say(message: str) -> None:
    """One plain line of talk on stderr."""
    line = shown(" ".join(message.split()))
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, UnicodeEncodeError):
        return  # nobody is there to be told


def is_terminal(stream: TextIO) -> bool:
    """Whether a person reads (or types) there; never raises, also not for a closed stream."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def is_fancy(stream: TextIO) -> bool:
    """Whether tables may use the terminal's width and style."""
    return is_terminal(stream) and os.environ.get("TERM", "") not in {"", "dumb"}


def has_colour(stream: TextIO) -> bool:
    """Whether to colour: a capable terminal, and no NO_COLOR (https://no-color.org)."""
    return is_fancy(stream) and not os.environ.get("NO_COLOR")


def shown(text: str) -> str:
    """Text with every control character made visible: an escape shows as `^[`."""
    return _HARMFUL.sub(_visible, text)


def cell(value: object) -> str:
    """A value as one cell of a table: on one line, nothing for None."""
    return "" if value is None else shown(str(value)).replace("\n", "^J").replace("\t", " ")


class Neutraliser:
    """Make a stream of output bytes fit for a terminal, piece by piece."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._held = ""

    def feed(self, data: bytes, *, final: bool = False) -> str:
        """The next piece of text. A carriage return or half a character at the end is held back for the next one."""
        text = self._held + self._decode(data, final)
        self._held = ""
        if text.endswith("\r") and not final:
            text, self._held = text[:-1], "\r"
        return shown(_ALONE.sub("\n", text).replace("\r\n", "\n"))


def _visible(match: re.Match[str]) -> str:
    code = ord(match.group())
    if code < 0x20 or code == 0x7F:
        return "^" + chr(code ^ 0x40)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
