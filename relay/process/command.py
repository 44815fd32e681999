"""What to run, as far as it can be said without touching this machine: a spec's payload plus one attempt's facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.process import users
from relay.process.environ import build_env

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from relay.model.payload import Limits
    from relay.model.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Parent:
    """A chain's parent as its child hears of it; `exit_code` is None if its last attempt had none."""

    job_id: int
    status: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command with all that its attempt needs. Exactly one of `command` and `script` is set; `timeout_s` 0: none."""

    claim_id: str
    command: str | None
    script: str | None = field(default=None, repr=False)
    args: Sequence[str] = field(default=(), repr=False)
    env: Mapping[str, str] = field(repr=False)
    cwd: str | None = None
    stdin: str | AsyncIterator[bytes] | None = field(default=None, repr=False)
    timeout_s: float = 0.0
    kill_grace_s: float = 10.0
    limits: Limits
    run_as: str | None = None
    allowed_commands: Sequence[str] = ()


def command_for(
    spec: JobSpec,
    *,
    job_id: int,
    attempt: int,
    claim_id: str,
    queue: str,
    worker_id: int,
    parent: Parent | None = None,
    run_as: str | None = None,
    allowed_commands: Sequence[str] = (),
    stdin: AsyncIterator[bytes] | None = None,
) -> Command:
    """Build the command of one attempt. `stdin` is the parent's output, for a spec that reads it."""
    payload = spec.payload
    facts: dict[str, object] = {
        "job_id": job_id,
        "attempt": attempt,
        "claim": claim_id,
        "queue": queue,
        "worker": worker_id,
    }
    if parent is not None:
        facts |= _parent_facts(parent)
    return Command(
        claim_id=claim_id,
        command=payload.command,
        script=payload.script,
        args=payload.args,
        env=build_env(payload.env, home=users.home_of(run_as), facts=facts),
        cwd=payload.cwd,
        stdin=payload.stdin if isinstance(payload.stdin, str) else stdin,
        timeout_s=payload.timeout,
        kill_grace_s=payload.kill_grace,
        limits=payload.limits,
        run_as=run_as,
        allowed_commands=allowed_commands,
    )


def _parent_facts(parent: Parent) -> dict[str, object]:
    return {"parent_id": parent.job_id, "parent_status": parent.status, "parent_exit_code": parent.exit_code}
