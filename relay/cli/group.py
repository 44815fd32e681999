"""The table of commands, and a click group that imports a command's module only when it is used.

`relay --help` is made from the table alone. A test follows every row of it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, NamedTuple

import click

import relay

if TYPE_CHECKING:
    from collections.abc import Mapping


class Entry(NamedTuple):
    """Where a command is (`module:name` under `relay.cli`), and its line in the help."""

    place: str
    summary: str


COMMANDS: Mapping[str, Mapping[str, Entry]] = {
    "Jobs": {
        "submit": Entry("submit:submit", "Submit jobs from a JSON or YAML file, or from stdin."),
        "run": Entry("run:run", "Run a command as a job, and exit as it does."),
        "list": Entry("reading:list_jobs", "List jobs, newest first."),
        "show": Entry("reading:show", "Show a job and its attempts."),
        "why": Entry("reading:why", "Say why a job is where it is."),
        "tree": Entry("reading:tree", "Show the chain that a job belongs to."),
        "logs": Entry("logs:logs", "Write a job's output."),
        "wait": Entry("waiting:wait", "Wait until jobs have ended."),
        "retry": Entry("changing:retry", "Give DEAD, FAILED or CANCELLED jobs fresh retries."),
        "cancel": Entry("changing:cancel", "Cancel jobs."),
        "delete": Entry("changing:delete", "Delete ended jobs with their output."),
        "dead": Entry("dead:dead", "List, retry or purge dead letters."),
    },
    "Operation": {
        "worker": Entry("workers:worker", "List or drain workers."),
        "stats": Entry("stats:stats", "Show counts and rates."),
        "serve": Entry("roles:serve", "Serve the API, and do maintenance."),
        "work": Entry("roles:work", "Run jobs as a worker."),
        "migrate": Entry("database:migrate", "Bring the database's schema up to date."),
        "token": Entry("tokens:token", "Create, list or revoke API tokens."),
        "doctor": Entry("doctor:doctor", "Show the configuration, and whether what it names answers."),
        "systemd": Entry("systemd:systemd", "Print or install the systemd units."),
        "completion": Entry("completion:completion", "Print a shell's completion script."),
        "dev": Entry("dev:dev", "Start everything on this machine, to try it or to run one command."),
    },
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command's name, in the order of the help."""
        return [name for section in COMMANDS.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        """Import the command; None if there is none of that name."""
        for section in COMMANDS.values():
            if cmd_name in section:
                module, _, attribute = section[cmd_name].place.partition(":")
                command: click.Command = getattr(importlib.import_module(f"relay.cli.{module}"), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with, or say which one was probably meant."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            raise click.UsageError(f"There is no command {name!r}{self._did_you_mean(ctx, name)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """Write the table: nothing is imported for it."""
        for title, section in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.summary) for name, entry in section.items()])

    def _did_you_mean(self, ctx: click.Context, name: str) -> str:
        import difflib  # noqa: PLC0415 - only a typo needs it

        close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
        return f": did you mean {close[0]!r}?" if close else ""


_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.command(cls=LazyGroup, context_settings=_SETTINGS, epilog="Help for a command: relay COMMAND --help")
@click.option("--api", metavar="URL", help="The API's address (RELAY_API).")
@click.option("--token-file", metavar="PATH", help="File with the API token (RELAY_TOKEN).")
@click.version_option(relay.__version__, prog_name="relay")
@click.pass_context
def root(context: click.Context, api: str | None, token_file: str | None) -> None:
    """Run commands as durable jobs across machines."""
    context.obj = {"api": api, "token_file": token_file}
