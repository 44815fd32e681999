"""The route table's mechanism: find what a method and a path name.

Paths are plain, or have `{name}` segments that match one segment. A fixed path is one dictionary look-up; the others walk
a tree. The same table makes the OpenAPI document and is compared with it by a test, so a route carries its scope and its
one-line summary.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote

from relay import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aiohttp import web

    from relay.api.call import Call

    Handler: TypeAlias = Callable[[Call], Awaitable[web.StreamResponse]]


class Scope(IntEnum):
    """What a token may do; each includes those before it."""

    NONE = 0
    READ = 1
    SUBMIT = 2
    ADMIN = 3


@dataclass(frozen=True, slots=True)
class Route:
    """One call of the API."""

    method: str
    path: str
    handler: Handler
    scope: Scope
    summary: str
    tag: str = "jobs"
    query: tuple[str, ...] = ()
    body: str | None = None  # the schema's name, for OpenAPI
    answer: str | None = None  # likewise, of the answer as JSON
    media: tuple[str, ...] = ()  # the answer's media types; empty: JSON if `answer` is given, else it has no body
    status: int = 200


@dataclass(slots=True)
class _Node:
    fixed: dict[str, _Node] = field(default_factory=dict)
    any: tuple[str, _Node] | None = None
    routes: dict[str, Route] = field(default_factory=dict)


class Router:
    """Match requests with routes."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._plain = {(route.method, route.path): route for route in routes if "{" not in route.path}
        self._root = _Node()
        for route in routes:
            self._add(route)

    def match(self, method: str, path: str) -> tuple[Route, Mapping[str, str]]:
        """Return the route and its path parameters; raise NotFound or MethodNotAllowed."""
        if plain := self._plain.get((method, path)):
            return plain, {}
        node, params = self._root, dict[str, str]()
        for segment in path[1:].split("/"):
            if following := node.fixed.get(segment):
                node = following
            elif node.any is not None and segment:
                name, node = node.any
                params[name] = unquote(segment)
            else:
                raise errors.NotFound(f"there is no {path} here: see /docs")
        if not node.routes:
            raise errors.NotFound(f"there is no {path} here: see /docs")
        route = node.routes.get("GET" if method == "HEAD" else method)
        if route is None:
            raise MethodNotAllowed(sorted(node.routes))
        return route, params

    def _add(self, route: Route) -> None:
        node = self._root
        for segment in route.path[1:].split("/"):
            if segment.startswith("{"):
                node.any = node.any or (segment[1:-1], _Node())
                node = node.any[1]
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.routes[route.method] = route


class MethodNotAllowed(errors.MethodNotAllowed):
    """This method is not allowed here."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(f"this method is not allowed here: use {' or '.join(allowed)}")
        self.allowed = tuple(allowed)
