"""A chain's child reads its parent's stdout: streamed from PostgreSQL page by page, never loaded whole."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from relay import errors
from relay.store import logs
from relay.store.connection import connection

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from relay.model.records import OutputRecord
    from relay.store.connection import Pool

_PAGE_BYTES = 1 << 20
_RETRY_S = 0.5
_STDOUT = 1


class ParentOutput:
    """Streams of parents' stdout for the children that run here."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stream(self, parent_id: int, attempt: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the stdout of a parent's attempt, in order; an outage of PostgreSQL only delays it."""
        if attempt is None:  # the parent ended without any attempt: it expired
            return
        after_seq = 0
        while page := await self._page(parent_id, attempt, after_seq):
            for record in page:
                yield record.data
            after_seq = page[-1].seq

    async def _page(self, parent_id: int, attempt: int, after_seq: int) -> list[OutputRecord]:
        while True:
            try:
                async with connection(self._pool) as conn:
                    return await logs.read_output(
                        conn, parent_id, attempt, after_seq=after_seq, stream=_STDOUT, limit_bytes=_PAGE_BYTES
                    )
            except errors.Unavailable:
                await asyncio.sleep(_RETRY_S)
