"""A follower sees output soon after it was written, each piece once, and the end when the job is over for good."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

from tests.e2e.reading import Event, bytes_of, following, read

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.stack import Cluster

WITHIN_S = 30.0
LINES = 11
SEEN_NS = 300_000_000
TELL_THE_TIME = f"n=0; while [ $n -lt {LINES} ]; do date +%s%N; sleep 0.15; n=$((n + 1)); done"
COUNT = "n=0; while [ $n -lt 80 ]; do echo line $n; echo error $n >&2; sleep 0.03; n=$((n + 1)); done"
FAIL_ONCE = 'echo "attempt $RELAY_ATTEMPT"; test "$RELAY_ATTEMPT" = 2'
SOON = {"strategy": "constant", "initial": "300ms"}


async def collect(relay: Cluster, job_id: int, query: str = "follow=true") -> list[Event]:
    """All events from now to the end."""
    async with asyncio.timeout(WITHIN_S), following(relay, job_id, query) as events:
        return [event async for event in events]


def said(events: list[Event]) -> list[tuple[int, str]]:
    """Attempt and text of each piece of output."""
    return [(event.data["attempt"], event.data["text"]) for event in events if event.kind == "output"]


async def test_a_line_is_seen_within_300_ms(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"script": TELL_THE_TIME}})
    late_ns: list[int] = []
    async with asyncio.timeout(WITHIN_S), following(relay, job_id) as events:
        async for event in events:
            if event.kind == "output":
                now_ns = time.time_ns()
                late_ns += [now_ns - int(line) for line in event.data["text"].split()]
    assert len(late_ns) == LINES
    assert statistics.median(late_ns) < SEEN_NS


async def test_a_follower_that_was_cut_goes_on_without_gap_or_repeat(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"script": COUNT}})
    seen: list[Event] = []
    cuts = 0
    async with asyncio.timeout(WITHIN_S):
        while not seen or seen[-1].kind != "end":
            async with following(relay, job_id, last_id=seen[-1].id if seen else None) as events:
                seen += [event async for event in _first(events, 3)]
            cuts += 1
    output = [event for event in seen if event.kind == "output"]
    assert cuts > 3
    assert [event.id for event in output] == [f"1:{number}" for number in range(1, len(output) + 1)]
    for stream in ("stdout", "stderr"):
        pieces = [bytes_of(event.data) for event in output if event.data["stream"] == stream]
        assert b"".join(pieces) == await read(relay, job_id, f"stream={stream}")
    assert b"".join(bytes_of(event.data) for event in output if event.data["stream"] == "stdout") == b"".join(
        b"line %d\n" % number for number in range(80)
    )


async def _first(events: AsyncIterator[Event], count: int) -> AsyncIterator[Event]:
    async for event in events:
        yield event
        count -= 1
        if not count:
            return


async def test_a_follower_goes_on_across_a_retry(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"script": FAIL_ONCE}, "max_retries": 1, "backoff": SOON})
    events = await collect(relay, job_id)
    assert said(events) == [(1, "attempt 1\n"), (2, "attempt 2\n")]
    assert [event.kind for event in events] == ["output", "output", "end"]
    end = events[-1].data
    assert (end["status"], end["attempt"], end["outcome"], end["exit_code"]) == ("COMPLETED", 2, "succeeded", 0)


async def test_following_one_attempt_ends_with_it(relay: Cluster) -> None:
    spec = {"payload": {"script": FAIL_ONCE}, "max_retries": 1, "backoff": {"strategy": "constant", "initial": "1h"}}
    job_id = await relay.submit(spec)
    await relay.wait(job_id, "FAILED")
    events = await collect(relay, job_id, "follow=true&attempt=1")
    assert said(events) == [(1, "attempt 1\n")]
    assert (events[-1].kind, events[-1].data["outcome"], events[-1].data["exit_code"]) == ("end", "failed", 1)


async def test_a_follower_may_come_before_the_job_starts(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"command": "echo", "args": ["late"]}, "delay": "500ms"})
    assert said(await collect(relay, job_id)) == [(1, "late\n")]


async def test_a_follower_of_a_cancelled_job_hears_its_end(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"script": "echo up; sleep 60"}})
    async with asyncio.timeout(WITHIN_S), following(relay, job_id) as events:
        first = await anext(events)
        assert bytes_of(first.data) == b"up\n"
        assert (await relay.request("POST", f"/v1/jobs/{job_id}/cancel"))[0] == 202
        end = await anext(events)
    assert (end.kind, end.data["status"], end.data["outcome"]) == ("end", "CANCELLED", "cancelled")


async def test_what_was_followed_is_what_is_kept(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"command": "seq", "args": ["200000"]}})
    events = await collect(relay, job_id)
    kept = await read(relay, job_id)
    assert b"".join(bytes_of(event.data) for event in events if event.kind == "output") == kept
    assert kept.endswith(b"\n200000\n")
