"""The one way in: gate, route, token, handler, answer.

Every request of every kind goes through `Api.handle`, and every error leaves through it as a problem document. It is one
function around the handler instead of a chain of middlewares because at 10,000 requests a second each layer shows.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from relay import errors
from relay.api import connections, metrics, problems, routing
from relay.api.auth import Tokens
from relay.api.call import Call, Parts
from relay.api.fleet import Numbers
from relay.api.gate import Gate
from relay.api.health import Looks
from relay.api.streams import Readers
from relay.api.submissions import Submissions
from relay.api.table import ROUTES
from relay.api.watch import Watch
from relay.maintenance.state import State

if TYPE_CHECKING:
    from uuid import UUID

    from relay.api.call import Publisher
    from relay.config import Settings
    from relay.lease import Leases
    from relay.store.connection import Pool

_MAX_TARGET = 4096


def assemble(
    settings: Settings,
    *,
    cluster_id: UUID,
    pool: Pool,
    leases: Leases,
    publisher: Publisher,
    maintenance: State | None = None,
) -> Parts:
    """Make the API's parts over the stores; `submissions.serve` and `watch.serve` must run while it answers.

    `maintenance` is what the maintenance beside it writes down; None: there is none.
    """
    return Parts(
        settings=settings,
        cluster_id=cluster_id,
        pool=pool,
        leases=leases,
        publisher=publisher,
        tokens=Tokens(pool, is_on=settings.auth),
        submissions=Submissions(pool, publisher),
        watch=Watch(pool, leases),
        readers=Readers(),
        looks=Looks(),
        numbers=Numbers(),
        maintenance=maintenance or State(),
    )


class Api:
    """The API over its parts; `handle` is what the server calls for each request."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._gate = Gate(parts.settings.allowed_hosts)
        self._router = routing.Router(ROUTES)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; raises nothing but cancellation and lost connections."""
        connections.busy(request)
        try:
            response = await self._answer(request)
        except errors.RelayError as error:
            response = problems.answer(error)
        except (web.RequestPayloadError, UnicodeError) as error:
            response = problems.answer(errors.BadRequest(f"the body can't be read: {error}"))
            response.force_close()
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: it is logged under an id, and answered
            response = problems.answer_unexpected(error, method=request.method, path=request.path)
        finally:
            connections.quiet(request)
        metrics.count_request(request.method, response.status)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._gate.check(request.headers)
        path, query = _target(request)
        route, params = self._router.match(request.method, path)
        principal = await self._parts.tokens.check(request.headers.get("Authorization"), route.scope)
        return await route.handler(Call(request, self._parts, principal, params, query))


def _target(request: web.BaseRequest) -> tuple[str, str]:
    """Split the request's target into path and query, both as they were sent."""
    target = request.raw_path
    if len(target) > _MAX_TARGET:
        raise errors.BadRequest(f"the address is longer than {_MAX_TARGET} characters")
    if not target.startswith("/"):
        target = request.rel_url.raw_path_qs
    path, _, query = target.partition("#")[0].partition("?")
    return path, query
