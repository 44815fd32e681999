"""The settings of a role, from like-named flags and the environment, as `relay.config` reads them.

`migrate`, `token` and `doctor` also work on the stores of a running `relay dev`, where no database is named.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from relay import config
from relay.config import local

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from relay.cli.options import Callback
    from relay.config import Settings, Variable

_USE_DEV = frozenset({"migrate", "token", "doctor"})
_SHORT = {"RELAY_QUEUES": "--queue"}


def options(role: str) -> Callable[[Callback], Callback]:
    """A flag for each variable that concerns the role, and for each secret one that names its file."""

    def decorate(command: Callback) -> Callback:
        for variable in reversed(config.VARIABLES):
            if role in variable.roles:
                command = _option(variable)(command)
        return command

    return decorate


def load(role: str, flags: Mapping[str, object]) -> Settings:
    """The role's settings. Raises BadConfig."""
    return config.load(os.environ, flags=flags, role=role, dev=_dev(flags) if role in _USE_DEV else {})


def _option(variable: Variable) -> Callable[[Callback], Callback]:
    flag = f"--{variable.flag.replace('_', '-')}"
    default = f" (default: {variable.default})" if variable.default else ""
    short = _SHORT.get(variable.name)
    declarations = [flag, short, variable.flag] if short else [flag, variable.flag]
    option = click.option(*declarations, multiple=bool(short), metavar="VALUE", help=f"{variable.help}{default}.")
    if not variable.is_secret:
        return option
    from_file = click.option(f"{flag}-file", metavar="PATH", help=f"File that holds {variable.name}.")
    return lambda command: option(from_file(command))


def _dev(flags: Mapping[str, object]) -> Mapping[str, str]:
    """What a running `relay dev` tells, if no database is named."""
    named = (
        flags.get("db_dsn"),
        flags.get("db_dsn_file"),
        os.environ.get("RELAY_DB_DSN"),
        os.environ.get("RELAY_DB_DSN_FILE"),
    )
    state = None if any(named) else local.running(os.environ)
    if state is None:
        return {}
    return {
        "RELAY_DB_DSN": state.db_dsn,
        "RELAY_KAFKA_BROKERS": state.kafka_brokers,
        "RELAY_REDIS_ADDR": state.redis_addr,
    }
