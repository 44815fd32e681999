"""What a list is narrowed to, from a query string or a JSON body, and where its next page begins.

A cursor is opaque: the id that the next page starts below, with a keyed checksum, so that one made up or taken from another
Relay is refused instead of answering something. Pages go by id, so jobs that come in meanwhile shift nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from relay.api.call import MAX_ID
from relay.api.query import BadQuery
from relay.model import times
from relay.model.states import JobStatus
from relay.store.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from relay.api.query import Query

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000
NAMES = ("status", "queue", "name", "label", "parent_id", "worker", "created_after", "created_before")
_QUEUE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_MAX_REPEATS = 50


def read(query: Query, *, states: Sequence[JobStatus] = tuple(JobStatus)) -> Filters:
    """Take the list filters out of a query; what is wrong with them is noted there, for `query.done` to tell.

    `states`: those that the list can hold, and so may be asked for.
    """
    return Filters(
        statuses=_statuses(query, states),
        queues=_queues(query),
        name=query.one("name"),
        labels=_labels(query),
        parent_id=query.integer("parent_id", low=1, high=MAX_ID),
        worker_id=query.integer("worker", low=1, high=MAX_ID),
        created_after=query.parsed("created_after", times.parse_time),
        created_before=query.parsed("created_before", times.parse_time),
    )


def read_page(query: Query, cluster_id: UUID) -> tuple[int, int | None]:
    """Take `limit` and `cursor`; return the limit, and the id that the page starts below (None: the newest)."""
    limit = query.integer("limit", low=1, high=MAX_LIMIT) or DEFAULT_LIMIT
    cursor = query.one("cursor")
    return limit, None if cursor is None else read_cursor(cursor, cluster_id)


def make_cursor(before_id: int, cluster_id: UUID) -> str:
    """Write the id that the next page starts below."""
    body = before_id.to_bytes(8, "big")
    return base64.urlsafe_b64encode(body + _checksum(body, cluster_id)).decode().rstrip("=")


def read_cursor(text: str, cluster_id: UUID) -> int:
    """Return the id in a cursor; raise BadQuery for one that this Relay did not make."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    body, checksum = raw[:8], raw[8:]
    if len(raw) != 16 or not hmac.compare_digest(checksum, _checksum(body, cluster_id)):
        raise BadQuery("cursor: is not one that a page of this list gave")
    return int.from_bytes(body, "big")


def _checksum(body: bytes, cluster_id: UUID) -> bytes:
    return hashlib.blake2b(body, key=cluster_id.bytes, digest_size=8).digest()


def _statuses(query: Query, states: Sequence[JobStatus]) -> tuple[JobStatus, ...]:
    found = []
    for word in _repeated(query, "status"):
        if word.upper() in states:
            found.append(JobStatus(word.upper()))
        elif len(states) == 1:
            query.fault("status", f"{word[:40]!r} can't be met: here all are {states[0]}")
        else:
            query.fault("status", f"{word[:40]!r} is none of {', '.join(states)}")
    return tuple(dict.fromkeys(found))


def _queues(query: Query) -> tuple[str, ...]:
    names = _repeated(query, "queue")
    for name in names:
        if not _QUEUE.fullmatch(name):
            query.fault("queue", f"{name[:70]!r} can't be a queue's name")
    return tuple(dict.fromkeys(names))


def _labels(query: Query) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in _repeated(query, "label"):
        key, colon, value = pair.partition(":")
        if not key or not colon:
            query.fault("label", f"{pair[:80]!r} must be KEY:VALUE")
        elif found.setdefault(key, value) != value:
            query.fault("label", f"{key[:80]!r} can't have two values")
    return found


def _repeated(query: Query, name: str) -> list[str]:
    values = query.all(name)
    if len(values) > _MAX_REPEATS:
        query.fault(name, f"may be given at most {_MAX_REPEATS} times")
        return []
    return values
