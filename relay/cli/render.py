"""Answers as the user asked for them: `-o table|json|name`.

`json` is the API's object, or a list of them, indented on a terminal; `name` is ids, one a line. Times in tables are UTC,
as the API tells them, to the second.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from relay.cli import tables, terminal
from relay.cli.tables import Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from relay.client.types import Attempt, Job, Worker


def moment(text: object) -> str | None:
    """A time to the second: `2026-01-31 12:00:00`."""
    return None if text is None else str(text)[:19].replace("T", " ")


def ending(attempt: Attempt) -> str | None:
    """How an attempt ended, in a word or two: `exit 3`, `SIGKILL`, `limit memory`."""
    if attempt["signal"]:
        return attempt["signal"]
    if attempt["limit"]:
        return f"limit {attempt['limit']}"
    return None if attempt["exit_code"] is None else f"exit {attempt['exit_code']}"


def took(item: Mapping[str, Any]) -> str | None:
    """How long it ran, between its `started_at` and `finished_at`."""
    from datetime import datetime  # noqa: PLC0415 - only tables need it

    from relay.model.durations import format_duration  # noqa: PLC0415 - likewise

    if not item["started_at"] or not item["finished_at"]:
        return None
    start, end = (datetime.fromisoformat(item[name]) for name in ("started_at", "finished_at"))
    seconds = max((end - start).total_seconds(), 0.0)
    return format_duration(round(seconds, 3 if seconds < 10 else 0))


JOB_COLUMNS: Sequence[Column[Job]] = (
    Column("ID", lambda job: job["id"], is_number=True),
    Column("NAME", lambda job: job["name"], is_long=True),
    Column("QUEUE", lambda job: job["queue"], is_long=True),
    Column("PRIORITY", lambda job: job["priority"]),
    Column("STATUS", lambda job: job["status"]),
    Column("REASON", lambda job: job["reason"], is_long=True),
    Column("RETRIES", lambda job: f"{job['retries_used']}/{job['max_retries']}", is_number=True),
    Column("CREATED", lambda job: moment(job["created_at"])),
    Column("TOOK", took, is_number=True),
)
ATTEMPT_COLUMNS: Sequence[Column[Attempt]] = (
    Column("ATTEMPT", lambda attempt: attempt["attempt"], is_number=True),
    Column("OUTCOME", lambda attempt: attempt["outcome"] or "running"),
    Column("END", ending),
    Column("WORKER", lambda attempt: attempt["worker"], is_number=True),
    Column("STARTED", lambda attempt: moment(attempt["started_at"])),
    Column("TOOK", took, is_number=True),
    Column("STDOUT", lambda attempt: attempt["stdout_bytes"], is_number=True),
    Column("STDERR", lambda attempt: attempt["stderr_bytes"], is_number=True),
    Column("ERROR", lambda attempt: attempt["error"], is_long=True),
)
WORKER_COLUMNS: Sequence[Column[Worker]] = (
    Column("ID", lambda worker: worker["id"], is_number=True),
    Column("HOST", lambda worker: worker["host"], is_long=True),
    Column("PID", lambda worker: worker["pid"], is_number=True),
    Column("STATE", lambda worker: worker["state"]),
    Column("RUNNING", lambda worker: f"{worker['running']}/{worker['slots']}", is_number=True),
    Column("QUEUES", lambda worker: ",".join(worker["queues"]), is_long=True),
    Column("VERSION", lambda worker: worker["version"]),
    Column("SEEN", lambda worker: moment(worker["seen_at"])),
)


def as_json(value: object) -> None:
    """Write one JSON document to stdout."""
    indent = 2 if terminal.is_terminal(sys.stdout) else None
    sys.stdout.write(json.dumps(value, indent=indent) + "\n")  # ASCII: no control character reaches a terminal


def ids(numbers: Sequence[int]) -> None:
    """Write ids, one a line."""
    sys.stdout.write("".join(f"{number}\n" for number in numbers))


def jobs(found: Sequence[Job], *, output: str) -> None:
    """Write a list of jobs."""
    if output == "json":
        as_json(found)
    elif output == "name":
        ids([job["id"] for job in found])
    else:
        tables.write(JOB_COLUMNS, found)


def job(found: Job, *, output: str) -> None:
    """Write one job; as a table with its facts and its attempts."""
    if output == "json":
        as_json(found)
    elif output == "name":
        ids([found["id"]])
    else:
        facts(_job_facts(found))
        if found.get("attempts"):
            sys.stdout.write("\n")
            tables.write(ATTEMPT_COLUMNS, found["attempts"])


def facts(pairs: Mapping[str, object]) -> None:
    """Write names and values, one pair a line; what is unset is left out."""
    known = {name: terminal.cell(value) for name, value in pairs.items() if value not in (None, "", {}, [])}
    width = max((len(name) for name in known), default=0)
    sys.stdout.write("".join(f"{name.ljust(width)}  {value}\n" for name, value in known.items()))


def _job_facts(found: Job) -> dict[str, object]:
    payload = found["spec"].get("payload")
    command = payload if isinstance(payload, dict) else {}
    named: dict[str, object] = dict(found)
    for left_out in ("spec", "attempts", "labels", "max_retries", "retries_used"):
        named.pop(left_out, None)
    named["retries"] = f"{found['retries_used']} of {found['max_retries']}"
    named["labels"] = " ".join(f"{key}={value}" for key, value in found["labels"].items())
    named["command"] = _command_line(command)
    return {name: moment(value) if name.endswith("_at") else value for name, value in named.items()}


def _command_line(payload: Mapping[str, Any]) -> str:
    import shlex  # noqa: PLC0415 - only this view needs it

    words = [str(payload.get("command") or "(script)"), *map(str, payload.get("args") or [])]
    return shlex.join(words) if payload.get("command") else " ".join(words)
