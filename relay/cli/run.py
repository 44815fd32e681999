"""`relay run`: a command as a job, as if it ran here: its output, its exit code, Ctrl-C."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from relay.cli import terminal, waiting
from relay.cli.options import api_command, pair

if TYPE_CHECKING:
    from collections.abc import Mapping

    from relay.client import Client

EXIT_INTERRUPTED = 130


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--queue", metavar="Q", help="Queue (default: default).")
@click.option("--name", metavar="NAME", help="Name shown in lists (default: the command's).")
@click.option("--priority", type=click.Choice(["high", "normal", "low"], case_sensitive=False), help="Lane.")
@click.option(
    "--env", "-e", multiple=True, type=pair, metavar="K=V", help="Added to the job's environment (repeatable)."
)
@click.option("--cwd", metavar="DIR", help="Absolute path on the worker (default: a fresh private directory).")
@click.option("--stdin", metavar="FILE", type=click.File("rb"), help="Text for the job's stdin; - is this one's.")
@click.option("--timeout", metavar="D", help="Per attempt, such as 5m; 0: none (default: 1h).")
@click.option("--grace", metavar="D", help="From SIGTERM to SIGKILL (default: 10s).")
@click.option("--retries", type=int, default=0, show_default=True, metavar="N", help="Retries after the first attempt.")
@click.option("--backoff", type=click.Choice(["exponential", "linear", "constant"]), help="Delay between attempts.")
@click.option("--label", multiple=True, type=pair, metavar="K=V", help="Label (repeatable).")
@click.option("--lock", metavar="NAME", help="Of all jobs with this lock at most one runs.")
@click.option("--delay", metavar="D", help="Not before this time has passed.")
@click.option("--detach", is_flag=True, help="Only submit it, and print its id.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [ARG]...")
@api_command
async def run(client: Client, command: tuple[str, ...], *, detach: bool, **options: Any) -> int:
    """Run a command as a job, and exit as it does.

    The job's stdout comes to stdout and its stderr to stderr. Ctrl-C asks whether to cancel the job or to detach from it.
    """
    from relay.cli.attend import Attendance  # noqa: PLC0415 - needs asyncio, which is slow to import
    from relay.model.exits import exit_code_of  # noqa: PLC0415 - not needed for help

    job = await client.submit(spec_of(command, options))
    if detach:
        sys.stdout.write(f"{job['id']}\n")
        return 0
    if terminal.is_terminal(sys.stderr):
        terminal.say(f"job {job['id']}")
    ended = await Attendance(client, job["id"]).run()
    if ended is None:
        return EXIT_INTERRUPTED
    waiting.tell_surprise(ended)
    return exit_code_of(ended)


def spec_of(command: tuple[str, ...], options: Mapping[str, Any]) -> dict[str, object]:
    """The job spec that the options ask for; the API checks it."""
    payload = {
        "command": command[0],
        "args": list(command[1:]),
        "env": dict(options.get("env", ())),
        "cwd": options.get("cwd"),
        "stdin": _text(options["stdin"]) if options.get("stdin") else None,
        "timeout": options.get("timeout"),
        "kill_grace": options.get("grace"),
    }
    spec = {
        "payload": {name: value for name, value in payload.items() if value not in (None, [], {})},
        "queue": options.get("queue"),
        "name": options.get("name"),
        "priority": options.get("priority"),
        "max_retries": options.get("retries"),
        "backoff": options.get("backoff"),
        "labels": dict(options.get("label", ())),
        "lock": options.get("lock"),
        "delay": options.get("delay"),
    }
    return {name: value for name, value in spec.items() if value not in (None, {})}


def _text(file: BinaryIO) -> str:
    try:
        return file.read().decode()
    except UnicodeDecodeError:
        raise click.BadParameter("a job's stdin must be UTF-8 text", param_hint="'--stdin'") from None
