"""Sizes in bytes: `512M`, `10M`, `1.5G`, where K, M and G are powers of 1024 (as in `ulimit`, cgroups and `dd`).

`MB` and `MiB` are refused rather than guessed at, since half the world means 1000 by the first. A plain number is bytes.
`parse_size(format_size(n)) == n` for every whole n up to the limit.
"""

from __future__ import annotations

import re
from functools import lru_cache

MAX_SIZE_BYTES = 2**50
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?)([KMG]?)", re.IGNORECASE | re.ASCII)
_EXPECTED = "must be a size such as 64K, 512M or 1G, or a whole number of bytes"


def parse_size(value: object) -> int:
    """Read a size, in bytes.

    Raises:
        ValueError: it is none, is negative, or is beyond 1024 T; the text completes '<name> …'.

    """
    if isinstance(value, str):
        return _parse_text(value) if len(value) <= 32 else _refuse()
    if isinstance(value, bool) or not isinstance(value, int):
        return _refuse()
    return _bounded(value)


@lru_cache(maxsize=1024)
def _parse_text(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        return _refuse()
    number, unit = match[1], _UNITS[match[2].upper()]
    return _bounded(int(number) * unit if number.isdecimal() else round(float(number) * unit))


def _bounded(size: int) -> int:
    if size < 0:
        raise ValueError("must not be negative")
    if size > MAX_SIZE_BYTES:
        raise ValueError("is more than any machine has")
    return size


def _refuse() -> int:
    raise ValueError(_EXPECTED)


@lru_cache(maxsize=1024)
def format_size(size_bytes: int) -> str:
    """Write bytes with the largest unit that divides them: `10M`, `1536K`, `1000`."""
    for unit, factor in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)
