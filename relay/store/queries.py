"""The text of the SQL statements, one file each.

Statements live in `sql/queries/<stem>.sql` so that PostgreSQL's own tools read them as they are, and a test can prepare each
against a migrated database. In a wheel `sql` is shipped inside the package (`relay/_sql`); in a checkout it lies beside it.
Each file is read once per process: an edit needs a restart.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import relay


@cache
def folder() -> Path:
    """Find the folder that holds `migrations` and `queries`."""
    package = Path(relay.__file__).resolve().parent
    shipped = package / "_sql"
    return shipped if shipped.is_dir() else package.parent / "sql"


@cache
def text(stem: str) -> str:
    """Read one statement. An unknown stem is a programming error: FileNotFoundError."""
    return (folder() / "queries" / f"{stem}.sql").read_text("utf-8")
