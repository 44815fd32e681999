"""The listening socket: from bind to drain.

At the end nothing new is accepted, idle connections close, streams and waits are told to come back, and requests under way
have `DRAIN_S` to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

from aiohttp import web

from relay import errors, log
from relay.api import app, connections

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from relay.api.call import Parts
    from relay.config import Settings

DRAIN_S = 10.0
_BACKLOG = 1024

_log = log.get(__name__)


@contextlib.asynccontextmanager
async def listening(parts: Parts) -> AsyncIterator[str]:
    """Answer requests within the block, whose end drains; yields the address. A TCP port of 0 becomes a free one."""
    settings = parts.settings
    server = connections.Server(app.Api(parts).handle)
    runner = web.ServerRunner(server, shutdown_timeout=DRAIN_S)
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port, ssl_context=_tls(settings), backlog=_BACKLOG)
    sweeping = asyncio.create_task(server.sweep(), name="sweep")
    try:
        await _start(site, settings)
        _log.info("serve.listening", api=site.name)
        yield site.name
        _log.info("serve.draining")
    finally:
        parts.watch.close()
        await runner.cleanup()
        sweeping.cancel()
        await asyncio.wait({sweeping})


async def _start(site: web.TCPSite, settings: Settings) -> None:
    try:
        await site.start()
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise errors.BadConfig(f"can't listen on {where} (RELAY_HOST, RELAY_PORT): {error.strerror}") from error


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise errors.BadConfig(f"RELAY_TLS_CERT and RELAY_TLS_KEY can't be used: {error.strerror or error}") from error
    return context
