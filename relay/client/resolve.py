"""Which API to talk to, and with which token.

An address that was given wins (`--api`, `RELAY_API`); else a `relay dev` that this user runs; else the default port on this
machine. The token of `relay dev` goes to `relay dev` only: an admin token must not be sent to another address.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from relay.config import local
from relay.errors import BadConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_API = "http://127.0.0.1:4000"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address (without a slash at its end) and the token for it, if there is one; and where each came from."""

    api: str
    token: str | None = field(repr=False)
    api_origin: str = field(default="default", compare=False)
    token_origin: str = field(default="default", compare=False)


def resolve(environ: Mapping[str, str], *, api: str | None = None, token_file: str | None = None) -> Endpoint:
    """Find address and token. Raises BadConfig, naming where the bad value came from."""
    given, origin = (api, "--api") if api else (environ.get("RELAY_API"), "RELAY_API")
    dev = local.running(environ)
    if given:
        address, api_origin = _checked(given, origin), "flag" if api else "environment"
    else:
        address, api_origin = (dev.api, "relay dev") if dev else (DEFAULT_API, "default")
    token, token_origin = _token(environ, token_file)
    if token is None and dev is not None and address == dev.api.rstrip("/"):
        token, token_origin = dev.token, "relay dev"
    return Endpoint(address.rstrip("/"), token, api_origin, token_origin)


def _checked(address: str, origin: str) -> str:
    address = address.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    else:
        valid = valid and "@" not in parts.netloc and not parts.query and not parts.fragment and address.isprintable()
    if not valid:
        raise BadConfig(f"{origin} must be an address like {DEFAULT_API}, without user, query or token")
    return address


def _token(environ: Mapping[str, str], token_file: str | None) -> tuple[str | None, str]:
    """The token that was given, if one was, and its origin as `relay doctor` tells it."""
    path = token_file or (None if environ.get("RELAY_TOKEN") else environ.get("RELAY_TOKEN_FILE"))
    token, origin = (_read(path), path) if path else (environ.get("RELAY_TOKEN", ""), "RELAY_TOKEN")
    token = token.strip()
    if not token:
        if path:
            raise BadConfig(f"the token file {path} is empty")
        return None, "default"
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadConfig(f"{origin} does not hold a token: those are rly_… in plain letters and digits")
    return token, f"file {path}" if path else "environment"


def _read(path: str) -> str:
    try:
        file = Path(path)
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadConfig(f"the token file {path} can't be read: {reason}") from None
    if stat.S_ISREG(mode) and mode & 0o066:
        raise BadConfig(f"other users can read the token file {path}: chmod 600 it")
    return text
