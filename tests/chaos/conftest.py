"""What the chaos tests share: stores that are started once, and a stage for each test."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.chaos import lengths as how_long
from tests.chaos import scene
from tests.chaos import stores as servers_of
from tests.chaos.stage import TTL_S, Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from tests.chaos.lengths import Lengths
    from tests.chaos.network import Network
    from tests.chaos.stage import Stages
    from tests.chaos.stores import Stores

SEED = 20


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stores]:
    """Stores that tests may stop, kill and wipe: each starts from healed ones, on a database of its own."""
    running = await servers_of.start(tmp_path_factory.mktemp("chaos"), stack=request.config.getoption("--stack"))
    yield running
    await running.end()


@pytest.fixture
def lengths(request: pytest.FixtureRequest) -> Lengths:
    """How long faults last, and how much is written."""
    return how_long.FULL if request.config.getoption("--full-length") else how_long.SHORT


@pytest_asyncio.fixture(loop_scope="session")
async def stage(servers: Stores, tmp_path: Path) -> Stages:
    """Open stages on the shared stores."""

    @contextlib.asynccontextmanager
    async def open_(
        *,
        serves: int = 1,
        works: int = 2,
        concurrency: int = 8,
        without: str = "",
        before: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        network: Network | None = None,
        stores: Stores | None = None,
    ) -> AsyncIterator[Stage]:
        async with scene.on(
            stores or servers,
            tmp_path,
            serves=serves,
            works=works,
            ttl_s=TTL_S,
            concurrency=concurrency,
            without=without,
            before=before,
            environ=environ,
            network=network,
        ) as staged:
            yield Stage(staged, random.Random(SEED))

    return open_
