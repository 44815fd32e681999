"""Which jobs a job's end brings about: one per edge and index, once a round.

COMPLETED follows `on_success`, DEAD follows `on_failure` whatever its reason; a cancelled job was stopped on purpose and
has no successors. A child inherits nothing, so its own spec is all there is to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from relay.model.states import JobStatus

if TYPE_CHECKING:
    from relay.model.spec import JobSpec


class Child(NamedTuple):
    """A job to create: the edge it hangs on, its place in that edge's list, and its spec."""

    edge: str
    position: int
    spec: JobSpec


def children(spec: JobSpec, status: JobStatus) -> tuple[Child, ...]:
    """Return the children to create when a job of this spec ends so."""
    if status is JobStatus.COMPLETED:
        return tuple(Child("on_success", index, child) for index, child in enumerate(spec.on_success))
    if status is JobStatus.DEAD:
        return tuple(Child("on_failure", index, child) for index, child in enumerate(spec.on_failure))
    return ()
