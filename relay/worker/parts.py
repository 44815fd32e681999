"""A worker's parts, made in the order in which they need each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from relay.worker import trust
from relay.worker.aftermath import Aftermath
from relay.worker.attempt import Attempts
from relay.worker.claimer import Claimer
from relay.worker.finisher import Finisher
from relay.worker.heart import Heart
from relay.worker.parent import ParentOutput
from relay.worker.roster import Roster
from relay.worker.shipper import Shipper

if TYPE_CHECKING:
    import asyncio

    from relay.config import Settings
    from relay.process.link import GuardLink
    from relay.worker.drain import Drain
    from relay.worker.stores import Stores
    from relay.worker.watchdog import Step


@dataclass(frozen=True, slots=True)
class Parts:
    """What a worker consists of."""

    roster: Roster
    claimer: Claimer
    heart: Heart
    finisher: Finisher
    shipper: Shipper
    aftermath: Aftermath

    @property
    def steps(self) -> tuple[Step, ...]:
        """What the loops are at that claim jobs and keep them."""
        return self.heart.beating, self.heart.renewing, self.claimer.step


def assemble(
    settings: Settings, stores: Stores, tasks: asyncio.TaskGroup, *, worker_id: int, link: GuardLink, drain: Drain
) -> Parts:
    """Make the parts of one worker; attempts will run as tasks of `tasks`."""
    terms = trust.Terms(settings.lease_ttl_s)
    roster = Roster(settings.concurrency, terms)
    aftermath = Aftermath(stores.pool, stores.leases, stores.publisher, queues=settings.queues)
    finisher = Finisher(stores.pool, aftermath, worker_id=worker_id)
    shipper = Shipper(stores.pool, stores.leases)
    attempts = Attempts(
        settings,
        roster,
        worker_id=worker_id,
        link=link,
        finisher=finisher,
        shipper=shipper,
        parent_output=ParentOutput(stores.pool),
        tasks=tasks,
    )
    claimer = Claimer(stores, roster, worker_id=worker_id, terms=terms, start=attempts.start)
    aftermath.claimer = claimer
    heart = Heart(
        stores, roster, worker_id=worker_id, terms=terms, claimer=claimer, link=link, drain=drain, aftermath=aftermath
    )
    return Parts(roster, claimer, heart, finisher, shipper, aftermath)
