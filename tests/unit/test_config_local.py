"""A running `relay dev`, as the configuration finds it: by a state file that only its owner can have written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from relay import config
from relay.config import local

if TYPE_CHECKING:
    from pathlib import Path

DSN = "postgresql://relay@db/relay"


def dev_state(pid: int) -> local.DevState:
    return local.DevState("http://127.0.0.1:5", "rly_1_x", DSN, "localhost:1", "localhost:2", pid)


def test_a_running_dev_is_found_and_a_dead_one_is_not(tmp_path: Path) -> None:
    """By its pid."""
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    path = local.state_path(environ)
    local.write(path, dev_state(os.getpid()))
    assert path == tmp_path / "relay" / "dev.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert local.running(environ) == dev_state(os.getpid())
    local.write(path, dev_state(2**22 + 1))  # above the kernel's highest pid
    assert local.running(environ) is None


def test_a_state_file_that_others_can_open_is_not_believed(tmp_path: Path) -> None:
    """Nor one that is damaged."""
    path = tmp_path / "dev.json"
    local.write(path, dev_state(os.getpid()))
    path.chmod(0o644)
    assert local.read(path) is None
    path.write_text("{")
    path.chmod(0o600)
    assert local.read(path) is None


def test_only_the_dev_that_wrote_the_state_file_removes_it(tmp_path: Path) -> None:
    """A second one has replaced it."""
    path = tmp_path / "dev.json"
    local.write(path, dev_state(7))
    local.remove(path, pid=8)
    assert path.exists()
    local.remove(path, pid=7)
    assert not path.exists()


def test_a_running_dev_stands_in_for_what_is_not_set() -> None:
    """But does not beat what is."""
    settings = config.load(
        {"RELAY_REDIS_ADDR": "own:1"}, role="doctor", dev={"RELAY_DB_DSN": DSN, "RELAY_REDIS_ADDR": "dev:2"}
    )
    assert (settings.db_dsn, settings.redis_url) == (DSN, "redis://own:1")
    assert settings.origins["RELAY_DB_DSN"] == "relay dev"
