"""`relay dev`: everything on this machine. What it does is in `relay.dev`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, metavar="N", help="Worker processes."
)
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Folder for all data.")
@click.option("-v", "--verbose", is_flag=True, help="With a COMMAND: show also what Relay does.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND [ARG]...]")
def dev(workers: int, data: Path | None, verbose: bool, command: tuple[str, ...]) -> int:
    """Start PostgreSQL, Redis, a Kafka-compatible broker, the API and workers on this machine.

    With a COMMAND: run it as a job, stop everything, and exit with its code. Needs the extra: pip install 'relay-jobs[dev]'.
    """
    from relay import dev as role  # noqa: PLC0415 - only this command needs the servers
    from relay.cli.output import Writer  # noqa: PLC0415 - likewise

    return role.run(workers=workers, data=data, command=command, verbose=verbose, writer=Writer())
