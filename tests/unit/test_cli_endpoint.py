"""Which API the command line talks to, and with which token."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from relay.client.resolve import DEFAULT_API, Endpoint, resolve
from relay.config import local
from relay.errors import BadConfig

if TYPE_CHECKING:
    from pathlib import Path

DEV = "http://127.0.0.1:4321"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A user without anything."""
    return {"XDG_STATE_HOME": str(tmp_path)}


@pytest.fixture
def dev(environ: dict[str, str]) -> dict[str, str]:
    """A user whose `relay dev` runs."""
    state = local.DevState(DEV, "rly_1_dev", "postgresql://h/d", "h:1", "h:2", os.getpid())
    local.write(local.state_path(environ), state)
    return environ


def test_the_default_is_this_machine(environ: dict[str, str]) -> None:
    assert resolve(environ) == Endpoint(DEFAULT_API, None)


def test_a_running_dev_is_found_with_its_token(dev: dict[str, str]) -> None:
    assert resolve(dev) == Endpoint(DEV, "rly_1_dev")
    assert resolve({**dev, "RELAY_API": f"{DEV}/"}) == Endpoint(DEV, "rly_1_dev")


def test_the_token_of_dev_goes_to_no_other_address(dev: dict[str, str]) -> None:
    assert resolve({**dev, "RELAY_API": "http://elsewhere:4000"}) == Endpoint("http://elsewhere:4000", None)
    assert resolve(dev, api="https://elsewhere") == Endpoint("https://elsewhere", None)


def test_what_is_given_wins(dev: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("rly_2_file\n")
    file.chmod(0o600)
    given = {**dev, "RELAY_API": "http://env", "RELAY_TOKEN": "rly_3_env"}
    assert resolve(given) == Endpoint("http://env", "rly_3_env")
    assert resolve(given, api="http://flag", token_file=str(file)) == Endpoint("http://flag", "rly_2_file")


def test_address_and_token_tell_where_they_came_from(dev: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("rly_2_file\n")
    file.chmod(0o600)

    def origins(api: str | None = None, token_file: str | None = None, **environ: str) -> tuple[str, str]:
        found = resolve({**dev, **environ}, api=api, token_file=token_file)
        return found.api_origin, found.token_origin

    assert origins() == ("relay dev", "relay dev")
    assert origins(RELAY_API="http://h", RELAY_TOKEN="rly_3") == ("environment", "environment")
    assert origins("http://h", str(file)) == ("flag", f"file {file}")
    assert origins("http://h", RELAY_TOKEN_FILE=str(file)) == ("flag", f"file {file}")
    assert origins(XDG_STATE_HOME=str(tmp_path / "none")) == ("default", "default")


@pytest.mark.parametrize(
    "api",
    ["localhost:4000", "ftp://h", "http://", "http://h:port", "http://u:p@h", "http://h/?token=x", "http://h:99999"],
)
def test_what_is_no_address_is_refused_without_repeating_it(environ: dict[str, str], api: str) -> None:
    with pytest.raises(BadConfig, match="--api must be an address") as caught:
        resolve(environ, api=api)
    assert api not in caught.value.detail.replace(DEFAULT_API, "")


def test_a_token_file_must_be_closed_to_others_and_hold_a_token(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "token"
    for text, mode, why in (
        ("rly_1_x", 0o644, "chmod 600"),
        ("", 0o600, "is empty"),
        ("rly_1_ü", 0o600, "does not hold a token"),
        ("two words", 0o600, "does not hold a token"),
    ):
        file.write_text(text)
        file.chmod(mode)
        with pytest.raises(BadConfig, match=why):
            resolve(environ, token_file=str(file))
    with pytest.raises(BadConfig, match="can't be read: No such file"):
        resolve(environ, token_file="/nowhere")
