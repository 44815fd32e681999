"""Read the environment, files and flags into `Settings`, and refuse all that is wrong at once.

A flag beats the environment; a value and its `_FILE` together are an error, because one of them would be ignored. An empty
variable counts as unset, as compose files write it. Unknown `RELAY_…` names are errors: they are nearly always typos.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.config import relations, values
from relay.config.settings import Settings
from relay.config.variables import ROLES, VARIABLES, Variable, known_names
from relay.errors import BadConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTHING: Mapping[str, Any] = {}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def load(
    environ: Mapping[str, str],
    *,
    flags: Mapping[str, object] = _NOTHING,
    role: str,
    dev: Mapping[str, str] = _NOTHING,
) -> Settings:
    """Settings for one role. `flags` is keyed by `Variable.flag` (`db_dsn`, `db_dsn_file`, …); None or () means not given.

    `dev` holds what a running `relay dev` tells, by variable: it stands in for what is not set.

    Raises BadConfig with every fault, separated by "; ".
    """
    assert role in ROLES, role
    faults = list(_unknown(environ))
    found: dict[str, object] = {}
    origins: dict[str, str] = {}
    for variable in VARIABLES:
        try:
            text, origins[variable.name] = _text_of(variable, environ, flags)
            if origins[variable.name] == "default" and variable.name in dev:
                text, origins[variable.name] = dev[variable.name], "relay dev"
            if variable.field is not None and text is not None:
                found[variable.field] = variable.parse(text)
        except ValueError as error:
            faults.append(f"{variable.name} {error}")
    if not faults:
        settings = _settings(found, origins)
        faults.extend(relations.faults(settings, role=role))
    if faults:
        raise BadConfig("; ".join(faults))
    return settings


def merge(environ: Mapping[str, str], flags: Mapping[str, object] = _NOTHING) -> dict[str, str]:
    """The environment from which another process loads the same settings: each flag given becomes its variable."""
    merged = dict(environ)
    for variable in VARIABLES:
        for suffix in ("", "_file"):
            value = _flat(flags.get(variable.flag + suffix))
            if value is not None:
                for name in (variable.name, f"{variable.name}_FILE"):
                    merged.pop(name, None)
                merged[variable.name + suffix.upper()] = value
    return merged


def _settings(found: Mapping[str, Any], origins: Mapping[str, str]) -> Settings:
    """Fill in the defaults that depend on the machine or on another value."""
    host = found["host"]
    computed: dict[str, Any] = {
        "db_dsn": "",
        "concurrency": values.default_concurrency(),
        "allowed_hosts": _LOOPBACK_NAMES | ({host} if not relations.is_wildcard(host) else set()),
    }
    return Settings(**{**computed, **found}, origins=origins)


def _text_of(variable: Variable, environ: Mapping[str, str], flags: Mapping[str, object]) -> tuple[str | None, str]:
    """The variable's text (None: unset) and where it came from."""
    for source, where, prefix in ((flags, "flag", variable.flag), (environ, "environment", variable.name)):
        suffix = "_file" if where == "flag" else "_FILE"
        value = _flat(source.get(prefix))
        path = _flat(source.get(prefix + suffix)) if variable.is_secret else None
        if value is not None and path is not None:
            raise ValueError(f"and {variable.name}_FILE are both set: keep one of them")
        if path is not None:
            return _read_secret(path), f"file {path}"
        if value is not None:
            return value, where
    return variable.default, "default"


def _flat(value: object) -> str | None:
    """A flag's or variable's text; repeated flags are joined as lists are written. None: not given."""
    if isinstance(value, tuple):
        value = ",".join(str(each) for each in value)
    if isinstance(value, bool):
        value = "true" if value else "false"
    stripped = "" if value is None else str(value).strip()
    return stripped or None


def _read_secret(path: str) -> str:
    """A secret's file without its last newline. Refuses one that other users of the machine could read."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if stat.S_IMODE(mode) & 0o066:
                raise ValueError(f"is in {path}, which other users can read: chmod 600 it")
            text = file.read(65_536).strip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"is in {path}, which is not text") from None
    except OSError as error:
        raise ValueError(f"is in {path}, which can't be read: {error.strerror}") from None
    if not text:
        raise ValueError(f"is in {path}, which is empty")
    return text


def _unknown(environ: Mapping[str, str]) -> Iterator[str]:
    known = known_names()
    for name in sorted(environ):
        if name.startswith("RELAY_") and name not in known:
            yield f"{name} is not a setting{_did_you_mean(name, list(known))}"


def _did_you_mean(name: str, known: list[str]) -> str:
    import difflib  # noqa: PLC0415 - only a typo needs it, and every start would pay for it

    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else ": unset it"
