"""Finding programs, allow-lists, `#!` lines, wrappers and environments: what needs no child to be known."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest

from relay.model.payload import Limits
from relay.process import limits, program
from relay.process.environ import build_env
from relay.process.program import StartError, check_allowed, resolve, shebang
from relay.process.users import User
from relay.process.watcher import Exit


def executable(path: Path, mode: int = 0o755) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return str(path)


def test_the_first_match_on_the_path_wins(tmp_path: Path) -> None:
    first, second = executable(tmp_path / "a" / "tool"), executable(tmp_path / "b" / "tool")
    assert resolve("tool", f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b", "/") == first
    assert resolve("tool", f"{tmp_path}/b:{tmp_path}/a", "/") == second


def test_relative_places_count_from_the_working_directory(tmp_path: Path) -> None:
    tool = executable(tmp_path / "bin" / "tool")
    for command, path in [("bin/tool", "/usr/bin"), ("tool", "bin"), ("tool", "/none:bin")]:
        assert Path(resolve(command, path, str(tmp_path))).samefile(tool)
    assert Path(resolve("tool", "", f"{tmp_path}/bin")).samefile(tool)  # an empty entry is the working directory


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"#!/bin/sh\necho", ["/bin/sh"]),
        (b"#! /usr/bin/env python3 \nx", ["/usr/bin/env", "python3"]),
        (b"#!/usr/bin/awk -f -v\n", ["/usr/bin/awk", "-f -v"]),
        (b"#!\t/bin/sh\t-e\n", ["/bin/sh", "-e"]),
        (b"#!/bin/sh\r\n", ["/bin/sh\r"]),
        (b"#!", [""]),
    ],
)
def test_a_first_line_is_read_as_the_kernel_does(head: bytes, words: list[str]) -> None:
    assert shebang(head) == words


def refused(path: str, *patterns: str) -> bool:
    try:
        check_allowed(path, patterns)
    except StartError as error:
        return error.code == 126
    return False


def test_patterns_match_whole_paths(tmp_path: Path) -> None:
    tool = executable(tmp_path / "bin" / "tool")
    assert not refused(tool)
    assert not refused(tool, tool)
    assert not refused(tool, "/nothing", f"{tmp_path}/bin/t*")
    assert refused(tool, f"{tmp_path}/*")
    assert refused(tool, "tool")
    assert refused(tool, f"{tmp_path}/bin")
    assert refused(f"{tmp_path}/bin/../bin/../../x", f"{tmp_path}/bin/*")


def test_a_link_is_allowed_only_if_where_it_leads_is(tmp_path: Path) -> None:
    link = tmp_path / "links" / "tool"
    link.parent.mkdir()
    link.symlink_to(executable(tmp_path / "bin" / "tool"))
    assert refused(str(link), f"{tmp_path}/links/*")
    assert not refused(str(link), str(link))
    assert refused(f"{tmp_path}/bin/tool", str(link))


def test_a_pattern_through_a_linked_folder_allows_both_ways(tmp_path: Path) -> None:
    tool = executable(tmp_path / "usr" / "bin" / "tool")
    (tmp_path / "bin").symlink_to(tmp_path / "usr" / "bin")
    for pattern in (f"{tmp_path}/bin/tool", f"{tmp_path}/bin/*"):
        assert not refused(tool, pattern)
        assert not refused(f"{tmp_path}/bin/tool", pattern)


def test_wrappers_are_used_only_where_asked_for() -> None:
    assert limits.wrapper(Limits(), None) == []
    nobody = User("nobody", 65534, 65534, "/", frozenset((65534,)))
    words = limits.wrapper(Limits(cpu_time=1.2, open_files=64), nobody)
    assert [Path(word).name for word in words] == [
        "prlimit",
        "--cpu=2:3",
        "--nofile=64:64",
        "--",
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--init-groups",
        "--",
    ]


def test_open_files_never_asks_for_more_than_this_process_has() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert f"--nofile={min(hard, 1_048_576)}:" in " ".join(limits.wrapper(Limits(open_files=1_048_576), None))


@pytest.mark.parametrize(
    ("returncode", "cpu_s", "is_broken"),
    [
        (-signal.SIGXCPU, 2.0, True),
        (128 + signal.SIGXCPU, 2.0, True),
        (-signal.SIGKILL, 3.1, True),
        (-signal.SIGKILL, 0.5, False),
        (0, 9.0, False),
        (1, 9.0, False),
    ],
)
def test_a_broken_cpu_limit_is_told_from_other_ends(returncode: int, cpu_s: float, is_broken: bool) -> None:
    end = Exit(returncode, cpu_s, has_group=False)
    assert limits.is_cpu_time_broken(Limits(cpu_time=2), end) is is_broken
    assert limits.is_cpu_time_broken(Limits(), end) is False


def test_mode_bits_decide_for_another_user(tmp_path: Path) -> None:
    stranger = User("stranger", 54321, 54321, "/", frozenset((54321,)))
    open_tool, closed_tool = executable(tmp_path / "open"), executable(tmp_path / "closed", 0o700)
    group_tool = executable(tmp_path / "group", 0o750)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    assert stranger.may_execute(open_tool)
    assert not stranger.may_execute(closed_tool)
    member = User("member", 54321, 54321, "/", frozenset((54321, Path(group_tool).stat().st_gid)))
    assert member.may_execute(group_tool)
    tmp_path.chmod(0o700)
    assert not stranger.may_execute(open_tool)


def test_a_jobs_own_variables_override_the_defaults_but_not_relays() -> None:
    env = build_env({"PATH": "/opt", "TRACEPARENT": "00-a-b-01"}, home="/h", facts={"claim": "c", "parent_id": None})
    assert env == {
        "PATH": "/opt",
        "HOME": "/h",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TRACEPARENT": "00-a-b-01",
        "RELAY_CLAIM": "c",
    }


def test_an_error_that_exec_gave_is_explained(tmp_path: Path) -> None:
    lost = str(tmp_path / "lost")
    error = program.explain(OSError(2, "No such file or directory", lost), lost, "/")
    assert error.code == 127
