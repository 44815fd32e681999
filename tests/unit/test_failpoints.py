from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from relay import errors, failpoints

if TYPE_CHECKING:
    from collections.abc import Iterator

RELAY = Path(failpoints.__file__).parent


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    failpoints.arm(None)


def ending_of(armed: str, place: str, *, passes: int) -> int:
    """How a process ends that passes a place so often: its exit code, or -N for signal N."""
    code = f"from relay import failpoints as f; f.arm({armed!r}); [f.hit({place!r}) for _ in range({passes})]"
    return subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": str(RELAY.parent)}).returncode


def test_unset_every_place_does_nothing() -> None:
    failpoints.arm("")
    for place in failpoints.PLACES:
        failpoints.hit(place)


def test_a_process_dies_at_its_armed_place_and_at_no_other() -> None:
    assert ending_of("after_claim=kill9", "after_claim", passes=1) == -signal.SIGKILL
    assert ending_of("after_claim=kill9", "before_exec", passes=1) == 0


def test_an_action_waits_for_its_turn() -> None:
    assert ending_of("after_claim=kill9@3", "after_claim", passes=2) == 0
    assert ending_of("after_claim=kill9@3", "after_claim", passes=3) == -signal.SIGKILL


def test_blocking_stands_still_once() -> None:
    failpoints.arm("before_exec=block:0.05,after_exec=kill9@9")
    began = time.monotonic()
    failpoints.hit("before_exec")
    blocked_s = time.monotonic() - began
    failpoints.hit("before_exec")
    assert blocked_s >= 0.05
    assert time.monotonic() - began < 2 * blocked_s + 0.05


def test_stopping_stops_this_process_alone() -> None:
    failpoints.arm("before_finish=stop")
    child = os.fork()
    if child == 0:
        failpoints.hit("before_finish")
        os._exit(0)
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    "text",
    [
        "nowhere=kill9",
        "after_claim",
        "after_claim=kill8",
        "after_claim=kill9@x",
        "after_claim=block",
        "after_claim=stop:3",
    ],
)
def test_nonsense_is_refused_with_the_places_there_are(text: str) -> None:
    with pytest.raises(errors.BadConfig, match="after_claim, after_exec"):
        failpoints.arm(text)


def test_every_place_is_in_the_code_once() -> None:
    source = "".join(path.read_text() for path in RELAY.rglob("*.py"))
    assert {place: source.count(f'failpoints.hit("{place}")') for place in failpoints.PLACES} == dict.fromkeys(
        failpoints.PLACES, 1
    )
