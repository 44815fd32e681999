"""What end-to-end tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from tests.e2e import running_dev, shared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.stack import Cluster, Stack


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """A Relay that the module's tests share: see `shared`."""
    async with shared.started(stack, tmp_path_factory.mktemp("relay")) as running:
        yield running


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[running_dev.StartDev]:
    """Start `relay dev`: `relay = await dev("--", "echo", "hi")`. All are killed after the test."""
    started: list[running_dev.Dev] = []

    async def start(*arguments: str, data: Path | None = None, **environ: str) -> running_dev.Dev:
        started.append(await running_dev.start(tmp_path, *arguments, data=data, environ=environ))
        return started[-1]

    yield start
    for each in started:
        if each.process.returncode is None:
            each.process.kill()
        await each.process.communicate()
