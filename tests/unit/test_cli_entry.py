"""The command line without an API: help, usage, exit codes, and how fast it answers."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from relay import errors
from relay.cli import entry, group
from relay.model.faults import refusal

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = {name: row for section in group.COMMANDS.values() for name, row in section.items()}


@pytest.fixture(autouse=True)
def no_relay_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No running `relay dev`, no settings; nothing listens on the address."""
    for name in ("RELAY_TOKEN", "RELAY_DB_DSN", "RELAY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("RELAY_API", "http://127.0.0.1:1")


def told(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = entry.run(argv)
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    return code, err


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_leads_to_every_command(name: str) -> None:
    module, _, attribute = COMMANDS[name].place.partition(":")
    command = getattr(importlib.import_module(f"relay.cli.{module}"), attribute)
    assert isinstance(command, click.Command)
    assert command.name == name
    assert (command.help or "").strip()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.run([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: relay {name}")


def test_help_imports_nothing_heavy() -> None:
    """`relay --help` must answer within 150 ms, so it may not import what takes longer."""
    heavy = "{'aiohttp', 'pydantic', 'rich', 'asyncpg', 'asyncio', 'structlog', 'yaml', 'aiokafka', 'redis', 'relay.config'}"
    script = (
        "import sys\nfrom relay.cli.entry import run\n"
        f"code = run(['--help'])\nsys.stderr.write(repr(sorted({heavy} & set(sys.modules))))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == "[]"


def test_without_arguments_help_is_told_as_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(capsys)
    assert code == 2
    assert err.startswith("Usage: relay")


@pytest.mark.parametrize(
    ("argv", "code", "line"),
    [
        (["lst"], 2, "relay: there is no command 'lst': did you mean 'list'? (see 'relay --help')\n"),
        (["list", "--limit", "0"], 2, None),
        (["list", "--bogus"], 2, None),
        (["wait", "1", "--timeout", "soon"], 2, None),
        (["submit", "/nowhere.json"], 2, "relay: /nowhere.json: No such file or directory\n"),
        (["show", "abc"], 3, "relay: there is no 'abc': ids are whole numbers (see 'relay list')\n"),
        (["token", "revoke", "x"], 3, "relay: there is no 'x': ids are whole numbers (see 'relay token list')\n"),
        (["worker", "drain", "x"], 3, "relay: there is no 'x': ids are whole numbers (see 'relay worker list')\n"),
        (["show", "--api", "localhost:4000", "1"], 78, None),
        (["show", "--token-file", "/nowhere", "1"], 78, None),
        (["migrate"], 78, None),
        (["migrate", "--db-dsn", "postgresql://u:planted@127.0.0.1:1/d"], 6, None),
    ],
)
def test_every_error_is_one_line_and_has_its_exit_code(
    argv: list[str], code: int, line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    found, err = told(capsys, *argv)
    assert found == code
    assert err.count("\n") == 1
    assert err.startswith("relay: ")
    assert "planted" not in err
    assert line in (None, err)


def test_an_api_that_is_not_there_is_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    code, err = told(capsys, "list")
    assert code == 6
    assert err == (
        "relay: can't reach the API at http://127.0.0.1:1 (connection refused): "
        "start one ('relay dev' or 'relay serve'), or name it with --api or RELAY_API\n"
    )


def test_yaml_that_json_can_not_hold_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "job.yaml"
    file.write_text("payload: {command: cat, stdin: !!binary aGk=}\n")
    code, err = told(capsys, "submit", str(file))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"relay: {file}: bad YAML at line 1, column 32: JSON has no !!binary")


def test_dry_run_checks_without_an_api(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text("payload: {command: 'true'}\n")
    assert entry.run(["submit", str(good), "--dry-run", "--set", "max_retries=7"]) == 0
    assert '"max_retries":7' in capsys.readouterr().out
    bad = tmp_path / "bad.ndjson"
    bad.write_text('{"payload": {"command": "true"}}\n{"payload": {"comand": "true"}, "max_retries": "3"}\n')
    code, err = told(capsys, "submit", str(bad), "--dry-run")
    assert code == 2
    assert "line 2: payload.comand" in err
    assert "line 2: max_retries" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound(), 3),
        (errors.Unauthorized(), 4),
        (errors.Forbidden(), 4),
        (errors.Conflict(), 5),
        (errors.Unreachable(), 6),
        (errors.Unavailable(), 6),
        (errors.BadConfig(), 78),
        (errors.InvalidSpec(), 2),
        (KeyboardInterrupt(), 130),
        (BaseExceptionGroup("tasks", [errors.Conflict()]), 5),
        (ZeroDivisionError("unforeseen"), 1),
    ],
)
def test_errors_become_the_contracts_exit_codes(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise error

    monkeypatch.setattr(entry, "_invoke", fail)
    assert told(capsys)[0] == code


def test_faults_are_named_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_: list[str]) -> int:
        raise errors.InvalidSpec(
            "2 faults: a: is wrong", faults=[errors.Fault("a", "is wrong"), errors.Fault("b", "too")]
        )

    monkeypatch.setattr(entry, "_invoke", fail)
    assert told(capsys) == (2, "relay: 2 faults: a: is wrong; b: too\n")


def test_a_detail_that_is_the_first_fault_is_not_told_beside_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: list[str]) -> int:
        raise refusal([errors.Fault("a", "is wrong"), errors.Fault("b", "too")])

    monkeypatch.setattr(entry, "_invoke", fail)
    assert told(capsys) == (2, "relay: a: is wrong; b: too\n")


def test_a_closed_pipe_is_quiet() -> None:
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {sys.executable} -m relay --help | head -c 0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode in {0, 141}  # 0: the help fitted into the pipe before it was closed
