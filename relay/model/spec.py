"""The job spec: what a user asks for, checked whole, and the one normalised form of it.

`parse_spec` reports every fault of a body at once. The normalised form has every default filled, words in their own case,
durations and sizes as canonical text and children as lists; it is what the database keeps, what answers show, and what an
idempotency key's fingerprint is taken of. The key itself is not part of it: it names the request, not the job.
Hot path: a spec without faults is walked by pydantic's core and written by its serialiser; all explaining waits until
something is wrong.
"""

import hashlib
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, to_json

from relay.model import backoff as backoffs
from relay.model import faults, nesting, schema
from relay.model.backoff import Backoff
from relay.model.durations import format_duration
from relay.model.part import (
    MAX_NAME,
    Duration,
    ExitCodes,
    Listed,
    LowerCase,
    Name,
    Part,
    Time,
    UpperCase,
    at_most,
    check_name,
    check_text,
)
from relay.model.payload import Limits, Payload
from relay.model.states import Lane
from relay.model.times import format_time

_LANES = {lane.label: lane for lane in Lane}
MAX_LABELS = 32
_ALIKE_CHARS = 4000  # of the texts that are kept, so that 128 of them stay small
_UNNAMED: Any = None  # stands for "no name given" until the validator has put one there
_NAME_SCHEMA = WithJsonSchema({"type": "string", "maxLength": MAX_NAME})


def _listed(value: object) -> object:
    """Make a single child (or none) a list of children."""
    if value is None:
        return ()
    if isinstance(value, dict | JobSpec):
        return (value,)
    if isinstance(value, list | tuple):
        return value
    raise ValueError("must be a spec or a list of specs")


class _OneOrMany:
    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        many = handler(core)
        return {"anyOf": [many["items"], many]}


class _BackoffSchema:
    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"enum": ["exponential", "linear", "constant"]}, handler(core)]}


def _label_key(value: str) -> str:
    if ":" in value or "=" in value:
        raise ValueError("must not have ':' or '=' in its name, since filters split there")
    return check_name(value)


def _name_or_default(value: object, info: ValidationInfo) -> object:
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


Children = Annotated[tuple["JobSpec", ...], Listed, at_most(nesting.MAX_JOBS), BeforeValidator(_listed), _OneOrMany()]
LabelKey = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_label_key)]
LabelValue = Annotated[str, Field(max_length=1000), AfterValidator(check_text)]


class JobSpec(Part):
    """One job as asked for. In memory durations are seconds, times are in UTC and children are tuples."""

    type: Annotated[Literal["SHELL"], UpperCase] = "SHELL"
    payload: Payload
    name: Annotated[Name, BeforeValidator(_name_or_default), _NAME_SCHEMA] = Field(
        default=_UNNAMED, validate_default=True
    )
    queue: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")] = "default"
    priority: Annotated[Literal["high", "normal", "low"], LowerCase] = "normal"
    max_retries: Annotated[int, Field(ge=0, le=1000)] = 3
    backoff: Annotated[Backoff, BeforeValidator(backoffs.from_word), _BackoffSchema()] = backoffs.DEFAULT
    no_retry_codes: ExitCodes = ()
    on_worker_lost: Annotated[Literal["retry", "fail"], LowerCase] = "retry"
    run_at: Time | None = None
    delay: Duration | None = None
    expires_at: Time | None = None
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=MAX_LABELS), at_most(MAX_LABELS)] = Field(
        default_factory=dict
    )
    lock: Name | None = None
    on_success: Children = ()
    on_failure: Children = ()
    idempotency_key: Name | None = None

    @property
    def lane(self) -> Lane:
        """The priority as the database and Kafka sort it."""
        return _LANES[self.priority]

    def normalised(self) -> dict[str, object]:
        """Give the normalised spec: defaults filled, unset options left out, keys in a stable order."""
        spec: dict[str, object] = {
            "type": self.type,
            "name": self.name,
            "queue": self.queue,
            "priority": self.priority,
            "payload": self.payload.normalised(),
            "max_retries": self.max_retries,
            "backoff": self.backoff.normalised(),
            "no_retry_codes": self.no_retry_codes,
            "on_worker_lost": self.on_worker_lost,
            "labels": dict(sorted(self.labels.items())) if len(self.labels) > 1 else self.labels,
        }
        self._add_options(spec)
        return spec

    def _add_options(self, spec: dict[str, object]) -> None:
        if self.run_at is not None:
            spec["run_at"] = format_time(self.run_at)
        if self.delay is not None:
            spec["delay"] = format_duration(self.delay)
        if self.expires_at is not None:
            spec["expires_at"] = format_time(self.expires_at)
        if self.lock is not None:
            spec["lock"] = self.lock
        if self.on_success:
            spec["on_success"] = [child.normalised() for child in self.on_success]
        if self.on_failure:
            spec["on_failure"] = [child.normalised() for child in self.on_failure]

    def normalised_json(self) -> str:
        """Give the normalised spec as compact JSON text."""
        return to_json(self.normalised()).decode()

    def fingerprint(self) -> bytes:
        """Give the SHA-256 of the normalised text: equal for two bodies that ask for the same."""
        return hashlib.sha256(self.normalised_json().encode()).digest()

    @staticmethod
    def from_normalised(text: str) -> "JobSpec":
        """Read a normalised spec back, as the database has it.

        Equal texts may give the same object: it is frozen, and a queue's jobs are often alike.

        Raises:
            InvalidSpec: it is not one, so someone else wrote it.

        """
        return _read_alike(text) if len(text) <= _ALIKE_CHARS else _read(text)


def _read(text: str) -> JobSpec:
    try:
        return JobSpec.__pydantic_validator__.validate_json(text)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise faults.refusal(faults.explain(error, None, path="", keys=_KEYS)) from None


_read_alike = lru_cache(128)(_read)
_KEYS = {
    "": tuple(JobSpec.model_fields),
    "payload": tuple(Payload.model_fields),
    "limits": tuple(Limits.model_fields),
    "backoff": tuple(Backoff.model_fields),
}


def parse_spec(raw: object, *, path: str = "") -> JobSpec:
    """Check a spec from outside, as JSON or YAML gives it; `path` is put before the paths of its faults.

    Raises:
        InvalidSpec: with every fault found, sorted by path.

    """
    found = nesting.check(raw, path) if isinstance(raw, dict) else []
    try:
        spec = JobSpec.__pydantic_validator__.validate_python(raw)
    except ValidationError as error:
        found += faults.explain(error, raw, path=path, keys=_KEYS)
    if found:
        raise faults.refusal(found)
    return spec  # type: ignore[no-any-return]


def json_schema(*, ref_template: str = "#/$defs/{model}") -> dict[str, Any]:
    """Give the JSON Schema of a spec as submitted, with its parts under `$defs`."""
    return schema.described(JobSpec.model_json_schema(ref_template=ref_template))
