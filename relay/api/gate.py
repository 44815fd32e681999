"""Who may talk to this server at all, before any token is looked at.

`Host` must be one that is served here, so that a web page can't reach a loopback Relay by DNS rebinding; an `Origin` must be
this server's own, so that no other site's script can send requests with a token it got hold of. Neither replaces the
token: programs without a browser set both as they like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay import errors

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

_REMEMBERED = 256


class Gate:
    """Check `Host` and `Origin`; hosts that passed are remembered as they were written."""

    def __init__(self, allowed_hosts: frozenset[str]) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._passed: set[str] = set()

    def check(self, headers: CIMultiDictProxy[str]) -> None:
        """Raise MisdirectedRequest for a foreign Host, Forbidden for a foreign Origin, BadRequest without a Host."""
        host = headers.get("Host")
        if host not in self._passed:
            self._check_host(host)
        origin = headers.get("Origin")
        if origin is not None and origin.lower() not in _own_origins(host or ""):
            raise errors.Forbidden("requests from another site's pages are refused: use Relay from its own address")

    def _check_host(self, host: str | None) -> None:
        if not host:
            raise errors.BadRequest("the request has no Host header")
        name = host_name(host)
        if "*" not in self._allowed and name not in self._allowed and host.lower() not in self._allowed:
            raise errors.MisdirectedRequest
        if len(self._passed) < _REMEMBERED:
            self._passed.add(host)


def _own_origins(host: str) -> tuple[str, str]:
    """Return this server's origins: behind a proxy that ends TLS, the browser's is https."""
    lowered = host.lower()
    return f"http://{lowered}", f"https://{lowered}"


def host_name(host: str) -> str:
    """Return a Host header's name without its port: 'localhost:4000' → 'localhost', '[::1]:4000' → '::1'."""
    lowered = host.lower()
    if lowered.startswith("["):
        return lowered[1:].partition("]")[0]
    return lowered.partition(":")[0]
