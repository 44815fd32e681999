"""Which claims the processes of this machine carry, by the cookies in their environments.

For a worker that has just started: what guard and worker left behind when both were killed runs on, and after its attempt
has been given back no row names it any more. Only processes that this user may look into are seen, and only those of this
pid namespace.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from uuid import UUID

from relay.process import tree

_JOB = "RELAY_JOB_ID"


def list_carried() -> dict[str, int]:
    """Scan all processes: claim ids, each with its job's id. What is no claim (a job may set what it likes) is left out."""
    found: dict[str, int] = {}
    for pid in tree.snapshot():
        with suppress(OSError, ValueError, KeyError):
            environ = _environ(pid)
            found[str(UUID(environ[tree.COOKIE]))] = int(environ[_JOB])
    return found


def _environ(pid: int) -> dict[str, str]:
    words = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace").split("\0")
    return dict(word.split("=", 1) for word in words if word.startswith((f"{tree.COOKIE}=", f"{_JOB}=")))
