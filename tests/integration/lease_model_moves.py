"""What can happen next in the lease model's world, as a list to pick from; and two larger moves that lead somewhere.

Single moves alone wander: hardly any random walk looks at a silent worker for a full TTL. So `flow` answers all that an actor
asks for, and `live` lets some actors do their duties for a while as they do in truth, while the others are paused or cut off.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from relay.store import rescue
from tests.integration.lease_model_calls import Store, settle
from tests.integration.lease_model_worker import State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from tests.integration.lease_model import World
    from tests.integration.lease_model_calls import Actor, Call
    from tests.integration.lease_model_worker import Process, Worker

    Move = tuple[str, Callable[[], Awaitable[None]]]

_ROUNDS = 12  # of calls in one flow: a call that is lost may be sent again at once
_WORKERS = 2  # alive at a time
PHASES = ("in flight", "heard", "at its fork", "running", "finishing")


def moves(world: World) -> list[Move]:
    """Every single step that can be taken now, faults aside."""
    found: list[Move] = []
    if world.status not in ("PENDING", "RUNNING"):
        found.append(("another job is submitted", world.submit))
    found += [move for call in world.wire.under_way for move in _of_call(world, call)]
    found += [(f"{call.name} arrives late", partial(world.wire.apply_stray, call)) for call in world.wire.stray]
    for worker in world.workers:
        found += _of_worker(world, worker)
    found += [
        ("fast rescue", partial(_rescue_fast, world, worker))
        for worker in world.workers[-2:]
        if world.living and not worker.is_alive and not worker.has_processes
    ]
    found += [("a rescuer looks", at_once(watcher.look)) for watcher in world.rescuers if not watcher.is_looking]
    return found


def _of_call(world: World, call: Call) -> Iterator[Move]:
    if not call.is_applied:
        yield f"{call.name} is applied", lambda: world.wire.apply(call)
    elif call.store is Store.REDIS:
        yield f"{call.name} is applied twice", lambda: world.wire.apply(call)
    if call.sender.is_free:
        if call.is_applied:
            yield f"{call.name} is answered", lambda: world.wire.answer(call)
        if call.store is not world.healthy:
            yield f"{call.name} is lost", lambda: world.wire.lose(call)


def _of_worker(world: World, worker: Worker) -> Iterator[Move]:
    if world.healthy is None and (worker.guard.deadline_ns is not None or worker.has_processes):
        yield "a guard acts", at_once(worker.guard.act)
    if worker.forking is not None:
        yield "a process is forked", at_once(worker.forking.fork)
    for process in worker.processes:
        if process.state is State.ALIVE:
            yield "a process succeeds", at_once(partial(process.end, 0))
            yield "a process is released", at_once(process.release)
    if not worker.is_free:
        return
    if worker.parts.claimer.room:
        yield "a worker hears of the job", at_once(lambda: worker.parts.claimer.want([world.job_id]))
    if world.healthy is None:
        yield from _of_loops(worker)
        for process in worker.processes:
            yield from _of_process(process)


def _of_loops(worker: Worker) -> Iterator[Move]:
    if not worker.is_busy("beat"):
        yield "a worker beats", at_once(worker.beat)
    if not worker.is_busy("renew"):
        yield "a worker renews", at_once(worker.renew)
    yield "a worker looks for lapses", at_once(worker.lapse)


def _of_process(process: Process) -> Iterator[Move]:
    if process.state is State.WAITING and not process.is_asked_to_start:
        yield "a process is about to start", at_once(process.start)
    if process.is_to_reap:
        yield "a process is reaped", at_once(process.reap)


def faults(world: World) -> list[Move]:
    """What can break now. With one healthy store, only the other breaks."""
    found: list[Move] = []
    if world.healthy is not Store.REDIS:
        found += [("Redis is wiped", world.redis.wipe), ("Redis is a stale copy", world.redis.replace_by_stale_copy)]
    if world.healthy is not None:
        return found
    if len(world.living) < _WORKERS:
        found.append(("a worker starts", world.start_worker))
    for worker in world.living[:1]:
        found.append(("a worker is killed", at_once(worker.die)))
        if worker.forking is None:  # that a guard dies while its worker is stopped there is beyond what is promised
            found.append(("a guard is killed", at_once(partial(_kill_guard, worker))))
    return found


def at_once(act: Callable[[], object]) -> Callable[[], Awaitable[None]]:
    """Make a move of something that takes no call; what follows from it does."""

    async def move() -> None:
        act()
        await settle()

    return move


def _kill_guard(worker: Worker) -> None:
    """Let the guard die: the worker sees it at once, kills its jobs and exits."""
    worker.kill_processes()
    worker.die()


async def _rescue_fast(world: World, gone: Worker) -> None:
    """Let another worker of that host find this one gone and, its processes swept, give its claims back."""
    predecessors = await rescue.list_predecessors(world.conn, world.living[-1].id)
    claims = [claim for each in predecessors if each.worker_id == gone.id for claim in each.claims]
    world.wire.has_written = True
    await rescue.lose_attempts(world.conn, claims)


async def flow(world: World, actors: Collection[Actor], *, up: Collection[Store] = tuple(Store)) -> None:
    """Answer all that these ask for, and fail what they ask of a store that isn't up."""
    failed: set[tuple[Actor, str]] = set()  # what is sent again at once stays under way
    for _ in range(_ROUNDS):
        calls = [
            call
            for call in world.wire.under_way
            if call.sender in actors and call.sender.is_free and (call.sender, call.name) not in failed
        ]
        if not calls:
            return
        for call in calls:
            if call.store in up:
                await world.wire.exchange(call)
            else:
                failed.add((call.sender, call.name))
                await world.wire.lose(call)


async def live(
    world: World, seconds: int, *, actors: Collection[Actor], up: Collection[Store], is_deaf: bool = False
) -> None:
    """Let time pass in which these do their duties; the others are paused. Workers reach what is `up`, rescuers everything.

    Guards read their pipes unless they are deaf.
    """
    for second in range(seconds):
        await world.advance(1000, is_deaf=is_deaf)
        for worker in world.living:
            if worker in actors:
                _work(world, worker)
        for watcher in world.rescuers:
            if watcher in actors and not watcher.is_looking and second % 2 == 0:  # two looks may be 2.5 s apart
                watcher.look()
        await settle()
        await flow(world, [worker for worker in world.living if worker in actors], up=up)
        await flow(world, [watcher for watcher in world.rescuers if watcher in actors])
        await world.check()


async def come_to(world: World, phase: str, *, has_lock: bool) -> None:
    """Bring the first worker's claim to one of `PHASES`, with a lock in Redis or without."""
    worker = world.living[0]
    worker.parts.claimer.want([world.job_id])
    await settle()
    for call in world.wire.of(worker, "acquire"):
        await (world.wire.exchange(call) if has_lock else world.wire.lose(call))
    steps = PHASES.index(phase)
    for call in world.wire.of(worker, "claim"):
        await (world.wire.exchange(call) if steps > 0 else world.wire.apply(call))
    for _ in range(min(steps - 1, 2)):
        worker.attend_processes()
        await settle()
    if phase == "finishing":
        for process in worker.processes:
            process.end(0)
        worker.attend_processes()
        await settle()


def _work(world: World, worker: Worker) -> None:
    worker.attend_processes()
    if not worker.is_free:
        return
    if worker.next_beat_ms <= world.now_ms and not worker.is_busy("beat"):
        worker.beat()
    if worker.next_renewal_ms <= world.now_ms and not worker.is_busy("renew"):
        worker.renew()
    worker.lapse()
    if worker.parts.claimer.room:
        worker.parts.claimer.want([world.job_id])
