"""`relay serve` and `relay work`: check the configuration, set logging up, hand over to the role."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from relay import config
from relay.cli import settings

if TYPE_CHECKING:
    from relay.config import Settings


@click.command()
@settings.options("serve")
def serve(**flags: object) -> None:
    """Serve the API, and do maintenance. SIGTERM ends it once running requests are answered.

    Each option has an environment variable: --db-dsn is RELAY_DB_DSN.
    """
    from relay import serve as role  # noqa: PLC0415 - the whole server is slow to import

    role.run(_prepared("serve", flags))


@click.command()
@settings.options("work")
def work(**flags: object) -> None:
    """Run jobs as a worker. SIGTERM lets running jobs end first; a second one hands them back at once.

    Each option has an environment variable: --db-dsn is RELAY_DB_DSN.
    """
    from relay import work as role  # noqa: PLC0415 - the whole worker is slow to import

    _prepared("work", flags)
    role.start(config.merge(os.environ, flags))


def _prepared(role: str, flags: dict[str, object]) -> Settings:
    from relay import log  # noqa: PLC0415 - structlog is slow to import

    loaded = settings.load(role, flags)
    log.configure(json=loaded.env == "production")
    return loaded
