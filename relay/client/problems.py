"""Problem documents (RFC 9457) back into the errors they were made from.

The stable `code` names the class; a code this version does not know falls back to its HTTP status, so that an older CLI
still exits as it should.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from relay import errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LONGEST_WAIT_S = 3600


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> errors.RelayError | None:
    """The error that an answer stands for; None if it is no answer of Relay's."""
    try:
        document = json.loads(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or not isinstance(document.get("code"), str):
        return None
    detail = document.get("detail")
    return _class_of(document["code"], status)(
        detail if isinstance(detail, str) else None,
        faults=tuple(_faults(document.get("errors"))),
        retry_after_s=_retry_after_s(headers),
    )


def _class_of(code: str, status: int) -> type[errors.RelayError]:
    classes = list(_subclasses(errors.RelayError))
    by_code = {each.code: each for each in reversed(classes) if each is not errors.Unreachable}
    by_status = {each.status: each for each in reversed(classes) if each not in {errors.Unreachable, errors.BadConfig}}
    return by_code.get(code) or by_status.get(status) or errors.RelayError


def _subclasses(base: type[errors.RelayError]) -> Iterator[type[errors.RelayError]]:
    """The class and all below it that `relay.errors` defines, parents first."""
    if base.__module__ == errors.__name__:
        yield base
    for each in base.__subclasses__():
        yield from _subclasses(each)


def _faults(listed: object) -> Iterator[errors.Fault]:
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict):
            yield errors.Fault(str(each.get("path", "")), str(each.get("message", "")))


def _retry_after_s(headers: Mapping[str, str]) -> int | None:
    """Seconds of a Retry-After header; None for none, or for a date, which Relay does not send."""
    text = headers.get("Retry-After", "")
    return min(int(text), _LONGEST_WAIT_S) if text.isascii() and text.isdigit() and len(text) < 10 else None
