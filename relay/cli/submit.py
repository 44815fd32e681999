"""`relay submit`: jobs from a file or from stdin, one or very many.

One job goes by itself; many go in batches, each accepted whole or not at all, and their ids appear as they are accepted. If
one batch is refused, the error says how many jobs had been accepted before it.
"""

from __future__ import annotations

import itertools
import re
import sys
from typing import TYPE_CHECKING

import click

from relay.cli import documents, render, terminal, waiting
from relay.cli.assign import assign
from relay.cli.options import api_command, output_option
from relay.errors import Fault, InvalidSpec, RelayError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from relay.cli.documents import Document
    from relay.client import Client

_BATCH = 1000


@click.command()
@click.argument("file", metavar="FILE|-")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change the spec, e.g. payload.timeout=5m.")
@click.option("--wait", is_flag=True, help="Wait for the end, and exit as the job does.")
@click.option("--follow", is_flag=True, help="Like --wait, and write the job's output.")
@click.option("--dry-run", is_flag=True, help="Check the specs here, and print them with all defaults.")
@output_option("name")
@api_command
async def submit(
    client: Client, file: str, *, dry_run: bool, wait: bool, follow: bool, changes: Sequence[str], output: str
) -> int:
    """Submit jobs from a JSON or YAML file, or from stdin (-), and print their ids.

    Stdin is one document, or a spec a line (NDJSON).
    """
    if wait and follow:
        raise click.UsageError("--wait and --follow exclude each other")
    found = _changed(documents.read(file), changes)
    if dry_run:
        return _check(found)
    batches = _batches(found)
    first, second = next(batches, None), next(batches, None)
    if first is None:
        raise documents.Unreadable(f"{file} is empty: a job spec is expected")
    if len(first) == 1 and second is None:
        return await _one(client, first[0], output=output, wait=wait, follow=follow)
    if follow:
        raise click.UsageError("--follow follows one job, and here are several: use --wait")
    ids = await _many(client, itertools.chain([first], [second] if second else [], batches), output=output)
    return await waiting.for_all(client, ids) if wait else 0


def _changed(found: Iterable[Document], changes: Sequence[str]) -> Iterator[Document]:
    """The documents with every `--set` applied."""
    for document in found:
        for change in changes:
            key, equals, value = change.partition("=")
            if not key or not equals:
                raise click.BadParameter(f"{change!r} must be KEY=VALUE", param_hint="'--set'")
            assign(document.value, key, value)
        yield document


def _check(found: Iterable[Document]) -> int:
    """Check the specs as the API would, without it, and write them as it would keep them, one a line."""
    from relay.model.spec import parse_spec  # noqa: PLC0415 - pydantic is slow to import

    for document in found:
        try:
            spec = parse_spec(document.value)
        except InvalidSpec as error:
            raise _placed(error, [document]) from None
        sys.stdout.write(spec.normalised_json() + "\n")
    return 0


def _batches(found: Iterable[Document]) -> Iterator[list[Document]]:
    iterator = iter(found)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


async def _one(client: Client, document: Document, *, output: str, wait: bool, follow: bool) -> int:
    from relay.model.exits import exit_code_of  # noqa: PLC0415 - not needed for help

    job = await client.submit(document.value)
    if follow:
        from relay.cli import attend  # noqa: PLC0415 - needs asyncio, which is slow to import

        terminal.say(f"job {job['id']}")
        ended = await attend.follow(client, job["id"])
        waiting.tell_surprise(ended)
        return exit_code_of(ended)
    if output == "name":
        render.ids([job["id"]])
    else:
        render.job(job, output=output)
    sys.stdout.flush()
    return await waiting.for_all(client, [job["id"]]) if wait else 0


async def _many(client: Client, batches: Iterable[list[Document]], *, output: str) -> list[int]:
    """Submit batch after batch; ids are written as they come, or as one JSON object at the end."""
    ids: list[int] = []
    progress = Progress()
    for batch in batches:
        try:
            accepted = await client.submit_batch([document.value for document in batch])
        except RelayError as error:
            progress.stop()
            raise _placed(error, batch, accepted=len(ids)) from error
        ids += accepted
        if output != "json":
            render.ids(accepted)
            sys.stdout.flush()
        progress.show(len(ids))
    progress.stop()
    terminal.say(f"{len(ids)} jobs submitted")
    if output == "json":
        render.as_json({"ids": ids})
    return ids


def _placed(error: RelayError, batch: Sequence[Document], *, accepted: int | None = None) -> RelayError:
    """The same error, its faults named by the lines that the specs came from, and with what was accepted before it."""

    def place(match: re.Match[str]) -> str:
        index = int(match[1])
        return (batch[index].place + ": " if index < len(batch) else match.group()) or ""

    prefix = f"{batch[0].place}: " if len(batch) == 1 and batch[0].place else ""
    faults = [Fault(prefix + re.sub(r"^\[(\d+)\]\.?", place, fault.path), fault.message) for fault in error.faults]
    before = "" if accepted is None else f" ({accepted} jobs before it were accepted)"
    detail = str(type(error).__doc__).splitlines()[0].rstrip(".") if faults else error.detail.rstrip(".")
    return type(error)(detail + before, faults=faults, retry_after_s=error.retry_after_s)


class Progress:
    """A line on stderr that counts, on a terminal only."""

    def __init__(self) -> None:
        self._is_shown = terminal.is_fancy(sys.stderr) and not terminal.is_terminal(sys.stdout)

    def show(self, count: int) -> None:
        """Replace the line."""
        if self._is_shown:
            sys.stderr.write(f"\r{count} jobs submitted")
            sys.stderr.flush()

    def stop(self) -> None:
        """Clear the line."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
