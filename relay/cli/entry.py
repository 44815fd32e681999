"""From arguments to an exit code: every way in which a command can end, told in one plain line on stderr.

Exit codes are contract §4's. There is never a traceback: what nobody foresaw is told with the place where it happened. A
reader that closed its pipe (`relay logs 1 | head`) is no error, and gets the 141 that the shell expects of SIGPIPE.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from relay.cli import terminal
from relay.cli.group import root
from relay.errors import RelayError

if TYPE_CHECKING:
    from collections.abc import Sequence

EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141
_INTERRUPTS = (KeyboardInterrupt, click.Abort, EOFError)


def run(argv: Sequence[str]) -> int:
    """Run one command; the process's exit code."""
    if "_RELAY_COMPLETE" in os.environ:  # a shell asks for completions
        root.main(args=list(argv), prog_name="relay")
    try:
        code = _invoke(list(argv))
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the last place: each kind has an exit code
        code = _told(error)
    return code


def _invoke(argv: list[str]) -> int:
    with root.make_context("relay", argv) as context:
        value = root.invoke(context)
    return value if isinstance(value, int) else 0


def _told(error: BaseException) -> int:
    """Tell the user about an error; the exit code for it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        _forget_stdout()
        return EXIT_CLOSED_PIPE
    return EXIT_INTERRUPTED if isinstance(error, _INTERRUPTS) else _complained(error)


def _complained(error: BaseException) -> int:
    if isinstance(error, click.UsageError):
        return _usage(error)
    if isinstance(error, click.ClickException):
        terminal.complain(error.format_message())
        return error.exit_code
    if isinstance(error, RelayError):
        terminal.complain(_sentence(error))
        return error.exit_code
    terminal.complain(_unforeseen(error))
    return 1


def _usage(error: click.UsageError) -> int:
    context = error.ctx
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        click.echo(context.get_help(), err=True)
        return 2
    command = context.command_path if context is not None else "relay"
    message = error.format_message().rstrip(".")
    terminal.complain(f"{message[:1].lower()}{message[1:]} (see '{command} --help')")
    return 2


def _sentence(error: RelayError) -> str:
    """The detail, and each fault that it does not name already; the faults alone where the detail is but the first of them."""
    faults = [f"{fault.path}: {fault.message}" if fault.path else fault.message for fault in error.faults]
    if any(fault.path and error.detail.startswith(f"{fault.path} {fault.message}") for fault in error.faults[:1]):
        return "; ".join(faults)
    missing = [fault for fault in faults if fault not in error.detail]
    return "; ".join([error.detail.rstrip("."), *missing])


def _unforeseen(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" at {trace.tb_frame.f_globals.get('__name__')}:{trace.tb_lineno}" if trace is not None else ""
    return f"internal error{place}: {type(error).__name__}: {error}: please report it"


def _forget_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush does not complain about the closed pipe."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
