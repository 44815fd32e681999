"""What `relay doctor` lists, without the servers that it would ask."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from relay import config
from relay.cli import doctor, entry

if TYPE_CHECKING:
    from pathlib import Path

DSN = "postgresql://u:planted@127.0.0.1:1/d"


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No running `relay dev`, no settings, nothing asked."""

    async def nothing(_: config.Settings) -> list[doctor.Finding]:
        return []

    for name in ("RELAY_API", "RELAY_TOKEN", "RELAY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(doctor, "_check_all", nothing)


def listed(capsys: pytest.CaptureFixture[str], *before: str) -> dict[str, list[str]]:
    """Value and origin of each setting that is listed."""
    assert entry.run([*before, "doctor", "--db-dsn", DSN]) == 0
    out = capsys.readouterr().out
    assert "planted" not in out
    lines = itertools.takewhile(bool, out.splitlines()[1:])
    return {name: rest for name, *rest in map(str.split, lines)}


def test_every_documented_setting_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    found = listed(capsys)
    assert list(found) == [variable.name for variable in config.VARIABLES if variable.is_documented]
    assert found["RELAY_API"] == ["http://127.0.0.1:4000", "default"]
    assert found["RELAY_TOKEN"] == ["-", "default"]


def test_the_clis_address_and_token_have_their_origin_and_the_token_is_masked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_API", "https://relay.example/")
    monkeypatch.setenv("RELAY_TOKEN", "rly_1_planted")
    found = listed(capsys)
    assert found["RELAY_API"] == ["https://relay.example", "environment"]
    assert found["RELAY_TOKEN"] == ["***", "environment"]
    assert listed(capsys, "--api", "http://other:1")["RELAY_API"] == ["http://other:1", "flag"]


def test_an_address_that_is_none_is_bad_configuration(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAY_API", "relay.example:4000")
    assert entry.run(["doctor", "--db-dsn", DSN]) == 78
    assert capsys.readouterr().err.startswith("relay: RELAY_API must be an address like")
