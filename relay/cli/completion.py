"""`relay completion SHELL`: the script that makes a shell complete commands and options, as click writes it.

The script asks `relay` itself (`_RELAY_COMPLETE`), so it never gets out of step with the commands.
"""

from __future__ import annotations

import sys

import click
from click import shell_completion


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    bash (4.4 or later) and zsh: put eval "$(relay completion bash)", or zsh, into ~/.bashrc or ~/.zshrc (after compinit).

    fish: relay completion fish > ~/.config/fish/completions/relay.fish
    """
    found = shell_completion.get_completion_class(shell)
    assert found is not None
    script = found(click.get_current_context().find_root().command, {}, "relay", "_RELAY_COMPLETE")
    sys.stdout.write(script.source_template % script.source_vars() + "\n")
