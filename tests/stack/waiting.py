"""Waiting for facts: look again until one holds, or fail with what was seen last."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")
LOOK_S = 0.02


@overload
async def until(look: Callable[[], Awaitable[T | None]], *, within_s: float = ..., what: str = ...) -> T: ...
@overload
async def until(look: Callable[[], T | None], *, within_s: float = ..., what: str = ...) -> T: ...
async def until(look: Callable[[], object], *, within_s: float = 15.0, what: str = "") -> object:
    """The first truthy answer of `look` (sync or async). Raises AssertionError when there is none in time."""
    seen: object = None
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = look()
                seen = await found if inspect.isawaitable(found) else found
                if seen:
                    return seen
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"{what or 'nothing'} within {within_s:g} s; last seen: {seen!r}") from None
