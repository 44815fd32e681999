"""Addresses of the stores: repaired where a password has characters that a URL reserves, and masked to be shown.

People paste passwords as they are. `postgresql://relay:p@ss:w/or#d@db/relay` is not a valid URL, yet it can be read in one
way only: the password reaches to the last `@` before the host. If every `%` in it begins an escape, it is taken as
escaped already; else as it stands. Only a password that happens to contain nothing but valid escapes must be escaped.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

MASK = "***"

_URL = re.compile(
    r"""(?P<scheme>[a-z][a-z0-9+.-]*)://
        (?:(?P<user>[^:/?\#]*?)(?P<secret>:(?P<password>.*))?@)?
        (?P<hosts>[^@/?\#]*)
        (?P<path>/[^?\#@]*)?""",
    re.VERBOSE | re.DOTALL,
)
_QUERY = re.compile(r"\?[A-Za-z_][A-Za-z0-9_.]*=[^?]*$")
_SECRET_IN_QUERY = re.compile(r"(?i)([?&](?:password|sslpassword)=)[^&]*")
_VALID_ESCAPES = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)


def repaired(url: str, *, schemes: frozenset[str], what: str) -> str:
    """The same address with user and password escaped. Raises ValueError that says `what` it should be, never the value."""
    if not url.isprintable():
        raise ValueError(f"is not {what}: it contains a control character")
    query = _QUERY.search(url)
    tail = query.group() if query else ""
    match = _URL.fullmatch(url[: len(url) - len(tail)])
    if match is None or match["scheme"] not in schemes:
        raise ValueError(f"is not {what}")
    for host in filter(None, match["hosts"].split(",")):
        check_host_port(host, need_port=False)
    credentials = ""
    if match["user"] is not None:
        credentials = _escaped(match["user"]) + (":" + _escaped(match["password"]) if match["secret"] else "") + "@"
    return f"{match['scheme']}://{credentials}{match['hosts']}{match['path'] or ''}{tail}"


def masked(url: str) -> str:
    """An address fit to be shown: its password replaced. Expects one that `repaired` returned."""
    without = re.sub(r"(://[^:@/?#]*):[^@]*@", rf"\1:{MASK}@", url, count=1)
    return _SECRET_IN_QUERY.sub(rf"\1{MASK}", without)


def check_host_port(text: str, *, need_port: bool = True) -> str:
    """Check `host:port` (IPv6 in brackets) and return it. Raises ValueError without the text: it may hold a secret."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]*))?", text)
    if match is None:
        raise ValueError("is not host:port")
    if match[2] is None and not need_port:
        return text
    if not match[2] or not 1 <= int(match[2][:6]) <= 65535:
        raise ValueError("needs a port from 1 to 65535")
    return text


def _escaped(text: str) -> str:
    raw = unquote(text) if _VALID_ESCAPES.fullmatch(text) else text
    return quote(raw, safe="")
