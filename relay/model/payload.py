"""What a job runs: a program with arguments, or a script's text, with its environment, input and limits.

Every value is checked as far as it can be without the worker's machine: whether the program exists is a start error there,
not a bad spec. Environment, input and script stay out of `repr`, since they are where secrets travel.
That a payload has exactly one of `command` and `script` is checked with the whole spec (`nesting`), so that this fault
comes together with all others.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, PlainValidator
from pydantic_core import CoreSchema

from relay.model.durations import format_duration
from relay.model.part import (
    MAX_ARGUMENT_BYTES,
    Argument,
    Duration,
    ExitCodes,
    Listed,
    Part,
    PositiveDuration,
    Size,
    Text,
    at_most,
    check_argument,
    check_text,
)
from relay.model.sizes import format_size

DEFAULT_TIMEOUT_S = 3600.0
DEFAULT_OUTPUT_BYTES = 10 * 2**20
MAX_OUTPUT_BYTES = 2**30
MAX_STRINGS = 65_536  # arguments, and variables; the kernel's own limit (2 MiB in all) is met at the start


def _command(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return check_argument(value)


def _script(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be empty")
    return value


def _cwd(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    if len(value.encode()) > 4095:
        raise ValueError("is longer than any path may be (4095 bytes)")
    return value


def _env_name(value: str) -> str:
    if not value:
        raise ValueError("is an empty name")
    if "=" in value:
        raise ValueError("must not have '=' in its name")
    if value.startswith("RELAY_"):
        raise ValueError("is reserved: names that begin with RELAY_ are Relay's own")
    return check_argument(value)


def _env(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        size = len(name) + len(text) + 1
        if size > MAX_ARGUMENT_BYTES // 4 and len(f"{name}={text}".encode()) > MAX_ARGUMENT_BYTES:
            raise ValueError(f"has a variable of 128 KiB or more, which no program can be started with: {name[:80]!a}")
    return value


def _output(value: int) -> int:
    if value > MAX_OUTPUT_BYTES:
        raise ValueError("must be at most 1G")
    return value


def _memory(value: int) -> int:
    if value == 0:
        raise ValueError("must be more than 0")
    return value


class ParentOutput(Part):
    """`{"from": "parent.stdout"}`: a chain's child reads what its parent's last attempt wrote to stdout."""

    source: Literal["parent.stdout"] = Field(alias="from")


_PARENT_STDOUT = ParentOutput.model_validate({"from": "parent.stdout"})


def _stdin(value: object) -> str | ParentOutput:
    if isinstance(value, str):
        return check_text(value)
    if isinstance(value, ParentOutput) or value == {"from": "parent.stdout"}:
        return _PARENT_STDOUT
    raise ValueError('must be a string, or {"from": "parent.stdout"} in a chain\'s child')


class _StdinSchema:
    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        parent = {"type": "object", "properties": {"from": {"const": "parent.stdout"}}, "required": ["from"]}
        return {"anyOf": [{"type": "string"}, {**parent, "additionalProperties": False}]}


class Limits(Part):
    """The `limits` of a payload: bytes and seconds; None means no limit."""

    memory: Annotated[Size, AfterValidator(_memory)] | None = None
    processes: Annotated[int, Field(ge=1, le=4_194_304)] | None = None
    cpu_time: PositiveDuration | None = None
    open_files: Annotated[int, Field(ge=3, le=1_048_576)] | None = None
    output: Annotated[Size, AfterValidator(_output)] = DEFAULT_OUTPUT_BYTES

    def normalised(self) -> dict[str, object]:
        """Give the limits that are set, and `output`."""
        limits: dict[str, object] = {"output": format_size(self.output)}
        if self.memory is not None:
            limits["memory"] = format_size(self.memory)
        if self.processes is not None:
            limits["processes"] = self.processes
        if self.cpu_time is not None:
            limits["cpu_time"] = format_duration(self.cpu_time)
        if self.open_files is not None:
            limits["open_files"] = self.open_files
        return limits


NO_LIMITS = Limits()


class Payload(Part):
    """The `payload` of a spec: exactly one of `command` and `script`; durations in seconds, `timeout` 0 for none."""

    command: Annotated[str, AfterValidator(_command)] | None = None
    script: Annotated[Text, AfterValidator(_script)] | None = Field(default=None, repr=False)
    args: Annotated[tuple[Argument, ...], Listed, at_most(MAX_STRINGS)] = Field(default=(), repr=False)
    env: Annotated[
        dict[Annotated[str, AfterValidator(_env_name)], Argument], at_most(MAX_STRINGS), AfterValidator(_env)
    ] = Field(default_factory=dict, repr=False)
    cwd: Annotated[Text, AfterValidator(_cwd)] | None = None
    stdin: Annotated[str | ParentOutput, PlainValidator(_stdin), _StdinSchema()] | None = Field(
        default=None, repr=False
    )
    timeout: Duration = DEFAULT_TIMEOUT_S
    kill_grace: Duration = 10.0
    success_codes: Annotated[ExitCodes, Field(min_length=1)] = (0,)
    limits: Limits = NO_LIMITS

    @property
    def reads_parent_stdout(self) -> bool:
        """Whether stdin is the parent's output."""
        return isinstance(self.stdin, ParentOutput)

    def normalised(self) -> dict[str, object]:
        """Give the object with every default filled; what is unset and has none is left out."""
        payload: dict[str, object] = {"command": self.command} if self.command is not None else {"script": self.script}
        payload["args"] = self.args
        payload["env"] = dict(sorted(self.env.items())) if len(self.env) > 1 else self.env
        if self.cwd is not None:
            payload["cwd"] = self.cwd
        if self.stdin is not None:
            payload["stdin"] = self.stdin if isinstance(self.stdin, str) else {"from": self.stdin.source}
        payload["timeout"] = format_duration(self.timeout)
        payload["kill_grace"] = format_duration(self.kill_grace)
        payload["success_codes"] = self.success_codes
        payload["limits"] = self.limits.normalised()
        return payload
