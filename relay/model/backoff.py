"""How long a job waits before a retry.

Retry n waits initial * factor^(n-1) (exponential), initial * n (linear) or initial (constant), at most `max`. Jitter
draws from the top half of that, so that jobs which failed together don't return together and yet none returns much
earlier than asked. A lost worker's job skips the wait: its failure says nothing about the job.
"""

import random
from typing import Annotated, Literal

from pydantic import Field

from relay.model.durations import format_duration
from relay.model.part import Duration, LowerCase, Part


class Backoff(Part):
    """The `backoff` of a spec; durations in seconds."""

    strategy: Annotated[Literal["exponential", "linear", "constant"], LowerCase] = "exponential"
    initial: Duration = 1.0
    factor: Annotated[float, Field(ge=1, le=1000)] = 2.0
    max: Duration = 3600.0
    jitter: bool = True

    def normalised(self) -> dict[str, object]:
        """Give the object form with every default filled."""
        return {
            "strategy": self.strategy,
            "initial": format_duration(self.initial),
            "factor": int(self.factor) if self.factor.is_integer() else self.factor,
            "max": format_duration(self.max),
            "jitter": self.jitter,
        }


DEFAULT = Backoff()
_BY_NAME = {name: Backoff(strategy=name) for name in ("exponential", "linear", "constant")}


def from_word(value: object) -> object:
    """Turn the short form (`"linear"`) into a Backoff; leave an object for the model to judge."""
    if isinstance(value, dict | Backoff):
        return value
    if isinstance(value, str) and (backoff := _BY_NAME.get(value.lower())):
        return backoff
    raise ValueError("must be 'exponential', 'linear' or 'constant', or an object with 'strategy'")


def delay_s(backoff: Backoff, *, retry: int, rng: random.Random) -> float:
    """Give the wait before retry number `retry` (from 1), in seconds."""
    delay = min(_full_delay(backoff, retry), backoff.max)
    return delay * (0.5 + 0.5 * rng.random()) if backoff.jitter else delay


def _full_delay(backoff: Backoff, retry: int) -> float:
    if backoff.strategy == "constant":
        return backoff.initial
    if backoff.strategy == "linear":
        return backoff.initial * retry
    try:
        return backoff.initial * backoff.factor ** (retry - 1)
    except OverflowError:  # the 1,000th power of a large factor is no double; any maximum is below it
        return backoff.max if backoff.initial else 0.0
