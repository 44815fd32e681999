"""What tests of the store share: one connection to the fresh database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.store.connection import Connection


@pytest.fixture
async def conn(db: str) -> AsyncIterator[Connection]:
    """A connection to the fresh database."""
    opened = await asyncpg.connect(db)
    yield opened
    await opened.close()
