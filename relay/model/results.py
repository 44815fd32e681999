"""What one execution came to, as the worker saw it.

A `Result` carries facts only. What they mean for the job (done, retry, dead) is decided in `settle`, from the spec.
Exit code and signal are kept apart: 137 can be a program's own exit code or a SIGKILL, and they call for different answers.
"""

from __future__ import annotations

import signal as signals
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """Why an execution stopped. Whoever stopped it first names it: a timeout's SIGKILL is TIMED_OUT, not SIGNALED."""

    EXITED = "exited"
    SIGNALED = "signaled"
    TIMED_OUT = "timed_out"
    START_ERROR = "start_error"
    LIMIT = "limit"
    CANCELLED = "cancelled"
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Result:
    """One execution's end.

    `signal` is a name (`SIGKILL`). `broken_limit` is `memory`, `processes` or `cpu_time`. `error` is the text of a start
    error, whose `exit_code` is 127 (not found) or 126. `cpu_s` and `peak_memory_bytes` are None where unknown.
    """

    ending: Ending
    exit_code: int | None = None
    signal: str | None = None
    broken_limit: str | None = None
    error: str | None = None
    cpu_s: float | None = None
    peak_memory_bytes: int | None = None
    leftover_processes: int = 0
    stdout_bytes: int = 0
    stderr_bytes: int = 0
    dropped_bytes: int = 0


def signal_name(number: int) -> str:
    """Name a signal: `SIGKILL`, or `SIG35` for one without a name of its own."""
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def signal_number(name: str) -> int | None:
    """Give the number of a signal that `signal_name` named; None for anything else."""
    if name in signals.Signals.__members__:
        return signals.Signals[name].value
    digits = name.removeprefix("SIG")
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) <= 3 else None
