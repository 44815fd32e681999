"""Failpoints: exact places at which a test can make a process die, stop or stall.

`RELAY_FAILPOINTS=after_claim=kill9,before_exec=stop@3` arms them: NAME=ACTION[@N] acts when NAME is reached for the Nth time
(default: the first), once. Actions: `kill9` (SIGKILL to itself), `stop` (SIGSTOP to itself), `block:SECONDS` (the whole event
loop stands still). Signals from outside hit a place only by luck, and the windows that matter are microseconds wide.

Unset, which is always so in production (the configuration refuses it there), a place costs one look at None.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Final

from relay import errors

if TYPE_CHECKING:
    from collections.abc import Callable

PLACES: Final = frozenset(
    {
        "after_claim",  # worker: claims are committed, nothing has started
        "before_exec",  # worker: the guard has been told, the fork comes next
        "after_exec",  # worker: no process is left, its trust has not been looked at again
        "before_finish",  # worker: its trust held, the result is about to be sent
        "after_finish",  # worker: results are committed, locks not yet deleted
        "after_insert",  # serve: jobs are committed, not published
        "before_answer",  # serve: jobs are committed and published, the request is not answered
    }
)

_armed: dict[str, _Armed] | None = None


class _Armed:
    """One armed place: what to do, and at how many more passes."""

    __slots__ = ("act", "left")

    def __init__(self, act: Callable[[], None], left: int) -> None:
        self.act = act
        self.left = left


def hit(place: str) -> None:
    """Pass a place; acts if it is armed and its turn has come."""
    if _armed is not None:
        _pass(_armed, place)


def arm(text: str | None) -> None:
    """Arm what RELAY_FAILPOINTS says; None or empty disarms all. Raises BadConfig if it makes no sense."""
    global _armed  # noqa: PLW0603 - one switch per process, read at every place
    _armed = dict(map(_parse, text.split(","))) if text else None


def _pass(armed: dict[str, _Armed], place: str) -> None:
    point = armed.get(place)
    if point is not None:
        point.left -= 1
        if point.left == 0:
            point.act()


def _parse(text: str) -> tuple[str, _Armed]:
    place, _, rest = text.strip().partition("=")
    action, _, count = rest.partition("@")
    verb, _, argument = action.partition(":")
    try:
        return _known(place), _Armed(_action(verb, argument), int(count or 1))
    except ValueError as error:
        raise errors.BadConfig(
            f"RELAY_FAILPOINTS: {text!r} is not PLACE=kill9|stop|block:SECONDS[@N] ({error}); places: {', '.join(sorted(PLACES))}"
        ) from error


def _known(place: str) -> str:
    if place not in PLACES:
        raise ValueError("no such place")
    return place


def _action(verb: str, argument: str) -> Callable[[], None]:
    if verb == "block":
        seconds = float(argument)
        return lambda: time.sleep(seconds)
    number = {"kill9": signal.SIGKILL, "stop": signal.SIGSTOP}.get(verb)
    if number is None or argument:
        raise ValueError("no such action")
    return lambda: os.kill(os.getpid(), number)
