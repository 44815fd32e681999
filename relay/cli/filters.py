"""The filters of lists (contract §3) as options, and as the API wants them: a query string, or JSON for dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from relay.cli.options import Callback, identifier, pair

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STATUSES = ("PENDING", "RUNNING", "FAILED", "COMPLETED", "DEAD", "CANCELLED")


def options(*, with_status: bool) -> Callable[[Callback], Callback]:
    """The filters' options; without `--status` for dead letters, which all have the same."""
    filters = [
        click.option("--queue", multiple=True, metavar="Q", help="Of this queue (repeatable)."),
        click.option("--name", metavar="NAME", help="Of this name."),
        click.option(
            "--label", multiple=True, type=pair, metavar="K=V", help="With this label (repeatable: all of them)."
        ),
        click.option("--parent", type=identifier, metavar="ID", help="Children of this job."),
        click.option("--worker", type=identifier, metavar="ID", help="Last run by this worker."),
        click.option("--created-after", metavar="TIME", help="RFC 3339 with zone."),
        click.option("--created-before", metavar="TIME", help="RFC 3339 with zone."),
    ]
    if with_status:
        choice = click.Choice(STATUSES, case_sensitive=False)
        filters.insert(0, click.option("--status", multiple=True, type=choice, help="In this state (repeatable)."))

    def decorate(command: Callback) -> Callback:
        for option in reversed(filters):
            command = option(command)
        return command

    return decorate


def as_query(chosen: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The chosen options as pairs of a query string."""
    pairs: list[tuple[str, str]] = []
    for name, value in as_json(chosen).items():
        pairs += [(name, str(each)) for each in (value if isinstance(value, list) else [value])]
    return pairs


def as_json(chosen: Mapping[str, Any]) -> dict[str, object]:
    """The chosen options as a JSON body's members."""
    named = {**chosen, "parent_id": chosen.get("parent"), "label": [f"{key}:{value}" for key, value in chosen["label"]]}
    named.pop("parent", None)
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in named.items()
        if value is not None and value not in ((), [])
    }
