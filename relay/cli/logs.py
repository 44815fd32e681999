"""`relay logs`: a job's output, as it is now or as it comes.

Without `-f` it is what the API has recorded up to now. `--tail` counts lines and the API bytes, so more and more is asked for
until there are enough lines; with `-f` what follows is read on from the last record that was shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from relay.cli import output
from relay.cli.options import api_command, identifier

if TYPE_CHECKING:
    from relay.client import Client
    from relay.client.types import Record, Stream

_FIRST_TAIL_BYTES = 64 * 1024
_LONGEST_TAIL_BYTES = 2 << 30


@click.command()
@click.argument("job_id", metavar="ID", type=identifier)
@click.option("-f", "--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="Of this attempt (default: the last).")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this one (default: both).")
@click.option("--tail", type=click.IntRange(min=0), metavar="LINES", help="Only the last lines.")
@click.option("--raw", is_flag=True, help="Let escape sequences through to the terminal.")
@api_command
async def logs(
    client: Client,
    job_id: int,
    *,
    follow: bool,
    attempt: int | None,
    stream: Stream | None,
    tail: int | None,
    raw: bool,
) -> None:
    """Write a job's output: its stdout to stdout and its stderr to stderr."""
    writer = output.Writer(raw=raw)
    after: tuple[int, int] | None = None
    if tail is not None:
        records = await _tail(client, job_id, attempt=attempt, stream=stream, lines=tail)
        after = (records[-1]["attempt"], records[-1]["seq"]) if records else None
        for record in last_lines(records, tail):
            writer.write(record)
    if follow:
        await output.copy(client.follow(job_id, attempt=attempt, stream=stream, after=after), writer)
    elif tail is None:
        await output.copy(client.output(job_id, attempt=attempt, stream=stream), writer)
    writer.close()


async def _tail(client: Client, job_id: int, *, attempt: int | None, stream: Stream | None, lines: int) -> list[Record]:
    """The end of the output up to now, with at least that many lines if it has as many."""
    tail_bytes = _FIRST_TAIL_BYTES
    while True:
        coming = client.output(job_id, attempt=attempt, stream=stream, tail_bytes=tail_bytes)
        records = [record async for record in coming]
        data = b"".join(map(output.data_of, records))
        if data.count(b"\n") > lines or len(data) < tail_bytes or tail_bytes > _LONGEST_TAIL_BYTES:
            return records
        tail_bytes *= 8


def last_lines(records: list[Record], lines: int) -> list[Record]:
    """The records' last lines, over both streams in their order. A last line without an end counts."""
    kept: list[Record] = []
    left = lines
    for index, record in enumerate(reversed(records)):
        data = output.data_of(record)
        position = len(data) - 1 if index == 0 and data.endswith(b"\n") else len(data)
        while left > 0 and (position := data.rfind(b"\n", 0, position)) >= 0:
            left -= 1
        if left == 0:
            return [*_with_data(record, data[position + 1 :]), *kept] if lines else []
        kept.insert(0, record)
    return kept


def _with_data(record: Record, data: bytes) -> list[Record]:
    """The record with other bytes; none for no bytes."""
    import base64  # noqa: PLC0415 - only `--tail` needs it

    encoded: Record = {
        "attempt": record["attempt"],
        "seq": record["seq"],
        "ts": record["ts"],
        "stream": record["stream"],
        "base64": base64.b64encode(data).decode("ascii"),
    }
    return [encoded] if data else []
