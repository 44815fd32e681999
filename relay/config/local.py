"""The file by which the CLI finds a running `relay dev` of the same user, and the token in it.

`relay dev` writes it when it is ready and removes it when it ends; a copy lies in its data folder. It holds an admin token,
so it is created 0600 and believed only if it is the user's own and closed to others. A `relay dev` that was killed leaves
the file behind: its `pid` tells. A pid taken over by another process of the user is not noticed; the CLI then reports that
the API can't be reached.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DevState:
    """What a running `relay dev` tells: addresses, an admin token, and the pid of its main process."""

    api: str
    token: str = dataclasses.field(repr=False)
    db_dsn: str = dataclasses.field(repr=False)
    kafka_brokers: str
    redis_addr: str
    pid: int


def state_path(environ: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/relay/dev.json`, by default under `~/.local/state`."""
    base = environ.get("XDG_STATE_HOME", "")
    root = Path(base) if base.startswith("/") else Path(environ.get("HOME") or Path.home()) / ".local" / "state"
    return root / "relay" / "dev.json"


def write(path: Path, state: DevState) -> None:
    """Replace the file at once: a reader sees the old one or the whole new one, and never one that is open to others."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(state), file, indent=2)
        file.write("\n")
    draft.replace(path)


def read(path: Path) -> DevState | None:
    """The state in the file, or None if there is none that can be believed."""
    try:
        with path.open(encoding="utf-8") as file:
            info = os.fstat(file.fileno())
            if info.st_uid != os.geteuid() or stat.S_IMODE(info.st_mode) & 0o077:
                return None
            found = json.load(file)
        return DevState(**{each.name: found[each.name] for each in dataclasses.fields(DevState)})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running(environ: Mapping[str, str]) -> DevState | None:
    """The state of this user's `relay dev`, if one is running."""
    state = read(state_path(environ))
    return state if state is not None and _lives(state.pid) else None


def remove(path: Path, *, pid: int) -> None:
    """Remove the file if it still is the one that `pid` wrote."""
    state = read(path)
    if state is not None and state.pid == pid:
        path.unlink(missing_ok=True)


def _lives(pid: object) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    with contextlib.suppress(OSError):
        os.kill(pid, 0)
        return True
    return False
