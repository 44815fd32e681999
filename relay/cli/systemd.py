"""`relay systemd`: the units of the roles, printed or installed.

`install` writes files and nothing else: whether services are enabled, started or restarted is the operator's to decide, and
the commands for it are told. A unit that is there already is replaced; what was added by `systemctl edit` stays.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from relay.cli import terminal
from relay.errors import BadConfig, Forbidden

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relay.cli.options import Callback
    from relay.systemd import Unit

_ROLES = ("serve", "work")
_START = {
    "serve": "systemctl enable --now relay-serve",
    "work": "systemctl enable --now relay-work@1 # and @2, ... for more workers on this machine",
}


def _place_options(command: Callback) -> Callback:
    for option in (
        click.option(
            "--env-file",
            metavar="PATH",
            type=click.Path(path_type=Path),
            default="/etc/relay/relay.env",
            show_default=True,
            help="File with RELAY_… settings; work-NAME.env beside it is read by relay-work@NAME alone.",
        ),
        click.option("--user", metavar="NAME", default="relay", show_default=True, help="User that runs the services."),
        click.argument("role", type=click.Choice(_ROLES), required=False),
    ):
        command = option(command)
    return command


@click.group()
def systemd() -> None:
    """Print or install the systemd units: relay-serve.service, and relay-work@.service for workers.

    Without a role, both.
    """


@systemd.command("print")
@_place_options
def print_units(role: str | None, user: str, env_file: Path) -> None:
    """Print the units."""
    _print(_units(role, user, env_file))


@systemd.command()
@_place_options
@click.option("--dry-run", is_flag=True, help="Print what would be written.")
def install(role: str | None, user: str, env_file: Path, *, dry_run: bool) -> None:
    """Write the units to /etc/systemd/system, and tell how to start them. Needs root."""
    from relay.systemd import FOLDER  # noqa: PLC0415 - imports the model, which help does not need

    units = _units(role, user, env_file)
    if dry_run:
        _print(units, folder=FOLDER)
        return
    if os.geteuid() != 0:
        raise Forbidden(f"writing to {FOLDER} needs root: use sudo, or see what it would write with --dry-run")
    if not FOLDER.is_dir():
        raise BadConfig(f"there is no {FOLDER}: systemd does not run here; use 'relay systemd print'")
    for unit in units:
        _write(FOLDER / unit.name, unit.text)
        sys.stdout.write(f"{FOLDER / unit.name}\n")
    sys.stdout.flush()
    _tell_next(_ROLES if role is None else (role,), user, env_file)


def _units(role: str | None, user: str, env_file: Path) -> list[Unit]:
    from relay import systemd as units  # noqa: PLC0415 - imports the model, which help does not need

    place = units.Place.here(user=user, env_file=env_file, environ=os.environ)
    if place.relay[0].startswith(("/tmp/", "/var/tmp/")):  # noqa: S108 - these are looked for, not used
        terminal.say(f"warning: {place.relay[0]} is in a temporary folder, where the services won't find it")
    return [units.unit(each, place) for each in (_ROLES if role is None else (role,))]


def _print(units: Sequence[Unit], *, folder: Path | None = None) -> None:
    """Write the units; with a heading each where there are several, or where they would be files."""
    for number, unit in enumerate(units):
        if folder is not None or len(units) > 1:
            name = unit.name if folder is None else folder / unit.name
            sys.stdout.write("\n" * (number > 0) + f"# {name}\n")
        sys.stdout.write(unit.text)


def _write(path: Path, text: str) -> None:
    """Write a file so that whoever reads it sees the old or the new one."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.replace(path)


def _tell_next(roles: Sequence[str], user: str, env_file: Path) -> None:
    """Tell the commands that remain, in order."""
    terminal.say("next:")
    if not _is_user(user):
        terminal.say(f"useradd --system --create-home --home-dir /var/lib/{user} --shell /usr/sbin/nologin {user}")
    if not env_file.exists():
        terminal.say(f"install -D -m 600 /dev/null {env_file} # then write RELAY_DB_DSN=... and the like into it")
    terminal.say("systemctl daemon-reload")
    for role in roles:
        terminal.say(f"{_START[role]}")


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
