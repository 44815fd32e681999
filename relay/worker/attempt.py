"""One attempt: run the claimed job's command, settle how it ended, have it recorded.

The guard hears "starting" before the fork and "started" after it, each with what it needs to kill the processes should this
worker die or stall. The slot is free again when the processes are gone; recording goes on beside the next attempt.
An attempt whose trust passes is killed and not recorded: it is forgotten, which makes the heart report it lost.
"""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING

import asyncpg

from relay import errors, failpoints, log
from relay.model import settle
from relay.model.results import Ending, Result
from relay.model.spec import JobSpec
from relay.process import output, run
from relay.process.command import Parent, command_for
from relay.process.link import StartRefused
from relay.store.finish import Finish
from relay.worker import trust
from relay.worker.roster import Claim, Phase

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator

    from relay.config import Settings
    from relay.process.link import GuardLink
    from relay.process.tree import Start
    from relay.worker.finisher import Finisher
    from relay.worker.parent import ParentOutput
    from relay.worker.roster import Roster
    from relay.worker.shipper import Shipper

_log = log.get(__name__)
_NO_STDIN = contextlib.nullcontext(None)


class Attempts:
    """Runs attempts for one worker, each in a task of `tasks`."""

    def __init__(
        self,
        settings: Settings,
        roster: Roster,
        *,
        worker_id: int,
        link: GuardLink,
        finisher: Finisher,
        shipper: Shipper,
        parent_output: ParentOutput,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._roster = roster
        self._worker_id = worker_id
        self._link = link
        self._finisher = finisher
        self._shipper = shipper
        self._parent_output = parent_output
        self._tasks = tasks
        self._rng = random.Random()  # noqa: S311 - jitter, no secret

    def start(self, claim: Claim) -> None:
        """Run a claim that is on the roster and has a slot."""
        self._tasks.create_task(self._attempt(claim))

    async def _attempt(self, claim: Claim) -> None:
        spec: JobSpec | None = None
        try:
            try:
                spec = JobSpec.from_normalised(claim.facts.spec)
            except errors.InvalidSpec as error:
                result: Result | None = Result(ending=Ending.START_ERROR, exit_code=126, error=_unreadable(error))
            else:
                result = await self._run(claim, spec)
            claim.phase = Phase.FINISHING
        finally:
            self._roster.give(1)
        failpoints.hit("after_exec")
        if result is None or claim.trusted_until_ns <= trust.now_ns():
            self._forget(claim)  # what ended it may have been the guard; the heart reports it lost
            return
        await self._finish(claim, spec, result)

    async def _run(self, claim: Claim, spec: JobSpec) -> Result | None:
        """Run the command until none of its processes is left. None: trust had passed before it could start."""
        facts = claim.facts
        claim.grace_s = spec.payload.kill_grace
        claim.output = output.Output(limit_bytes=spec.payload.limits.output, on_data=lambda: self._shipper.mark(claim))
        async with self._stdin(claim, spec) as stdin:
            command = command_for(
                spec,
                job_id=facts.job_id,
                attempt=facts.attempt,
                claim_id=facts.claim_id,
                queue=facts.queue,
                worker_id=self._worker_id,
                parent=_parent(claim),
                run_as=self._settings.run_as,
                allowed_commands=self._settings.allowed_commands,
                stdin=stdin,
            )
            claim.execution = run.Execution(
                command,
                output=claim.output,
                on_starting=lambda: self._starting(claim),
                on_started=lambda pid, start: self._started(claim, pid, start),
            )
            if claim.asked is not None:
                claim.execution.stop(claim.asked)
            if claim.is_over or trust.now_ns() >= claim.trusted_until_ns:
                return None
            try:
                return await claim.execution.run()
            except StartRefused:
                return None
            finally:
                self._link.ended(facts.claim_id)

    def _starting(self, claim: Claim) -> None:
        self._link.starting(claim.facts.claim_id, claim.trusted_until_ns)
        failpoints.hit("before_exec")

    def _started(self, claim: Claim, pid: int, start: Start) -> None:
        claim.phase = Phase.RUNNING
        cgroup = claim.execution.cgroup if claim.execution is not None else None
        self._link.started(claim.facts.claim_id, pid, start, cgroup=cgroup)

    def _stdin(
        self, claim: Claim, spec: JobSpec
    ) -> contextlib.AbstractAsyncContextManager[AsyncGenerator[bytes, None] | None]:
        """Open the parent's output, for a spec that reads it."""
        if not spec.payload.reads_parent_stdout or claim.facts.parent_id is None:
            return _NO_STDIN
        return contextlib.aclosing(self._parent_output.stream(claim.facts.parent_id, claim.facts.parent_attempt))

    async def _finish(self, claim: Claim, spec: JobSpec | None, result: Result) -> None:
        facts = claim.facts
        if spec is None:
            settlement = settle.refuse()
        else:
            settlement = settle.settle(spec, result, retries_used=facts.retries_used, rng=self._rng)
        try:
            chunks = await self._shipper.rest(claim)
            answer = await self._finisher.record(
                Finish(
                    job_id=facts.job_id,
                    attempt=facts.attempt,
                    claim_id=facts.claim_id,
                    result=result,
                    settlement=settlement,
                    has_children=spec is not None and bool(spec.on_success or spec.on_failure),
                    chunks=chunks,
                )
            )
        except asyncpg.PostgresError:
            return  # logged by the finisher
        finally:
            self._forget(claim)
        _log.info(
            "attempt.finished",
            job_id=facts.job_id,
            attempt=facts.attempt,
            outcome=settlement.outcome.value,
            status=answer.status.value if answer.status else "fenced",
            exit_code=result.exit_code,
            signal=result.signal,
            cpu_s=result.cpu_s,
            stdout_bytes=result.stdout_bytes,
            stderr_bytes=result.stderr_bytes,
        )

    def _forget(self, claim: Claim) -> None:
        if claim.output is not None:
            claim.output.close()
        self._roster.remove(claim)


def _unreadable(error: errors.InvalidSpec) -> str:
    faults = "; ".join(f"{fault.path}: {fault.message}" for fault in error.faults) or error.detail
    return f"this worker cannot run the job's spec (another version of Relay wrote it?): {faults}"


def _parent(claim: Claim) -> Parent | None:
    facts = claim.facts
    if facts.parent_id is None:
        return None
    status = "COMPLETED" if facts.parent_edge == "on_success" else "DEAD"
    return Parent(job_id=facts.parent_id, status=status, exit_code=facts.parent_exit_code)
