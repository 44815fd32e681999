"""The systemd units: what is put into them, and that systemd itself takes them as they are."""

from __future__ import annotations

import configparser
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from relay import systemd
from relay.cli import entry
from relay.errors import BadConfig
from relay.systemd import units

RELAY = ("/opt/relay/bin/relay",)
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed here")


def place(
    *, relay: tuple[str, ...] = RELAY, drain_s: float = 60.0, env_file: str = "/etc/relay/relay.env"
) -> units.Place:
    return units.Place("relay", Path(env_file), relay, drain_s)


def lines(role: str, at: units.Place) -> list[str]:
    return systemd.unit(role, at).text.splitlines()


def verify(folder: Path, unit: systemd.Unit) -> str:
    """What `systemd-analyze verify` complains of."""
    file = folder / unit.name
    file.write_text(unit.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(file)], capture_output=True, text=True, check=False
    )
    return done.stderr + f"exit {done.returncode}" * bool(done.returncode)


@needs_systemd
@pytest.mark.parametrize("role", ["serve", "work"])
def test_systemd_finds_nothing_wrong(role: str, tmp_path: Path) -> None:
    here = units.Place.here(user="relay", env_file=tmp_path / "relay.env", environ={})
    assert verify(tmp_path, systemd.unit(role, here)) == ""


@needs_systemd
def test_systemd_reads_a_path_with_every_kind_of_sign_in_it(tmp_path: Path) -> None:
    relay = tmp_path / "100% of $HOME; é" / "relay"
    relay.parent.mkdir()
    shutil.copy("/bin/true", relay)
    at = place(relay=(str(relay),), env_file=str(tmp_path / "50% off.env"))
    assert verify(tmp_path, systemd.unit("work", at)) == ""


def test_a_path_that_systemd_refuses_is_refused_before() -> None:
    with pytest.raises(BadConfig, match="no program with a quote or a backslash"):
        systemd.unit("work", place(relay=('/opt/a "b"/relay',)))


@needs_systemd
def test_the_servers_exposure_is_small(tmp_path: Path) -> None:
    unit = systemd.unit("serve", place())
    (tmp_path / unit.name).write_text(unit.text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=20", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= 2.0


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify",
        "NotifyAccess=all",
        "User=relay",
        "ExecStart=/opt/relay/bin/relay work",
        "EnvironmentFile=-/etc/relay/relay.env",
        "EnvironmentFile=-/etc/relay/work-%i.env",
        "Restart=on-failure",
        "RestartPreventExitStatus=78",
        "TimeoutStopSec=100",
        "WatchdogSignal=SIGKILL",
        "KillMode=mixed",
        "Delegate=yes",
        "OOMPolicy=continue",
    ],
)
def test_a_workers_unit_has_what_relay_relies_on(line: str) -> None:
    assert line in lines("work", place())


@pytest.mark.parametrize("line", ["Type=notify", "Restart=always", "RestartPreventExitStatus=78", "ProtectHome=yes"])
def test_a_servers_unit_has_what_relay_relies_on(line: str) -> None:
    assert line in lines("serve", place())


def test_nothing_that_takes_jobs_their_privileges_is_in_a_workers_unit() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(systemd.unit("work", place()).text)
    implied = (
        r"nonewprivileges|systemcall.*|restrict(?!preventexitstatus).*|protect.*|private.*|lockpersonality|memorydeny.*"
    )
    assert [key for key in parser["Service"] if re.fullmatch(implied, key)] == []


def test_every_line_of_a_workers_hardening_is_explained() -> None:
    found = lines("work", place())
    for number, line in enumerate(found):
        if line.startswith(
            ("CapabilityBoundingSet", "KeyringMode", "Delegate", "OOMPolicy", "TasksMax", "LimitNOFILE")
        ):
            assert found[number - 1].startswith("# "), line


def test_a_relay_below_a_home_can_be_read_by_the_server() -> None:
    assert "ProtectHome=read-only" in lines("serve", place(relay=("/home/me/venv/bin/relay",)))


@pytest.mark.parametrize(
    ("content", "environ", "expected"),
    [
        (None, {}, 60.0),
        (None, {"RELAY_DRAIN_TIMEOUT": "5s"}, 5.0),
        ("RELAY_DRAIN_TIMEOUT=2m\n", {"RELAY_DRAIN_TIMEOUT": "5s"}, 120.0),
        ("RELAY_DRAIN_TIMEOUT=2m\n RELAY_DRAIN_TIMEOUT = '90s' \n", {}, 90.0),
        ('RELAY_ENV=production\nRELAY_DRAIN_TIMEOUT="1h30m"\n', {}, 5400.0),
        ("# RELAY_DRAIN_TIMEOUT=2m\n", {}, 60.0),
        ("RELAY_DRAIN_TIMEOUT=\n", {}, 60.0),
    ],
)
def test_the_drain_is_read_where_the_services_read_it(
    content: str | None, environ: dict[str, str], expected: float, tmp_path: Path
) -> None:
    file = tmp_path / "relay.env"
    if content is not None:
        file.write_text(content)
    assert units.Place.here(user="relay", env_file=file, environ=environ).drain_s == expected


def test_the_stop_timeout_follows_the_drain() -> None:
    assert "TimeoutStopSec=1841" in lines("work", place(drain_s=1800.5))


@pytest.mark.parametrize(
    ("user", "env_file", "environ", "message"),
    [
        ("re lay", "/etc/e", {}, "--user 're lay' can't be a user's name"),
        ("relay\nUser=root", "/etc/e", {}, "can't be a user's name"),
        ("relay", "etc/e", {}, "must be an absolute path"),
        ("relay", "/etc/e\nUser=root", {}, "must be an absolute path"),
        ("relay", "/nowhere/e", {"RELAY_DRAIN_TIMEOUT": "soon"}, "RELAY_DRAIN_TIMEOUT is 'soon', but must be"),
    ],
)
def test_what_can_not_be_is_refused(user: str, env_file: str, environ: dict[str, str], message: str) -> None:
    with pytest.raises(BadConfig, match=re.escape(message)):
        units.Place.here(user=user, env_file=Path(env_file), environ=environ)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of systemd's, and nobody's environment."""
    monkeypatch.setattr(systemd, "FOLDER", tmp_path)
    monkeypatch.delenv("RELAY_DRAIN_TIMEOUT", raising=False)
    return tmp_path


def test_install_writes_the_units_and_tells_what_is_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (folder / "relay-serve.service").write_text("an older one")
    assert entry.run(["systemd", "install", "--user", "nobody-here", "--env-file", f"{folder}/r.env"]) == 0
    out, err = capsys.readouterr()
    assert out.split() == [f"{folder}/relay-serve.service", f"{folder}/relay-work@.service"]
    assert {path.name for path in folder.iterdir()} == {"relay-serve.service", "relay-work@.service"}
    assert "User=nobody-here" in (folder / "relay-serve.service").read_text()
    assert (folder / "relay-serve.service").stat().st_mode & 0o777 == 0o644
    assert [line.split()[0] for line in err.splitlines() if not line.startswith("warning")] == [
        "next:",
        "useradd",
        "install",
        "systemctl",
        "systemctl",
        "systemctl",
    ]
    assert "systemctl daemon-reload\nsystemctl enable --now relay-serve\nsystemctl enable --now relay-work@1" in err


def test_install_tells_only_what_is_left_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    user = pwd.getpwuid(os.getuid()).pw_name
    (folder / "r.env").touch()
    assert entry.run(["systemd", "install", "serve", "--user", user, "--env-file", f"{folder}/r.env"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning")]
    assert told == ["next:", "systemctl daemon-reload", "systemctl enable --now relay-serve"]


def test_install_needs_root_unless_it_only_shows(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert entry.run(["systemd", "install"]) == 4
    complaint = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning")]
    assert complaint == [f"relay: writing to {folder} needs root: use sudo, or see what it would write with --dry-run"]
    assert entry.run(["systemd", "install", "work", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith(f"# {folder}/relay-work@.service\n")
    assert list(folder.iterdir()) == []


def test_install_says_when_systemd_is_not_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(systemd, "FOLDER", folder / "none")
    assert entry.run(["systemd", "install"]) == 78
    assert "systemd does not run here" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shells_completion_script_asks_relay(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run(["completion", shell]) == 0
    assert f"_RELAY_COMPLETE={shell}_complete" in capsys.readouterr().out
