"""What a spec asks for is what runs: environment, script, directory, input, and what each way to end means."""

from __future__ import annotations

import os
import pwd
import statistics
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from relay import bus
from relay.bus import messages
from relay.model.states import Lane
from tests.e2e.reading import read
from tests.e2e.running import ended, exists, output_of, seconds_between
from tests.stack import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack import Cluster

AT_ONCE = {"strategy": "constant", "initial": "1ms", "jitter": False}


def environment(printed: str) -> dict[str, str]:
    """What `env` has printed."""
    return dict(line.split("=", 1) for line in printed.splitlines())


async def test_the_environment_is_exactly_the_contracts(relay: Cluster) -> None:
    job = await ended(relay, {"command": "env", "env": {"MINE": "grüße = x", "TZ": "Asia/Tokyo"}})
    found = environment((await read(relay, job["id"])).decode())
    claim_id = UUID(found["RELAY_CLAIM"])
    assert found == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": pwd.getpwuid(os.geteuid()).pw_dir,
        "LANG": "C.UTF-8",
        "TZ": "Asia/Tokyo",
        "MINE": "grüße = x",
        "RELAY_JOB_ID": str(job["id"]),
        "RELAY_ATTEMPT": "1",
        "RELAY_CLAIM": str(claim_id),
        "RELAY_QUEUE": "default",
        "RELAY_WORKER": str(relay.workers[0].id),
        "TRACEPARENT": f"00-{claim_id.hex}-{claim_id.hex[16:]}-01",
    }
    assert job["worker"] == relay.workers[0].id


async def test_arguments_arrive_as_they_are_without_a_shell(relay: Cluster) -> None:
    args = ["a b", "", "$HOME", "*", "'", 'x"y', "-n", "--", "grüße", "two\nlines"]
    script = "import sys; sys.stdout.write('|'.join(sys.argv[1:]))"
    assert await output_of(relay, {"command": sys.executable, "args": ["-c", script, *args]}) == "|".join(args)


async def test_a_scripts_first_line_names_its_interpreter(relay: Cluster) -> None:
    script = f"#!{sys.executable} -I\nimport sys\nprint(sys.flags.isolated, sys.argv[1:])\n"
    assert await output_of(relay, {"script": script, "args": ["a b", "c"]}) == "1 ['a b', 'c']\n"


@pytest.mark.parametrize(("script", "code"), [("false\necho on", 1), ("echo $NOT_SET\necho on", 2)])
async def test_a_script_is_for_sh_that_stops_at_errors_and_unset_names(relay: Cluster, script: str, code: int) -> None:
    job = await ended(relay, {"script": script})
    attempt = job["attempts"][0]
    assert (job["status"], attempt["exit_code"], attempt["stdout_bytes"]) == ("DEAD", code, 0)


async def test_each_attempt_has_a_private_directory_that_is_removed(relay: Cluster) -> None:
    script = 'stat -c %a .; ls -A | wc -l; pwd; touch kept; test "$RELAY_ATTEMPT" = 2'
    job = await ended(relay, {"script": script}, max_retries=1, backoff=AT_ONCE)
    assert job["status"] == "COMPLETED"
    for attempt in (1, 2):
        mode, files, path = (await read(relay, job["id"], f"attempt={attempt}")).decode().split()
        assert (mode, files) == ("700", "0")
        assert not exists(path)


async def test_a_directory_that_the_spec_names_is_used_and_kept(relay: Cluster, tmp_path: Path) -> None:
    assert await output_of(relay, {"script": "pwd; touch kept", "cwd": str(tmp_path)}) == f"{tmp_path}\n"
    assert (tmp_path / "kept").exists()


@pytest.mark.parametrize("text", ["typed\n" * 100_000, "grüße, no newline", ""])
async def test_stdin_is_the_given_text(relay: Cluster, text: str) -> None:
    assert await output_of(relay, {"command": "cat", "stdin": text}) == text


async def test_stdin_is_empty_by_default(relay: Cluster) -> None:
    assert await output_of(relay, {"command": "wc", "args": ["-c"]}) == "0\n"


async def test_success_codes_replace_zero(relay: Cluster) -> None:
    for code, status in ((3, "COMPLETED"), (4, "COMPLETED"), (0, "DEAD")):
        job = await ended(relay, {"script": f"exit {code}", "success_codes": [3, 4]})
        assert (job["status"], job["attempts"][0]["exit_code"]) == (status, code)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("exit 9", ("exit", 9, None)),
        ("exit 137", ("exit", 137, None)),
        ("kill -KILL $$", ("signal", None, "SIGKILL")),
        ("kill -SEGV $$", ("signal", None, "SIGSEGV")),
    ],
)
async def test_an_exit_code_is_no_signal(relay: Cluster, script: str, expected: tuple[Any, ...]) -> None:
    job = await ended(relay, {"script": script})
    attempt = job["attempts"][0]
    assert (job["status"], job["reason"], attempt["outcome"]) == ("DEAD", expected[0], "failed")
    assert (attempt["reason"], attempt["exit_code"], attempt["signal"]) == expected


@pytest.mark.parametrize(
    ("command", "code", "error"),
    [
        ("no-such-program-anywhere", 127, "command not found: no-such-program-anywhere"),
        ("/no/such/program", 127, "command not found: no such file: /no/such/program"),
        ("/etc/passwd", 126, "cannot execute /etc/passwd: Permission denied"),
    ],
)
async def test_what_cannot_start_uses_retries_and_says_why(relay: Cluster, command: str, code: int, error: str) -> None:
    job = await ended(relay, {"command": command}, max_retries=1, backoff=AT_ONCE)
    assert (job["status"], job["reason"], job["retries_used"]) == ("DEAD", "start_error", 1)
    assert [(each["outcome"], each["exit_code"]) for each in job["attempts"]] == [("failed", code)] * 2
    assert job["attempts"][0]["error"].startswith(error)


async def test_a_failing_job_is_retried_with_growing_waits_and_then_dead(relay: Cluster) -> None:
    backoff = {"strategy": "exponential", "initial": "200ms", "factor": 3, "jitter": False}
    script = 'echo "$RELAY_ATTEMPT"; exit 5'
    job = await ended(relay, {"script": script}, max_retries=2, backoff=backoff)
    assert (job["status"], job["reason"], job["retries_used"], job["max_retries"]) == ("DEAD", "exit", 2, 2)
    attempts = job["attempts"]
    assert [each["attempt"] for each in attempts] == [1, 2, 3]
    for number, waited_s in ((1, 0.2), (2, 0.6)):
        assert seconds_between(attempts[number - 1]["finished_at"], attempts[number]["started_at"]) >= waited_s
        assert await read(relay, job["id"], f"attempt={number}") == b"%d\n" % number


async def test_between_attempts_a_job_is_failed_and_due_later(relay: Cluster) -> None:
    spec = {"payload": {"script": "exit 5"}, "backoff": {"strategy": "constant", "initial": "1h", "jitter": False}}
    job = await relay.wait(await relay.submit(spec), "FAILED")
    assert (job["reason"], job["finished_at"], job["attempts"][0]["outcome"]) == ("exit", None, "failed")
    assert 3590 < seconds_between(job["attempts"][0]["finished_at"], job["run_at"]) < 3610


async def test_a_code_that_rules_retries_out_makes_a_job_dead_at_once(relay: Cluster) -> None:
    job = await ended(relay, {"script": "exit 5"}, max_retries=3, no_retry_codes=[5])
    assert (job["status"], job["reason"], len(job["attempts"])) == ("DEAD", "exit", 1)


async def test_a_dead_job_can_be_sent_round_again_with_fresh_retries(relay: Cluster) -> None:
    script = 'test "$RELAY_ATTEMPT" -gt 2'
    job = await ended(relay, {"script": script}, max_retries=1, backoff=AT_ONCE)
    assert (job["status"], len(job["attempts"])) == ("DEAD", 2)
    assert (await relay.request("POST", f"/v1/jobs/{job['id']}/retry"))[0] == 200
    job = await relay.wait(job["id"])
    assert (job["status"], job["retries_used"], job["attempts"][-1]["attempt"]) == ("COMPLETED", 0, 3)


async def test_a_delayed_job_starts_no_earlier(relay: Cluster) -> None:
    job = await ended(relay, {"command": "true"}, delay="700ms")
    assert seconds_between(job["created_at"], job["started_at"]) >= 0.7


async def test_of_jobs_with_one_lock_at_most_one_runs(relay: Cluster, tmp_path: Path) -> None:
    script = 'mkdir "$1/held"; sleep 0.1; rmdir "$1/held"'
    spec = {"payload": {"script": script, "args": [str(tmp_path)]}, "lock": "one", "max_retries": 0}
    _, answer = await relay.request("POST", "/v1/jobs/batch", [spec] * 6)
    assert [(await relay.wait(job_id))["status"] for job_id in answer["ids"]] == ["COMPLETED"] * 6


async def test_a_worker_takes_high_before_normal_before_low(relay: Cluster, tmp_path: Path) -> None:
    worker = await relay.start_worker(environ={"RELAY_QUEUES": "lanes", "RELAY_CONCURRENCY": "1"})
    await until(lambda: "kafka.connected role=consumer" in worker.output, within_s=30, what="the fast way to it")
    journal, gate = tmp_path / "journal", tmp_path / "open"
    wait = {"script": 'until [ -e "$1" ]; do sleep 0.05; done', "args": [str(gate)]}
    note = {"script": 'echo "$1" >> "$2"'}
    holder = await relay.submit({"payload": wait, "queue": "lanes"})
    await relay.wait(holder, "RUNNING")
    batch = [
        {"payload": {**note, "args": [lane, str(journal)]}, "queue": "lanes", "priority": lane}
        for lane in ("low", "normal", "high") * 6
    ]
    _, answer = await relay.request("POST", "/v1/jobs/batch", batch)
    await until(lambda: _messages(relay, "lanes", 1 + len(batch)), what="a message for each job")
    gate.touch()
    for job_id in answer["ids"]:
        await relay.wait(job_id)
    ran = journal.read_text().split()
    assert sorted(ran) == ["high"] * 6 + ["low"] * 6 + ["normal"] * 6
    # By their mean places: what the broker delivers a moment later can't come first.
    places = {lane: statistics.mean(at for at, each in enumerate(ran) if each == lane) for lane in set(ran)}
    assert places["high"] < places["normal"] < places["low"], ran


async def _messages(relay: Cluster, queue: str, count: int) -> bool:
    """Whether Kafka has that many messages for a queue."""
    kafka = AIOKafkaConsumer(bootstrap_servers=relay.environ["RELAY_KAFKA_BROKERS"])
    await kafka.start()
    try:
        topics = [messages.topic(lane, queue) for lane in Lane]
        partitions = [TopicPartition(topic, number) for topic in topics for number in range(bus.PARTITIONS)]
        return bool(sum((await kafka.end_offsets(partitions)).values()) >= count)
    finally:
        await kafka.stop()
