"""Fill in the units: who runs them, which `relay`, which environment file, how long a stop may take.

The unit files are the place to read and to change what the services are; only what differs between machines is put in here.
TimeoutStopSec follows RELAY_DRAIN_TIMEOUT as the environment file has it now; a worker that was told otherwise meanwhile asks
systemd for the time it needs, so a stale value cuts no drain short.
"""

from __future__ import annotations

import math
import re
import string
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from relay import errors
from relay.config.variables import VARIABLES
from relay.model import durations

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER: Final = Path("/etc/systemd/system")
ENV_FILE: Final = Path("/etc/relay/relay.env")
_FILES: Final = {"serve": "relay-serve.service", "work": "relay-work@.service"}
_DRAIN: Final = "RELAY_DRAIN_TIMEOUT"
_GRACE_S: Final = 10.0  # a spec's default kill_grace
_MARGIN_S: Final = 30.0  # kills found clean (15), the consumer group left (3), the guard's last scan (10)
_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_HOMES: Final = ("/home", "/root", "/run/user")
_ASSIGNMENT: Final = re.compile(rf"""\s*{_DRAIN}\s*=\s*(["']?)(.*?)\1\s*""")


@dataclass(frozen=True, slots=True)
class Place:
    """What differs between machines. `relay`: the words that run this Relay; `drain_s`: RELAY_DRAIN_TIMEOUT."""

    user: str
    env_file: Path
    relay: tuple[str, ...]
    drain_s: float

    @classmethod
    def here(cls, *, user: str, env_file: Path, environ: Mapping[str, str]) -> Place:
        """This machine. Raises BadConfig."""
        if not _USER.fullmatch(user):
            raise errors.BadConfig(f"--user {user!r} can't be a user's name")
        if not env_file.is_absolute() or not str(env_file).isprintable():
            raise errors.BadConfig(f"--env-file {str(env_file)!r} must be an absolute path")
        return cls(user, env_file, _relay(), _drain_s(env_file, environ))


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit file: its name and its text."""

    name: str
    text: str


def unit(role: str, place: Place) -> Unit:
    """The unit of a role (`serve`, `work`) for a place. Raises BadConfig."""
    name = _FILES[role]
    template = string.Template(resources.files("relay.systemd").joinpath(name).read_text(encoding="utf-8"))
    return Unit(
        name,
        template.substitute(
            user=place.user,
            env_file=_plain(str(place.env_file)),
            own_env_file=_plain(str(place.env_file.parent / "work-")) + "%i.env",
            relay=" ".join((_program(place.relay[0]), *place.relay[1:])),
            protect_home="read-only" if place.relay[0].startswith(_HOMES) else "yes",
            drain=durations.format_duration(place.drain_s),
            grace=durations.format_duration(_GRACE_S),
            margin=durations.format_duration(_MARGIN_S),
            stop_s=math.ceil(place.drain_s + _GRACE_S + _MARGIN_S),
        ),
    )


def _relay() -> tuple[str, ...]:
    """The command that was installed beside this Python, else this Python and the module."""
    command = Path(sys.executable).parent / "relay"
    return (str(command),) if command.is_file() else (sys.executable, "-m", "relay")


def _drain_s(env_file: Path, environ: Mapping[str, str]) -> float:
    """RELAY_DRAIN_TIMEOUT as the services will have it: from their file, else as here, else the default."""
    default = next(each.default for each in VARIABLES if each.name == _DRAIN)
    try:
        lines = env_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    except (OSError, UnicodeDecodeError) as error:
        raise errors.BadConfig(f"{env_file} can't be read: {error}") from None
    found = [match[2] for line in lines if (match := _ASSIGNMENT.fullmatch(line))]
    text = (found[-1] if found else "") or environ.get(_DRAIN) or default
    try:
        return durations.parse_duration(text)
    except ValueError as error:
        raise errors.BadConfig(f"{_DRAIN} is {text!r}, but {error}") from None


def _plain(path: str) -> str:
    """A path where systemd reads the rest of the line."""
    return path.replace("%", "%%")


def _program(path: str) -> str:
    """A program's path as the first word of a command line: specifiers are expanded there, variables are not."""
    if not path.isprintable() or set(path) & set("\"'\\"):
        raise errors.BadConfig(f"systemd runs no program with a quote or a backslash in its path: {path}")
    return f'"{_plain(path)}"' if re.search(r"[^\w/.@:+=,%-]", path) else _plain(path)
