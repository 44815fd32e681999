"""A job that comes back may be claimed only once its old claim's lock is gone: or it waits to be stolen, for 30 s under load."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from relay.model.records import JobRef
from relay.model.states import Lane
from relay.store.rescue import Lost
from relay.worker.aftermath import Aftermath

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LOST = JobRef(1, "default", Lane.NORMAL)
ELSEWHERE = JobRef(2, "other", Lane.NORMAL)
CHILD = JobRef(3, "default", Lane.NORMAL)


class Told:
    """Stands for the stores and the claimer; notes what they are told, in order."""

    def __init__(self, *, room: int) -> None:
        self.room = room
        self.events: list[tuple[str, list[int]]] = []

    async def release(self, pairs: Sequence[tuple[int, str]], *, changed: Sequence[int]) -> None:
        self.events += [("release", [job_id for job_id, _ in pairs]), ("wake", list(changed))]

    def publish(self, refs: Sequence[JobRef]) -> None:
        if refs:
            self.events.append(("publish", [ref.id for ref in refs]))

    def want(self, job_ids: Iterable[int], *, is_first: bool) -> None:
        assert is_first
        self.events.append(("want", list(job_ids)))


def aftermath_of(told: Told) -> Aftermath:
    given = cast("Any", told)
    made = Aftermath(cast("Any", SimpleNamespace()), given, given, queues=["default"])
    made.claimer = given
    return made


async def test_a_lost_job_is_claimed_here_once_its_old_lock_is_gone() -> None:
    told = Told(room=5)
    aftermath = aftermath_of(told)
    aftermath.add_lost(Lost(pairs=((1, "a"), (2, "b")), due=(LOST, ELSEWHERE)))
    await aftermath.round()
    assert told.events == [("release", [1, 2]), ("wake", [1, 2]), ("want", [1]), ("publish", [2])]


async def test_what_there_is_no_room_for_is_published_once_its_old_lock_is_gone() -> None:
    told = Told(room=0)
    aftermath = aftermath_of(told)
    aftermath.add_lost(Lost(pairs=((1, "a"),), due=(LOST,)))
    await aftermath.round()
    assert [event for event in told.events if event[1]] == [("release", [1]), ("wake", [1]), ("publish", [1])]


async def test_children_need_not_wait_for_their_parents_lock() -> None:
    told = Told(room=5)
    aftermath = aftermath_of(told)
    aftermath.add(ended=[(1, "a")], changed=[1], due=[CHILD])
    await aftermath.round()
    assert told.events == [("publish", [3]), ("release", [1]), ("wake", [1])]
