"""A timeout, a cancel and a drain end a job's whole tree: first asked, then killed, and nothing of it stays."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from tests.e2e.reading import read
from tests.e2e.running import ended, processes_of, took_s, written
from tests.stack import processes, until

if TYPE_CHECKING:
    from relay.process import tree
    from tests.stack import Cluster
    from tests.stack.processes import Worker

FELT_NS = 500_000_000
EXIT_S = 5  # more than the drain and the grace
TELL_THE_TERM = "trap 'date +%s%N; exit 0' TERM; echo up; while :; do sleep 0.05; done"
# One in the group, one in its own session, one there whose parent has ended, one of those that has lost its cookie.
STUBBORN = """
trap '' TERM
sleep 300 & echo $!
setsid sleep 300 & echo $!
(setsid sleep 300 & echo $!)
(setsid env -i sleep 300 & echo $!)
echo $$
while :; do sleep 300; done
"""
FAMILY = 5


async def cancel(relay: Cluster, job_id: int) -> None:
    """Ask for a job's end."""
    status, answer = await relay.request("POST", f"/v1/jobs/{job_id}/cancel")
    assert status == 202, answer


async def family_of(relay: Cluster, job_id: int) -> list[tree.Proc]:
    """The processes of a stubborn job, once all run."""
    return processes_of(await written(relay, job_id, FAMILY))


async def test_a_timeout_asks_first(relay: Cluster) -> None:
    script = "trap 'echo bye; exit 3' TERM; while :; do sleep 0.05; done"
    job = await ended(relay, {"script": script, "timeout": "300ms"})
    attempt = job["attempts"][0]
    assert (job["status"], job["reason"], attempt["outcome"]) == ("DEAD", "timeout", "timed_out")
    assert (attempt["exit_code"], attempt["signal"]) == (3, None)
    assert await read(relay, job["id"], "stream=stdout") == b"bye\n"
    assert took_s(attempt) >= 0.3


async def test_a_timeout_kills_what_ignores_it_after_the_grace(relay: Cluster) -> None:
    spec = {"payload": {"script": STUBBORN, "timeout": "1s", "kill_grace": "300ms"}, "max_retries": 0}
    job_id = await relay.submit(spec)
    noted = await family_of(relay, job_id)
    job = await relay.wait(job_id)
    assert processes.still_running(noted) == []
    attempt = job["attempts"][0]
    assert (attempt["outcome"], attempt["exit_code"], attempt["signal"]) == ("timed_out", None, "SIGKILL")
    assert took_s(attempt) >= 1.3


async def test_a_timeout_is_per_attempt_and_uses_retries(relay: Cluster) -> None:
    script = 'test "$RELAY_ATTEMPT" = 2 || sleep 60'
    backoff = {"strategy": "constant", "initial": "1ms"}
    job = await ended(relay, {"script": script, "timeout": "300ms"}, max_retries=1, backoff=backoff)
    assert job["status"] == "COMPLETED"
    assert [each["outcome"] for each in job["attempts"]] == ["timed_out", "succeeded"]


async def test_a_cancel_is_felt_within_500_ms(relay: Cluster) -> None:
    late_ns = []
    for _ in range(3):
        job_id = await relay.submit({"payload": {"script": TELL_THE_TERM}})
        await written(relay, job_id, 1)
        asked_ns = time.time_ns()
        await cancel(relay, job_id)
        job = await relay.wait(job_id)
        assert (job["status"], job["attempts"][0]["outcome"]) == ("CANCELLED", "cancelled")
        late_ns.append(int((await read(relay, job_id, "stream=stdout")).split()[1]) - asked_ns)
    assert statistics.median(late_ns) < FELT_NS


async def test_a_cancelled_job_that_ignores_term_leaves_no_process(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"script": STUBBORN, "kill_grace": "300ms"}})
    noted = await family_of(relay, job_id)
    await cancel(relay, job_id)
    job = await relay.wait(job_id)
    assert processes.still_running(noted) == []
    assert (job["status"], job["attempts"][0]["signal"]) == ("CANCELLED", "SIGKILL")


async def test_a_cancelled_job_that_waits_never_starts(relay: Cluster) -> None:
    job_id = await relay.submit({"payload": {"command": "true"}, "delay": "500ms"})
    await cancel(relay, job_id)
    job = await relay.job(job_id)
    assert (job["status"], job["attempts"]) == ("CANCELLED", [])


async def draining_worker(relay: Cluster, queue: str, timeout: str) -> Worker:
    """A worker for one queue, with a drain of its own."""
    return await relay.start_worker(environ={"RELAY_QUEUES": queue, "RELAY_DRAIN_TIMEOUT": timeout})


async def test_a_drain_hands_a_long_job_back_without_using_a_retry(relay: Cluster) -> None:
    worker = await draining_worker(relay, "handed-back", "500ms")
    script = f'test "$RELAY_ATTEMPT" = 1 || exit 0\n{STUBBORN}'
    spec = {"payload": {"script": script, "kill_grace": "300ms"}, "queue": "handed-back", "max_retries": 0}
    job_id = await relay.submit(spec)
    noted = await family_of(relay, job_id)
    began = time.monotonic()
    assert await worker.stop() == 0
    assert time.monotonic() - began < 0.5 + 0.3 + EXIT_S
    assert processes.still_running(noted) == []
    job = await relay.job(job_id)
    assert (job["status"], job["reason"], job["retries_used"]) == ("PENDING", None, 0)
    _, workers = await relay.request("GET", "/v1/workers")
    assert worker.id not in [each["id"] for each in workers["items"]]

    second = await draining_worker(relay, "handed-back", "60s")
    job = await relay.wait(job_id)
    assert (job["status"], job["worker"], job["retries_used"]) == ("COMPLETED", second.id, 0)
    assert [each["outcome"] for each in job["attempts"]] == ["released", "succeeded"]


async def test_a_drain_lets_a_job_end_that_ends_in_time(relay: Cluster) -> None:
    worker = await draining_worker(relay, "in-time", "60s")
    job_id = await relay.submit({"payload": {"script": "echo up; sleep 1; echo done"}, "queue": "in-time"})
    await written(relay, job_id, 1)
    late = await relay.submit({"payload": {"command": "true"}, "queue": "in-time", "delay": "300ms"})
    assert await worker.stop() == 0
    assert (await relay.job(job_id))["status"] == "COMPLETED"
    assert await read(relay, job_id) == b"up\ndone\n"
    assert (await relay.job(late))["status"] == "PENDING"


async def test_a_second_signal_skips_the_drains_wait(relay: Cluster) -> None:
    worker = await draining_worker(relay, "forced", "60s")
    job_id = await relay.submit({"payload": {"script": "echo up; sleep 300"}, "queue": "forced"})
    await written(relay, job_id, 1)
    began = time.monotonic()
    worker.terminate()
    await until(lambda: "worker.draining" in worker.output, what="the drain")
    assert await worker.stop() == 0
    assert time.monotonic() - began < 30
    assert [each["outcome"] for each in (await relay.job(job_id))["attempts"]] == ["released"]
