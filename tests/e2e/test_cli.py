"""The command line against a running Relay, as its users and their scripts meet it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from tests.stack.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stack.cluster import Cluster, StartCluster

RELAY = (sys.executable, "-m", "relay")
ALL_BYTES = bytes(range(256))


def sh(script: str, **more: Any) -> bytes:
    """A spec that runs a shell script, as JSON."""
    return json.dumps({"payload": {"script": script}, "max_retries": 0, **more}).encode()


async def submitted(relay: Cluster, spec: bytes, *arguments: str) -> str:
    done = await relay.cli("submit", "-", *arguments, stdin=spec)
    assert (done.code, done.stderr) == (0, b"")
    return done.stdout.decode().strip()


async def test_run_is_like_running_the_command_here(relay: Cluster) -> None:
    script = "printf out; printf err >&2; exit 3"
    done = await relay.cli("run", "--", "sh", "-c", script)
    assert (done.code, done.stdout, done.stderr) == (3, b"out", b"err")
    done = await relay.cli("run", "--env", "A=b c", "--stdin", "-", "sh", "-c", 'cat; printf "$A"', stdin=b"typed ")
    assert (done.code, done.stdout) == (0, b"typed b c")


async def test_run_exits_as_a_shell_would(relay: Cluster) -> None:
    expected = {
        ("sh", "-c", "kill -9 $$"): 137,
        ("sh", "-c", "kill -TERM $$"): 143,
        ("--timeout", "200ms", "--grace", "1s", "sleep", "60"): 124,
        ("no-such-program-anywhere",): 127,
        ("/etc/passwd",): 126,
    }
    found = {arguments: (await relay.cli("run", *arguments)).code for arguments in expected}
    assert found == expected


async def test_run_says_what_the_exit_code_alone_would_not(relay: Cluster) -> None:
    done = await relay.cli("run", "--", "/no/such/program")
    assert done.stderr.endswith(b" could not start: command not found: no such file: /no/such/program\n")
    done = await relay.cli("run", "--timeout", "200ms", "--", "sleep", "60")
    assert b" is DEAD (timeout): 'relay why " in done.stderr
    done = await relay.cli("submit", "-", "--wait", stdin=sh("exit 4"))
    assert (done.code, b" is DEAD (exit): 'relay why " in done.stderr) == (4, True)


async def test_piped_output_is_what_the_job_wrote(relay: Cluster) -> None:
    script = "import os; os.write(1, bytes(range(256)))"
    done = await relay.cli("run", "--", sys.executable, "-c", script)
    assert (done.code, done.stdout) == (0, ALL_BYTES)
    job_id = str((await relay.request("GET", "/v1/jobs"))[1]["items"][0]["id"])
    assert (await relay.cli("logs", job_id)).stdout == ALL_BYTES


async def test_submit_prints_ids_and_reading_commands_show_the_job(relay: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("name: nightly\nlabels: {team: data}\npayload: {command: 'true'}\n")
    done = await relay.cli("submit", str(file), "--wait", "--set", "labels.run=7")
    assert (done.code, done.stderr) == (0, b"")
    job_id = done.stdout.decode().strip()
    job = json.loads((await relay.cli("show", job_id, "-o", "json")).stdout)
    assert (job["name"], job["labels"], job["status"]) == ("nightly", {"team": "data", "run": "7"}, "COMPLETED")
    assert (await relay.cli("list", "--label", "team=data", "-o", "name")).stdout.decode() == f"{job_id}\n"
    assert json.loads((await relay.cli("list", "--label", "team=data", "--status", "dead", "-o", "json")).stdout) == []
    listed = (await relay.cli("list")).stdout.decode().splitlines()
    assert listed[0].split() == ["ID", "NAME", "QUEUE", "PRIORITY", "STATUS", "REASON", "RETRIES", "CREATED", "TOOK"]
    assert listed[1].split()[:5] == [job_id, "nightly", "default", "normal", "COMPLETED"]
    shown = (await relay.cli("show", job_id)).stdout.decode()
    assert "succeeded" in shown
    assert "exit 0" in shown
    assert (await relay.cli("why", job_id)).stdout.startswith(b"It completed at ")


async def test_many_specs_go_in_bulk_and_their_ids_come_in_order(relay: Cluster) -> None:
    lines = b"".join(sh(f"exit {n % 2}", name=f"n{n}").replace(b"\n", b"") + b"\n" for n in range(6))
    done = await relay.cli("submit", "-", stdin=lines)
    ids = done.stdout.decode().split()
    assert (done.code, done.stderr) == (0, b"6 jobs submitted\n")
    assert [(await relay.job(int(job_id)))["name"] for job_id in ids] == [f"n{n}" for n in range(6)]
    assert (await relay.cli("wait", *ids)).code == 1
    assert (await relay.cli("wait", ids[0], ids[2], ids[4])).code == 0
    assert (await relay.cli("wait", ids[1])).code == 1


async def test_a_bad_line_in_bulk_is_named_and_nothing_of_it_accepted(relay: Cluster) -> None:
    done = await relay.cli("submit", "-", stdin=sh("true") + b"\n" + sh("true", qeue="x") + b"\n")
    assert done.code == 2
    assert done.stdout == b""
    assert b"line 2: qeue" in done.stderr
    assert b"did you mean" in done.stderr
    assert done.stderr.count(b"\n") == 1


async def test_dead_letters_are_listed_retried_and_purged(cluster: StartCluster) -> None:
    relay = await cluster()
    ids = [await submitted(relay, sh("exit 4", queue="default", name=name)) for name in ("a", "b")]
    assert (await relay.cli("wait", *ids)).code == 1
    assert (await relay.cli("dead", "list", "-o", "name")).stdout.decode().split() == ids[::-1]
    assert (await relay.cli("dead", "purge", "--dry-run")).stdout == b"2 dead letters would be purged\n"
    refused = await relay.cli("dead", "purge")
    assert refused.code == 2
    assert b"--yes" in refused.stderr
    assert (await relay.cli("dead", "retry", "--name", "a", "--yes")).stdout == b"1 dead letter retried\n"
    assert (await relay.cli("wait", ids[0])).code == 4
    assert (await relay.cli("dead", "purge", "--yes")).stdout == b"2 dead letters purged\n"
    assert (await relay.cli("show", ids[0])).code == 3


async def test_retry_cancel_and_delete_tell_what_they_refuse(relay: Cluster) -> None:
    job_id = await submitted(relay, sh("true"), "--wait")
    for command in ("retry", "cancel"):
        done = await relay.cli(command, job_id)
        assert (done.code, done.stdout) == (5, b"")
        assert b"COMPLETED" in done.stderr
    later = await submitted(relay, sh("true", queue="nobody"))
    done = await relay.cli("cancel", later)
    assert (done.code, done.stdout.decode()) == (0, f"{later}\n")
    assert (await relay.cli("wait", later)).code == 130
    assert json.loads((await relay.cli("retry", later, "-o", "json")).stdout)["status"] == "PENDING"
    assert (await relay.cli("delete", later)).code == 5
    assert (await relay.cli("delete", job_id)).code == 0
    assert (await relay.cli("delete", job_id)).code == 3


async def test_waiting_ends_with_its_timeout(relay: Cluster) -> None:
    job_id = await submitted(relay, sh("true", delay="1h"))
    done = await relay.cli("wait", job_id, "--timeout", "300ms")
    assert done.code == 124
    assert f"job {job_id} is PENDING" in done.stderr.decode()


async def test_logs_follow_across_retries_and_tail_counts_lines(relay: Cluster) -> None:
    script = 'echo "attempt $RELAY_ATTEMPT"; echo two; echo bad >&2; test "$RELAY_ATTEMPT" = 2'
    spec = sh(script, max_retries=1, backoff={"strategy": "constant", "initial": "100ms"})
    done = await relay.cli("submit", "-", "--follow", stdin=spec)
    assert (done.code, done.stdout) == (0, b"attempt 1\ntwo\nattempt 2\ntwo\n")
    job_id = done.stderr.decode().split()[1]
    assert (await relay.cli("logs", job_id, "--tail", "1", "--stream", "stdout")).stdout == b"two\n"
    first = await relay.cli("logs", job_id, "--attempt", "1")
    assert (first.stdout, first.stderr) == (b"attempt 1\ntwo\n", b"bad\n")
    assert (await relay.cli("logs", job_id, "-f", "--tail", "0")).stdout == b""
    assert (await relay.cli("logs", job_id, "--attempt", "3")).code == 3


async def test_a_chain_is_shown_as_a_tree(relay: Cluster) -> None:
    spec = sh("true", name="first", on_success={"name": "then", "payload": {"command": "true"}})
    job_id = int(await submitted(relay, spec, "--wait"))
    child = await until(lambda: child_of(relay, job_id), what="the child")
    await relay.wait(child)
    assert (
        await relay.cli("tree", str(child))
    ).stdout.decode() == f"{job_id} first COMPLETED\n  {child} then COMPLETED  <\n"


async def child_of(relay: Cluster, job_id: int) -> int | None:
    _, found = await relay.request("GET", f"/v1/jobs?parent_id={job_id}")
    return int(found["items"][0]["id"]) if found["items"] else None


async def test_operators_see_workers_numbers_and_findings(cluster: StartCluster) -> None:
    relay = await cluster()
    worker = relay.workers[0].id
    assert (await relay.cli("worker", "list", "-o", "name")).stdout.decode() == f"{worker}\n"
    assert (await relay.cli("stats")).stdout.startswith(b"QUEUE")
    doctor = await relay.cli("doctor")
    assert doctor.code == 0, doctor
    assert doctor.stdout.count(b" ok ") == 4
    assert b"RELAY_AUTH on default" in b" ".join(doctor.stdout.split())
    unlocked = await started(relay, "doctor", RELAY_AUTH="off")
    assert b"RELAY_AUTH off environment" in b" ".join((await unlocked.communicate())[0].split())
    assert (await relay.cli("migrate")).stderr == b"the schema is up to date\n"
    token = (await relay.cli("token", "create", "--scope", "read", "--expires", "1h")).stdout.decode().strip()
    assert token.startswith("rly_")
    number = token.split("_")[1]
    refused = await started(relay, "cancel", "1", RELAY_TOKEN=token)
    assert (await refused.communicate())[1].startswith(b"relay: ")
    assert refused.returncode == 4
    trusted = await started(relay, "list", RELAY_TOKEN=token)
    assert await trusted.wait() == 0
    assert (await relay.cli("token", "revoke", number)).code == 0
    revoked = await started(relay, "list", RELAY_TOKEN=token)
    assert await revoked.wait() == 4
    assert b"revoked" in (await relay.cli("token", "list")).stdout
    assert (await relay.cli("worker", "drain", str(worker))).code == 0


async def started(relay: Cluster, *arguments: str, **environ: str) -> asyncio.subprocess.Process:
    """A command that is left running, with pipes."""
    named = {**relay.environ, "RELAY_API": relay.api, "RELAY_TOKEN": relay.token, **environ}
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *RELAY, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=named
    )


async def test_a_closed_pipe_ends_logs_quietly(relay: Cluster) -> None:
    job_id = await submitted(relay, sh("seq 200000"), "--wait")
    process = await started(relay, "logs", job_id)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"1\n"
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    assert await process.stderr.read() == b""
    assert await process.wait() == 141


async def test_interrupting_run_without_a_terminal_cancels_the_job(relay: Cluster) -> None:
    process = await started(relay, "run", "--", "sh", "-c", "echo up; sleep 60")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 130
    _, found = await relay.request("GET", "/v1/jobs")
    assert (await relay.wait(found["items"][0]["id"]))["status"] == "CANCELLED"


async def test_without_a_good_token_every_command_exits_4(relay: Cluster) -> None:
    for token in ("", "rly_1_wrong"):
        process = await started(relay, "list", RELAY_TOKEN=token)
        _, stderr = await process.communicate()
        assert process.returncode == 4
        assert stderr.count(b"\n") == 1
