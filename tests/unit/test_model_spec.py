"""A job spec, as it is written: what is read, what it becomes, and what is refused where."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from relay.errors import Fault, InvalidSpec
from relay.model.backoff import Backoff
from relay.model.spec import JobSpec, json_schema, parse_spec
from relay.model.states import Lane

SEED = {
    "type": "SHELL",
    "payload": {"command": "/usr/local/bin/process-data.sh", "args": ["--input", "/data/file.csv"], "timeout": "5m"},
    "on_success": {"type": "SHELL", "payload": {"command": "/usr/local/bin/notify.sh"}},
    "max_retries": 3,
    "backoff": "exponential",
}


def leaf(**keys: Any) -> dict[str, Any]:
    return {"payload": {"command": "/bin/true"}, **keys}


def faults_of(raw: object, *, path: str = "") -> dict[str, str]:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec(raw, path=path)
    return {fault.path: fault.message for fault in caught.value.faults}


def test_the_seed_example_is_read_as_it_stands() -> None:
    spec = parse_spec(SEED)
    assert spec.name == "process-data.sh"
    assert spec.payload.timeout == 300
    assert spec.backoff == Backoff()
    assert [child.name for child in spec.on_success] == ["notify.sh"]


def test_the_normalised_form_fills_every_default_and_omits_what_is_unset() -> None:
    expected = {
        "type": "SHELL",
        "name": "true",
        "queue": "default",
        "priority": "normal",
        "payload": {
            "command": "/bin/true",
            "args": [],
            "env": {},
            "timeout": "1h",
            "kill_grace": "10s",
            "success_codes": [0],
            "limits": {"output": "10M"},
        },
        "max_retries": 3,
        "backoff": {"strategy": "exponential", "initial": "1s", "factor": 2, "max": "1h", "jitter": True},
        "no_retry_codes": [],
        "on_worker_lost": "retry",
        "labels": {},
    }
    assert expected == json.loads(parse_spec(leaf()).normalised_json())


def test_a_single_child_and_a_list_of_one_are_the_same() -> None:
    assert (
        parse_spec(leaf(on_failure=leaf())).normalised_json() == parse_spec(leaf(on_failure=[leaf()])).normalised_json()
    )


def test_the_order_of_keys_makes_no_difference_to_the_fingerprint() -> None:
    one = parse_spec({"labels": {"a": "1", "b": "2"}, "payload": {"command": "x", "env": {"A": "1", "B": "2"}}})
    other = parse_spec({"payload": {"env": {"B": "2", "A": "1"}, "command": "x"}, "labels": {"b": "2", "a": "1"}})
    assert one.fingerprint() == other.fingerprint()


def test_writing_a_default_out_makes_no_difference_to_the_fingerprint() -> None:
    written = leaf(type="shell", priority="NORMAL", backoff="EXPONENTIAL", max_retries=3, name=None, on_success=[])
    assert parse_spec(leaf()).fingerprint() == parse_spec(written).fingerprint()


def test_another_command_has_another_fingerprint() -> None:
    assert parse_spec(leaf()).fingerprint() != parse_spec({"payload": {"command": "/bin/false"}}).fingerprint()


def test_the_idempotency_key_is_read_but_is_no_part_of_the_normalised_form() -> None:
    spec = parse_spec(leaf(idempotency_key="k"))
    assert spec.idempotency_key == "k"
    assert parse_spec(leaf()).normalised_json() == spec.normalised_json()


def test_times_are_turned_to_utc() -> None:
    spec = parse_spec(leaf(run_at="2030-01-31T14:00:00+02:00", expires_at="2001-01-01T00:00:00Z"))
    assert spec.run_at == datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert spec.normalised()["expires_at"] == "2001-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("/usr/bin/env", "env"),
        ("true", "true"),
        ("/opt/tool/", "tool"),
        ("/", "job"),
        ("/a/..", "job"),
        ("/bin/a\nb", "job"),
        ("/bin/" + "x" * 300, "x" * 200),
    ],
)
def test_a_job_is_named_after_its_command(command: str, name: str) -> None:
    spec = parse_spec({"payload": {"command": command}})
    assert name == spec.name
    assert spec == JobSpec.from_normalised(spec.normalised_json())


def test_a_priority_is_a_lane() -> None:
    assert parse_spec(leaf(priority="HIGH")).lane is Lane.HIGH


@pytest.mark.parametrize(
    ("keys", "path", "message"),
    [
        ({"type": "PYTHON"}, "type", "must be 'SHELL'"),
        ({"name": ""}, "name", "must not be empty"),
        ({"name": "a\x1b[2J"}, "name", "must not contain control characters"),
        ({"name": "x" * 201}, "name", "must have at most 200 characters"),
        ({"lock": "a/../b"}, "lock", "must not contain '../'"),
        ({"queue": "Big Queue"}, "queue", "must be 1 to 63 of a-z, 0-9, '-' and '_', and begin with a letter or digit"),
        ({"queue": "a\n"}, "queue", "must be 1 to 63 of a-z, 0-9, '-' and '_', and begin with a letter or digit"),
        ({"queue": "a" * 64}, "queue", "must be 1 to 63 of a-z, 0-9, '-' and '_', and begin with a letter or digit"),
        ({"priority": "urgent"}, "priority", "must be 'high', 'normal' or 'low'"),
        ({"max_retries": "3"}, "max_retries", "must be a whole number"),
        ({"max_retries": True}, "max_retries", "must be a whole number"),
        ({"max_retries": 3.0}, "max_retries", "must be a whole number"),
        ({"max_retries": None}, "max_retries", "must be a whole number"),
        ({"max_retries": -1}, "max_retries", "must be at least 0"),
        ({"max_retries": 1001}, "max_retries", "must be at most 1,000"),
        ({"max_retries": 10**4000}, "max_retries", "must be at most 1,000"),
        ({"backoff": "fast"}, "backoff", "must be 'exponential', 'linear' or 'constant', or an object with 'strategy'"),
        ({"backoff": {"factor": 0.5}}, "backoff.factor", "must be at least 1"),
        ({"backoff": {"factor": float("nan")}}, "backoff.factor", "must be a number"),
        ({"backoff": {"jitter": 1}}, "backoff.jitter", "must be true or false"),
        ({"backoff": {"initail": "1s"}}, "backoff.initail", "is not a known key: did you mean 'initial'?"),
        ({"no_retry_codes": 3}, "no_retry_codes", "must be a list"),
        ({"on_worker_lost": "ignore"}, "on_worker_lost", "must be 'retry' or 'fail'"),
        ({"run_at": "2030-01-31T12:00:00"}, "run_at", "needs a zone: end it with Z, or an offset such as +02:00"),
        ({"expires_at": "9999-12-31T23:59:59Z"}, "expires_at", "must lie between the years 1970 and 2200"),
        ({"delay": 10**400}, "delay", "must be at most 100 years"),
        ({"labels": {"a": 1}}, "labels.a", "must be a string"),
        ({"labels": {"a\n": ""}}, 'labels["a\\n"]', "must not contain control characters"),
        ({"labels": {"a:b": ""}}, 'labels["a:b"]', "must not have ':' or '=' in its name, since filters split there"),
        ({"labels": {"a": "\0"}}, "labels.a", "must not contain a NUL character"),
        ({"labels": {"a": "x" * 1001}}, "labels.a", "must have at most 1,000 characters"),
        ({"labels": {str(n): "" for n in range(33)}}, "labels", "must have at most 32 entries"),
        ({"on_success": "x"}, "on_success", "must be a spec or a list of specs"),
        ({"on_success": [leaf(), 3]}, "on_success[1]", "must be an object"),
        ({"on_success": [3] * 1001}, "on_success", "must have at most 1,000 entries"),
        ({"idempotency_key": "x" * 201}, "idempotency_key", "must have at most 200 characters"),
        ({"retries": 3}, "retries", "is not a known key: did you mean 'max_retries'?"),
        ({"Priority": "high"}, "Priority", "is not a known key: did you mean 'priority'?"),
        ({"timeout": 3}, "timeout", "is not a known key here: it belongs in 'payload'"),
        ({"zzz": 3}, "zzz", "is not a known key"),
    ],
)
def test_a_bad_value_is_refused_at_its_path(keys: dict[str, Any], path: str, message: str) -> None:
    assert {path: message} == faults_of(leaf(**keys))


def test_a_key_in_the_wrong_object_is_told_where_it_belongs() -> None:
    raw = {"payload": {"command": "x", "max_retries": 3}}
    assert faults_of(raw) == {"payload.max_retries": "is not a known key here: it belongs beside 'payload'"}


def test_all_faults_come_at_once_and_sorted() -> None:
    raw = {
        "payload": {"comand": "x", "timeout": "soon", "limits": {"processes": "8"}},
        "max_retries": "3",
        "run_at": "2030-01-31T12:00:00",
        "delay": "1s",
        "on_success": {"payload": {"command": "x", "tiemout": 3}, "idempotency_key": "k"},
        "on_failure": [leaf(), {"payload": {"timeout": 1}}],
    }
    found = faults_of(raw)
    assert sorted(found) == list(found)
    assert list(found) == [
        "delay",
        "max_retries",
        "on_failure[1].payload.command",
        "on_success.idempotency_key",
        "on_success.payload.tiemout",
        "payload.comand",
        "payload.command",
        "payload.limits.processes",
        "payload.timeout",
        "run_at",
    ]


@pytest.mark.parametrize("raw", [None, [], "x", 3, True])
def test_what_is_not_an_object_is_refused(raw: object) -> None:
    assert faults_of(raw) == {"": "must be an object"}


def test_a_missing_payload_is_named() -> None:
    assert faults_of({}) == {"payload": "is required"}


def test_paths_begin_with_the_place_in_a_batch() -> None:
    assert list(faults_of({"payload": {}, "on_success": {}}, path="[3]")) == [
        "[3].on_success.payload",
        "[3].payload.command",
    ]


def test_a_hundred_thousand_faults_are_counted_not_listed() -> None:
    raw = leaf(**{f"k{n}": 1 for n in range(100_000)})
    assert faults_of(raw) == {"": "has 100,000 faults, too many to list"}


def test_a_chain_of_a_hundred_thousand_levels_is_one_fault() -> None:
    raw = leaf()
    for _ in range(100_000):
        raw = leaf(on_success=raw)
    assert list(faults_of(raw).values()) == ["nests deeper than 32 levels"]


def test_a_deep_value_in_the_wrong_place_is_no_recursion_error() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert list(faults_of(leaf(name=deep, labels={"a": deep}, extra=deep))) == ["extra", "labels.a", "name"]


def test_errors_do_not_repeat_the_input() -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_spec({"payload": {"command": "x", "env": {"KEY": ["hunter2"]}, "stdin": ["hunter2"]}})
    assert "hunter2" not in repr((caught.value, caught.value.detail, caught.value.faults))


def test_a_stored_spec_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        JobSpec.from_normalised('{"payload": {"command": 3}}')
    assert caught.value.faults == (Fault("payload.command", "must be a string"),)


def test_a_stored_spec_that_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidSpec):
        JobSpec.from_normalised("{")


def test_the_schema_accepts_both_forms_of_children_and_backoff() -> None:
    schema = json_schema(ref_template="#/components/schemas/{model}")
    properties = schema["$defs"]["JobSpec"]["properties"]
    reference = {"$ref": "#/components/schemas/JobSpec"}
    assert properties["on_success"]["anyOf"] == [reference, {"type": "array", "items": reference}]
    assert properties["backoff"]["anyOf"][0] == {"enum": ["exponential", "linear", "constant"]}
    assert schema["$defs"]["JobSpec"]["required"] == ["payload"]
    assert set(JobSpec.model_fields) == set(properties)
