"""The audit: who did what, and when.

Changes of jobs, tokens and workers write their rows in their own statements, so that neither can happen without the other.
`record_audit` is for calls that have no such statement: call it in the transaction of what it tells of.
Rows are kept when what they speak of is deleted; they never hold specs, environments or secrets.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay.store import queries

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.store.connection import Connection


async def record_audit(
    conn: Connection, actor: str, *, action: str, job_id: int | None = None, detail: Mapping[str, object] | None = None
) -> None:
    """Note that `actor` ('token:7', 'worker:12', 'cli:root', 'off') did `action` ('schedule.create')."""
    await conn.fetch(queries.text("record_audit"), actor, action, job_id, json.dumps(dict(detail or {})))
