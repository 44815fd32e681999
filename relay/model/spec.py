"""The job spec: what a user asks for, checked whole, and the one normalised form of it.

`parse_spec` reports every fault of a body at once. The normalised form has every default filled, words in their own case,
durations and sizes as canonical text and children as lists; it is what the database keeps, what answers show, and what an
idempotency key's fingerprint is taken of. The key itself is not part of it: it names the request, not the job.
Hot path: a spec without faults is walked by pydantic's core and written by its serialiser; all explaining waits until
something is wrong.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, to_json

from relay.errors import InvalidSpec
from relay.model import backoff, faults, nesting
from relay.model.backoff import Backoff
from relay.model.durations import format_duration
from relay.model.part import MAX_NAME, Duration, ExitCode, Listed, LowerCase, Name, Part, Text, Time, UpperCase, check_name
from relay.model.payload import Payload
from relay.model.states import Lane
from relay.model.times import format_time

_LANES = {lane.label: lane for lane in Lane}
MAX_LABELS = 32


def _listed(value: object) -> object:
    """Make a single child (or none) a list of children."""
    if value is None:
        return ()
    return (value,) if isinstance(value, dict | JobSpec) else value


class _OneOrMany:
    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [many["items"], many]}


class _BackoffSchema:
    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": ["exponential", "linear", "constant"]}, handler(schema)]}


def _label_key(value: str) -> str:
    if ":" in value or "=" in value:
        raise ValueError("must not have ':' or '=' in its name, since filters split there")
    return check_name(value)


def _name_or_default(value: str | None, info: ValidationInfo) -> str:
    """Name a job after its command where it has no name of its own."""
    if value is not None:
        return value
    payload = info.data.get("payload")
    command = payload.command if isinstance(payload, Payload) else None
    return _base_name(command) if command else "script"


def _base_name(command: str) -> str:
    name = command.rstrip("/").rpartition("/")[2][:MAX_NAME]
    try:
        return check_name(name)
    except ValueError:
        return "job"


Children = Annotated[tuple["JobSpec", ...], Listed, BeforeValidator(_listed), _OneOrMany()]
LabelKey = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_label_key)]
LabelValue = Annotated[Text, Field(max_length=1000)]


class JobSpec(Part):
    """One job as asked for: contract §1's keys as attributes; durations in seconds, times in UTC, children as tuples."""

    type: Annotated[Literal["SHELL"], UpperCase] = "SHELL"
    payload: Payload
    name: Annotated[str, Field(validate_default=True)] = ""
    queue: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = "default"
    priority: Annotated[Literal["high", "normal", "low"], LowerCase] = "normal"
    max_retries: Annotated[int, Field(ge=0, le=1000)] = 3
    backoff: Annotated[Backoff, BeforeValidator(backoff.from_word), _BackoffSchema()] = backoff.DEFAULT
    no_retry_codes: Annotated[tuple[ExitCode, ...], Listed, Field(max_length=256)] = ()
    on_worker_lost: Annotated[Literal["retry", "fail"], LowerCase] = "retry"
    run_at: Time | None = None
    delay: Duration | None = None
    expires_at: Time | None = None
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS)] = Field(default_factory=dict)
    lock: Name | None = None
    on_success: Children = ()
    on_failure: Children = ()
    idempotency_key: Name | None = None
