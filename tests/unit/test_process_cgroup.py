"""Cgroups as files: what is written where, and how the kernel's answers are read. A folder stands in for cgroup v2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from relay.model.payload import Limits
from relay.process import cgroup

if TYPE_CHECKING:
    from pathlib import Path

    from relay.process.cgroup import Cgroup

KERNEL_FILES = ("memory.max", "memory.oom.group", "memory.swap.max", "pids.max", "cgroup.procs")


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose new folders get the kernel's files, as a cgroup's do."""
    real_mkdir = type(tmp_path).mkdir

    def mkdir(self: Path, mode: int = 0o777, *, parents: bool = False, exist_ok: bool = False) -> None:
        real_mkdir(self, mode, parents=parents, exist_ok=exist_ok)
        for name in KERNEL_FILES:
            (self / name).touch()

    monkeypatch.setattr(type(tmp_path), "mkdir", mkdir)
    for name in ("cgroup.procs", "cgroup.subtree_control"):
        (tmp_path / name).touch()
    return tmp_path


def made(base: Path, limits: Limits) -> Cgroup:
    group = cgroup.create("claim", limits, base=base)
    assert group is not None
    return group


def test_limits_are_written_and_oom_kills_the_whole_job(base: Path) -> None:
    group = made(base, Limits(memory=512 << 20, processes=20))
    written = {name: (group.folder / name).read_text() for name in KERNEL_FILES}
    assert written == {
        "memory.max": str(512 << 20),
        "memory.oom.group": "1",
        "memory.swap.max": "0",
        "pids.max": "20",
        "cgroup.procs": "",
    }


def test_without_limits_it_is_there_to_be_killed(base: Path) -> None:
    group = made(base, Limits(cpu_time=3, open_files=5))
    assert {name: (group.folder / name).read_text() for name in KERNEL_FILES} == dict.fromkeys(KERNEL_FILES, "")


def test_a_cgroup_that_cannot_be_made_is_no_cgroup(tmp_path: Path) -> None:
    assert cgroup.create("claim", Limits(memory=1 << 20), base=tmp_path) is None  # no kernel behind this folder
    assert not (tmp_path / "job-claim" / "memory.max").exists()


def test_the_broken_limit_is_named(base: Path) -> None:
    group = made(base, Limits(memory=1 << 20, processes=2))
    assert group.broken_limit() is None
    (group.folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 0\noom_kill 0\n")
    (group.folder / "pids.events").write_text("max 0\n")
    assert group.broken_limit() is None
    (group.folder / "pids.events").write_text("max 3\n")
    assert group.broken_limit() == "processes"
    (group.folder / "memory.events").write_text("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\n")
    assert group.broken_limit() == "memory"


def test_the_peak_is_read_where_the_kernel_has_it(base: Path) -> None:
    group = made(base, Limits(memory=1 << 20))
    assert group.peak_bytes() is None
    (group.folder / "memory.peak").write_text("123456\n")
    assert group.peak_bytes() == 123456


def test_this_services_processes_move_to_a_leaf_before_children_get_limits(base: Path) -> None:
    (base / "cgroup.procs").write_text("17\n")
    cgroup.prepare(base)
    assert (base / "relay-service" / "cgroup.procs").read_text() == "17"
    assert (base / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_an_undelegated_cgroup_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup, "_MOUNT", tmp_path)
    cgroup.delegated.cache_clear()
    assert cgroup.delegated() is None
    cgroup.delegated.cache_clear()
