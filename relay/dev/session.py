"""One run of `relay dev`: start everything, be used, end everything.

Ctrl-C lets running jobs end for 5 s and then kills them; a second one ends everything at once. The job of a command is cancelled
instead: its output has no other reader.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from relay.config import local
from relay.dev import database, job, roles, servers
from relay.dev.interrupts import Interrupts
from relay.dev.supervisor import Supervisor
from relay.model import exits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from relay.config.local import DevState

STATE = "dev.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run is to do. `command` empty: serve until a signal comes. `environ`: of the user.

    `say` is talk, which may be unwanted; `complain` says what the user must know.
    """

    folder: Path
    workers: int
    port: int
    queue: str
    command: Sequence[str]
    is_durable: bool
    environ: Mapping[str, str] = field(repr=False)
    writer: job.Writer
    say: Callable[[str], None]
    complain: Callable[[str], None]
    announce: Callable[[DevState], None]


async def run(plan: Plan) -> int:
    """Do it; the exit code. Nothing is left running, whatever happens."""
    interrupts = Interrupts()
    supervisor = Supervisor(plan.folder, plan.say)
    with interrupts.caught():
        try:
            state = await interrupts.unless(_start(plan, supervisor))
            if state is None:
                return interrupts.exit_code
            code = await _use(plan, state, supervisor, interrupts)
            if not plan.is_durable:
                interrupts.second.set()  # the job has ended and nothing is kept: there is nothing to be gentle with
            return code
        finally:
            plan.say("stopping")
            for path in _state_files(plan):
                local.remove(path, pid=os.getpid())
            await supervisor.stop(at_once=interrupts.second)


async def _start(plan: Plan, supervisor: Supervisor) -> DevState:
    """Start stores, API and workers, each once what it needs is there."""
    plan.say(f"starting PostgreSQL, Redis and a Kafka-compatible broker in {plan.folder}")
    stores = servers.start(plan.folder, is_durable=plan.is_durable)
    supervisor.add_stores(stores)
    await stores.ready()
    state = roles.state_of(stores, port=plan.port, token=await database.prepare(stores.postgres.dsn(roles.DATABASE)))
    env = roles.environment(plan.environ, state, scratch=None if plan.is_durable else plan.folder / "tmp")
    plan.say(f"starting the API and {plan.workers} worker{'s' if plan.workers > 1 else ''}")
    supervisor.add_serve(roles.start_serve(plan.folder, env))
    for number in range(1, plan.workers + 1):
        supervisor.add_worker(roles.start_worker(number, plan.folder, env))
    for server in supervisor.all:
        await server.ready()
    supervisor.record()
    return state


async def _use(plan: Plan, state: DevState, supervisor: Supervisor, interrupts: Interrupts) -> int:
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(supervisor.keep())
        if plan.command:
            local.write(plan.folder / STATE, state)
            ended = await job.run(state, plan.command, queue=plan.queue, writer=plan.writer, interrupts=interrupts)
            code = interrupts.exit_code if ended is None else exits.exit_code_of(ended)
            if ended is not None and (surprise := job.surprise(ended)):
                plan.complain(surprise)
        else:
            code = await _serve(plan, state, interrupts)
        keeping.cancel()
    return code


async def _serve(plan: Plan, state: DevState, interrupts: Interrupts) -> int:
    """Be there until a signal comes."""
    if await interrupts.unless(job.probe(state, queue=plan.queue)) is not None:
        for path in _state_files(plan):
            local.write(path, state)
        plan.announce(state)
        await interrupts.first.wait()
    return interrupts.exit_code


def _state_files(plan: Plan) -> list[Path]:
    """Where the run is told of: for a command only in its folder, so that it does not hide one that serves."""
    return [plan.folder / STATE, *([] if plan.command else [local.state_path(plan.environ)])]
