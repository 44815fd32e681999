"""Who a request comes from, by its bearer token.

Only the SHA-256 of a token is stored and looked for. What was found, also that nothing was, is kept for `tokens.KEPT_S`: a busy
client costs one look-up in that time, and a revoked token works at most that much longer. Whatever is wrong with a token
(none, malformed, unknown, expired, revoked) gets one and the same answer.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from relay import errors
from relay.api.routing import Scope
from relay.store import connection, tokens

if TYPE_CHECKING:
    from relay.store.connection import Pool

_CACHED = 4096
_FORM = re.compile(r"Bearer (rly_([0-9]{1,18})_[A-Za-z0-9_-]{43})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: `actor` is what the audit says ('token:7'), `scope` what it may do."""

    actor: str
    scope: Scope


NOBODY = Principal("nobody", Scope.NONE)
OPERATOR = Principal("off", Scope.ADMIN)  # RELAY_AUTH=off: config allows it on loopback outside production only


class Tokens:
    """Turn an Authorization header into a Principal."""

    def __init__(self, pool: Pool, *, is_on: bool) -> None:
        self._pool = pool
        self._is_on = is_on
        self._cache: dict[bytes, tuple[Principal | None, float]] = {}

    async def check(self, header: str | None, scope: Scope) -> Principal:
        """Return who it is; raise Unauthorized, or Forbidden when the token's scope does not reach."""
        if scope is Scope.NONE:
            return NOBODY
        if not self._is_on:
            return OPERATOR
        principal = await self._find(header or "")
        if principal is None:
            raise errors.Unauthorized
        if principal.scope < scope:
            raise errors.Forbidden(
                f"this call needs the scope '{scope.name.lower()}', and the token has '{principal.scope.name.lower()}'"
            )
        return principal

    async def _find(self, header: str) -> Principal | None:
        form = _FORM.fullmatch(header)
        if form is None:
            return None
        digest = hashlib.sha256(form[1].encode()).digest()
        known = self._cache.get(digest)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        principal, valid_s = await self._look_up(int(form[2]), digest)
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        self._cache[digest] = principal, time.monotonic() + valid_s
        return principal

    async def _look_up(self, token_id: int, digest: bytes) -> tuple[Principal | None, float]:
        async with connection.connection(self._pool) as conn:
            token = await tokens.find_token(conn, token_id)
        if token is None or not hmac.compare_digest(token.sha256, digest) or token.revoked_at is not None:
            return None, tokens.KEPT_S
        left_s = tokens.KEPT_S
        if token.expires_at is not None:
            left_s = min(left_s, (token.expires_at - datetime.now(UTC)).total_seconds())
        if left_s <= 0:
            return None, tokens.KEPT_S
        return Principal(f"token:{token.id}", Scope[token.scope.upper()]), left_s
