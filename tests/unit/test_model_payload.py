from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from relay.errors import InvalidSpec
from relay.model.spec import parse_spec

if TYPE_CHECKING:
    from relay.model.payload import Payload

BIG = "x" * 2**17


def parsed(**keys: Any) -> Payload:
    return parse_spec({"payload": {"command": "/bin/true", **keys}}).payload


def test_the_defaults_are_the_documented_ones() -> None:
    payload = parsed()
    assert payload.timeout == 3600
    assert payload.kill_grace == 10
    assert payload.success_codes == (0,)
    assert payload.limits.output == 10 * 2**20
    assert payload.normalised() == {
        "command": "/bin/true",
        "args": (),
        "env": {},
        "timeout": "1h",
        "kill_grace": "10s",
        "success_codes": (0,),
        "limits": {"output": "10M"},
    }


def test_a_timeout_of_0_means_none_and_stays_0() -> None:
    assert parsed(timeout=0).normalised()["timeout"] == "0s"


def test_limits_are_kept_in_bytes_and_seconds() -> None:
    limits = parsed(
        limits={"memory": "512M", "processes": 8, "cpu_time": "1m", "open_files": 64, "output": "1G"}
    ).limits
    assert (
        limits.memory,
        limits.processes,
        limits.cpu_time,
        limits.open_files,
        limits.output,
    ) == (512 * 2**20, 8, 60.0, 64, 2**30)
    assert limits.normalised() == {
        "output": "1G",
        "memory": "512M",
        "processes": 8,
        "cpu_time": "1m",
        "open_files": 64,
    }


def test_a_script_stands_in_for_a_command() -> None:
    spec = parse_spec({"payload": {"script": "echo hello"}})
    assert spec.payload.command is None
    assert spec.payload.script == "echo hello"
    assert spec.name == "script"


def test_secrets_stay_out_of_repr() -> None:
    payload = parsed(env={"KEY": "hunter2"}, stdin="hunter2", args=["hunter2"])
    assert "hunter2" not in repr(payload)


@pytest.mark.parametrize(
    ("keys", "path", "problem"),
    [
        ({"command": ""}, "payload.command", "must not be empty"),
        ({"command": " "}, "payload.command", "must not be empty"),
        ({"command": "a\0"}, "payload.command", "must not contain a NUL character"),
        ({"command": BIG}, "payload.command", "is 128 KiB or more"),
        ({"command": "\ud800"}, "payload.command", "has a character that is not valid Unicode"),
        ({"args": "x"}, "payload.args", "must be a list"),
        ({"args": [1]}, "payload.args[0]", "must be a string"),
        ({"args": ["", "a\0"]}, "payload.args[1]", "must not contain a NUL character"),
        ({"args": [BIG]}, "payload.args[0]", "is 128 KiB or more"),
        ({"args": [""] * 65_537}, "payload.args", "must have at most 65,536 entries"),
        ({"env": []}, "payload.env", "must be an object"),
        ({"env": {"A": 1}}, "payload.env.A", "must be a string"),
        ({"env": {"A": "\0"}}, "payload.env.A", "must not contain a NUL character"),
        ({"env": {"A\0": ""}}, 'payload.env["A\\u0000"]', "must not contain a NUL character"),
        ({"env": {"A=B": ""}}, 'payload.env["A=B"]', "must not have '=' in its name"),
        ({"env": {"": ""}}, 'payload.env[""]', "is an empty name"),
        ({"env": {"RELAY_TOKEN": ""}}, "payload.env.RELAY_TOKEN", "is reserved"),
        ({"env": {"A": BIG[:-1]}}, "payload.env", "has a variable of 128 KiB or more"),
        ({"env": {3: ""}}, "payload.env", "has a key that is not a string"),
        ({"cwd": "work"}, "payload.cwd", "must be an absolute path"),
        ({"cwd": "/a\0"}, "payload.cwd", "must not contain a NUL character"),
        ({"cwd": "/" + "a" * 4095}, "payload.cwd", "is longer than any path"),
        ({"stdin": 3}, "payload.stdin", "must be a string, or"),
        ({"stdin": "a\0"}, "payload.stdin", "must not contain a NUL character"),
        ({"timeout": "5M"}, "payload.timeout", "must be a duration"),
        ({"timeout": True}, "payload.timeout", "must be a duration"),
        ({"kill_grace": -1}, "payload.kill_grace", "must not be negative"),
        ({"success_codes": []}, "payload.success_codes", "must have at least 1 entry"),
        ({"success_codes": [256]}, "payload.success_codes[0]", "must be at most 255"),
        ({"success_codes": [True]}, "payload.success_codes[0]", "must be a whole number"),
        ({"success_codes": [0.0]}, "payload.success_codes[0]", "must be a whole number"),
        ({"success_codes": ["0"]}, "payload.success_codes[0]", "must be a whole number"),
        ({"limits": {"output": "1025M"}}, "payload.limits.output", "must be at most 1G"),
        ({"limits": {"memory": 0}}, "payload.limits.memory", "must be more than 0"),
        ({"limits": {"cpu_time": 0}}, "payload.limits.cpu_time", "must be more than 0"),
        ({"limits": {"processes": 0}}, "payload.limits.processes", "must be at least 1"),
        ({"limits": {"open_files": 2}}, "payload.limits.open_files", "must be at least 3"),
        ({"limits": {"mem": "1G"}}, "payload.limits.mem", "is not a known key: did you mean 'memory'?"),
        ({"limits": None}, "payload.limits", "must be an object"),
    ],
)
def test_a_bad_value_is_refused_at_its_path(keys: dict[str, Any], path: str, problem: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parsed(**keys)
    (fault,) = caught.value.faults
    assert path == fault.path
    assert fault.message.startswith(problem)


def test_a_bad_stdin_of_a_child_is_refused() -> None:
    child = {"payload": {"command": "x", "stdin": {"from": "parent.stderr"}}}
    with pytest.raises(InvalidSpec, match=r"on_success\.payload\.stdin must be a string, or"):
        parse_spec({"payload": {"command": "x"}, "on_success": child})


def test_a_child_knows_that_it_reads_its_parents_output() -> None:
    child = {"payload": {"command": "x", "stdin": {"from": "parent.stdout"}}}
    spec = parse_spec({"payload": {"command": "x"}, "on_success": child})
    assert spec.on_success[0].payload.reads_parent_stdout
    assert not spec.payload.reads_parent_stdout
    assert spec.on_success[0].payload.normalised()["stdin"] == {"from": "parent.stdout"}
