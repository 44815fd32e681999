"""What can keep a command from starting, and what it finds when it starts: program, script, environment, user, limits."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import resource
import sys
from typing import TYPE_CHECKING

import pytest

from relay.model.results import Ending
from relay.model.spec import parse_spec
from relay.process import orphans, scratch
from relay.process.command import Parent, command_for
from relay.process.output import Output
from relay.process.run import Execution
from tests.integration.running import Run, exists, folders_in_use, open_descriptors, run, sh, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IS_ROOT = os.geteuid() == 0
PYTHON = sys.executable


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    assert folders_in_use() == []


def write(path: Path, text: str | bytes, mode: int = 0o755) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("command", ["no-such-program", "/no/such/program", "./no-such-program"])
async def test_a_program_that_is_not_there_is_127(command: str) -> None:
    one = Run(command)
    result = await one.end()
    assert (result.ending, result.exit_code) == (Ending.START_ERROR, 127)
    assert "not found" in (result.error or "")
    assert one.started == []


async def test_what_is_not_executable_is_126(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", "#!/bin/sh\n", 0o644)
    no_interpreter = write(tmp_path / "lost", "#!/no/such/interpreter\n")
    windows = write(tmp_path / "windows", "#!/bin/sh\r\necho hi\r\n")
    no_format = write(tmp_path / "text", "echo hi\n")
    expected = {
        plain: "Permission denied",
        str(tmp_path): "directory",
        no_interpreter: "/no/such/interpreter",
        windows: "CR LF",
        no_format: "Exec format error",
    }
    for command, words in expected.items():
        for limits in ({}, {"open_files": 100}):
            result, _ = await run(command, limits=limits)
            assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126), command
            assert words in (result.error or "")


async def test_a_file_on_the_path_that_is_not_executable_does_not_hide_a_later_one(tmp_path: Path) -> None:
    write(tmp_path / "true", "", 0o644)
    result, _ = await run("true", env={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert result.exit_code == 0
    result, _ = await run("true", env={"PATH": f"{tmp_path}"})
    assert result.exit_code == 126


async def test_a_bad_working_directory_is_126(tmp_path: Path) -> None:
    for cwd in (tmp_path / "missing", tmp_path / "file"):
        (tmp_path / "file").touch()
        result, _ = await run("true", cwd=str(cwd))
        assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126)
        assert "working directory" in (result.error or "")


async def test_too_many_arguments_are_126() -> None:
    result, _ = await run("true", *["x" * 100_000] * 100)
    assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126)
    assert "too long" in (result.error or "")


async def test_a_host_without_descriptors_hands_the_job_back() -> None:
    await run("true")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 1, hard))
    try:
        result = await sh("true").end()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert result.ending == Ending.RELEASED
    assert os.strerror(errno.EMFILE) in (result.error or "")


@pytest.mark.parametrize("trouble", [errno.EAGAIN, errno.ENOMEM])
async def test_a_host_without_processes_or_memory_hands_the_job_back(
    trouble: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(trouble, os.strerror(trouble))

    monkeypatch.setattr(orphans.current().watcher, "start", refuse)
    one = sh("true")
    assert (await one.end()).ending == Ending.RELEASED


async def test_the_argv_is_the_users_own() -> None:
    argv = ["a b", "$HOME", "*", "", "grüße", "--", "-n"]
    _, out = await run(PYTHON, "-S", "-c", "import sys; sys.stdout.write('|'.join(sys.argv[1:]))", *argv)
    assert out.decode() == "|".join(argv)


async def test_a_command_keeps_the_name_it_was_called_by(tmp_path: Path) -> None:
    (tmp_path / "other-name").symlink_to("/bin/sh")
    _, out = await run("other-name", "-c", "echo $0", env={"PATH": str(tmp_path)})
    assert out == b"other-name\n"


async def test_a_script_is_run_by_sh_that_stops_at_the_first_error() -> None:
    result, out = await run(None, "one", "two", script='echo "$1 $2"; false; echo not reached')
    assert (result.exit_code, out) == (1, b"one two\n")
    result, _ = await run(None, script="echo $unset_variable")
    assert result.exit_code not in (0, None)


async def test_a_scripts_first_line_is_honoured() -> None:
    script = f"#!{PYTHON} -S\nimport sys\nprint(sys.argv[1:], sys.flags.no_site)\n"
    _, out = await run(None, "a b", script=script)
    assert out == b"['a b'] 1\n"


async def test_a_script_without_its_interpreter_is_126() -> None:
    result, _ = await run(None, script="#!/no/such/interpreter\n")
    assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126)


async def test_a_scripts_file_is_private_and_removed() -> None:
    _, out = await run(None, script='stat -c %a "$0"; echo "$0"; ls -A')
    mode, path, *listing = out.decode().split()
    assert (mode, listing) == ("700", [])
    assert not exists(path)


async def test_the_environment_is_built_from_scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_SECRET", "hunter2")
    spec = parse_spec({"payload": {"command": "env", "env": {"MINE": "grüße", "TZ": "Europe/Berlin"}}})
    claim_id = "0198c0de-1234-4abc-8def-0123456789ab"
    command = command_for(
        spec,
        job_id=7,
        attempt=2,
        claim_id=claim_id,
        queue="default",
        worker_id=3,
        parent=Parent(job_id=6, status="COMPLETED", exit_code=0),
    )
    output = Output(1 << 20)
    await Execution(command, output=output, on_starting=lambda: None, on_started=lambda _pid, _start: None).run()
    lines = b"".join(chunk.data for chunk in output.take(1 << 20)).decode().splitlines()
    output.close()
    assert dict(line.split("=", 1) for line in lines) == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": pwd.getpwuid(os.geteuid()).pw_dir,
        "LANG": "C.UTF-8",
        "TZ": "Europe/Berlin",
        "MINE": "grüße",
        "RELAY_JOB_ID": "7",
        "RELAY_ATTEMPT": "2",
        "RELAY_CLAIM": claim_id,
        "RELAY_QUEUE": "default",
        "RELAY_WORKER": "3",
        "RELAY_PARENT_ID": "6",
        "RELAY_PARENT_STATUS": "COMPLETED",
        "RELAY_PARENT_EXIT_CODE": "0",
        "TRACEPARENT": "00-0198c0de12344abc8def0123456789ab-8def0123456789ab-01",
    }


async def test_no_descriptor_but_the_three_is_inherited() -> None:
    _, out = await run("sh", "-c", "ls /proc/$$/fd")
    assert out.split() == [b"0", b"1", b"2"]


async def test_an_allow_list_looks_where_links_lead(tmp_path: Path) -> None:
    (tmp_path / "innocent").symlink_to(os.path.realpath("/bin/sh"))  # noqa: ASYNC240 - a test
    allowed = (f"{tmp_path}/*", "/usr/bin/echo")
    result, out = await run("echo", "hi", allowed_commands=allowed)
    assert (result.exit_code, out) == (0, b"hi\n")
    for command in ("sh", f"{tmp_path}/innocent", f"{tmp_path}/../../../../usr/bin/env"):
        result, _ = await run(command, "-c", "true", allowed_commands=allowed)
        assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126)
        assert "RELAY_ALLOWED_COMMANDS" in (result.error or "")


async def test_an_allow_list_applies_to_a_scripts_interpreter() -> None:
    result, _ = await run(None, script="true", allowed_commands=("/usr/bin/echo",))
    assert result.exit_code == 126
    result, _ = await run(None, script="true", allowed_commands=("/bin/sh",))
    assert result.exit_code == 0


async def test_open_files_are_limited() -> None:
    _, out = await run("sh", "-c", "ulimit -n", limits={"open_files": 77})
    assert out == b"77\n"


async def test_a_limit_does_not_blur_not_found() -> None:
    result, _ = await run("no-such-program", limits={"open_files": 77})
    assert (result.ending, result.exit_code) == (Ending.START_ERROR, 127)


@pytest.mark.parametrize("script", ["while :; do :; done", "sh -c 'while :; do :; done'; exit $?"])
async def test_breaking_cpu_time_ends_with_limit(script: str) -> None:
    result = await sh(script, limits={"cpu_time": 1}).end()
    assert (result.ending, result.broken_limit) == (Ending.LIMIT, "cpu_time")
    assert result.cpu_s is not None
    assert result.cpu_s >= 0.5  # the kernel counts an rlimit in ticks, and cpu_s exactly


async def test_breaking_memory_ends_with_limit() -> None:
    grab = "x = bytearray(200 << 20)\nimport time\ntime.sleep(300)"
    result, _ = await run(PYTHON, "-S", "-c", grab, limits={"memory": 100 << 20})
    assert (result.ending, result.broken_limit) == (Ending.LIMIT, "memory")
    assert result.peak_memory_bytes is not None
    assert result.peak_memory_bytes > 100 << 20


async def test_breaking_processes_ends_with_limit() -> None:
    script = "for i in 1 2 3 4 5 6 7 8; do setsid sleep 300 & done; wait"
    result = await sh(script, limits={"processes": 5}).end()
    assert (result.ending, result.broken_limit) == (Ending.LIMIT, "processes")


async def test_within_its_limits_a_job_is_left_alone() -> None:
    result = await sh("sleep 0.2; exit 3", limits={"memory": 512 << 20, "processes": 10, "cpu_time": 60}).end()
    assert (result.ending, result.exit_code, result.broken_limit) == (Ending.EXITED, 3, None)
    assert result.peak_memory_bytes is not None


async def test_a_short_jobs_peak_memory_is_unknown() -> None:
    result, _ = await run("true")
    assert result.peak_memory_bytes is None


async def test_a_long_jobs_peak_memory_counts_what_it_gave_back() -> None:
    grab = "x = bytearray(64 << 20)\ndel x\nimport time\ntime.sleep(0.8)"
    result, _ = await run(PYTHON, "-S", "-c", grab)
    assert result.peak_memory_bytes is not None
    assert 64 << 20 < result.peak_memory_bytes < 128 << 20


@pytest.mark.skipif(not IS_ROOT, reason="only root may run jobs as another user")
async def test_a_job_runs_as_another_user() -> None:
    one = sh("id -u; id -G; pwd; stat -c %U .; touch x; echo $HOME", run_as="nobody", limits={"open_files": 50})
    result = await one.end()
    uid, _, folder, owner, _ = one.read().decode().split("\n")[:5]
    assert (result.exit_code, uid, owner) == (0, str(pwd.getpwnam("nobody").pw_uid), "nobody")
    assert folder.startswith(scratch.root())


@pytest.mark.skipif(not IS_ROOT, reason="only root may run jobs as another user")
async def test_another_users_tree_is_killed_as_well() -> None:
    one = sh("setsid sleep 300 & sleep 300", run_as="nobody", kill_grace_s=0.1)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(one.end())
        await until(lambda: len(one.living()) == 3)
        one.execution.stop(Ending.CANCELLED)
    assert running.result().ending == Ending.CANCELLED
    assert one.living() == []


@pytest.mark.skipif(not IS_ROOT, reason="only root may run jobs as another user")
async def test_what_the_other_user_may_not_execute_is_126(tmp_path: Path) -> None:
    private = write(tmp_path / "private", "#!/bin/sh\n", 0o700)
    result, _ = await run(private, run_as="nobody")
    assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126)


@pytest.mark.skipif(not IS_ROOT, reason="only root may run jobs as another user")
async def test_a_script_runs_as_another_user() -> None:
    one = Run(None, script="id -un; ls -A", run_as="nobody")
    await one.end()
    assert one.read() == b"nobody\n"


async def test_a_run_as_user_that_does_not_exist_is_said_plainly() -> None:
    result, _ = await run("true", run_as="no-such-user")
    assert (result.ending, result.exit_code) == (Ending.START_ERROR, 126)
    assert "no-such-user" in (result.error or "")
