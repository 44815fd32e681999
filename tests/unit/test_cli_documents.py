"""Specs out of files and stdin, and `--set`."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import click
import pytest

from relay.cli import documents
from relay.cli.assign import assign
from relay.cli.documents import Unreadable

if TYPE_CHECKING:
    from pathlib import Path

SPEC = {"payload": {"command": "true"}}


def written(tmp_path: Path, name: str, text: str) -> str:
    file = tmp_path / name
    file.write_text(text)
    return str(file)


def values(name: str) -> list[dict[str, Any]]:
    return [document.value for document in documents.read(name)]


def from_stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> list[documents.Document]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    return list(documents.read("-"))


def refusal(name: str) -> str:
    with pytest.raises(Unreadable) as caught:
        values(name)
    return caught.value.detail


def test_json_and_yaml_are_told_apart_by_the_ending(tmp_path: Path) -> None:
    assert values(written(tmp_path, "a.json", '{"payload": {"command": "true"}}')) == [SPEC]
    assert values(written(tmp_path, "a.yaml", "payload:\n  command: 'true'\n")) == [SPEC]
    assert values(written(tmp_path, "a.yml", "payload: {command: 'true'}")) == [SPEC]


def test_yaml_times_stay_text(tmp_path: Path) -> None:
    assert values(written(tmp_path, "a.yaml", "run_at: 2026-01-01T00:00:00Z")) == [{"run_at": "2026-01-01T00:00:00Z"}]


def test_a_list_and_a_yaml_stream_are_several_specs(tmp_path: Path) -> None:
    assert values(written(tmp_path, "a.json", '[{"name": "a"}, {"name": "b"}]')) == [{"name": "a"}, {"name": "b"}]
    assert values(written(tmp_path, "a.yaml", "name: a\n---\nname: b\n")) == [{"name": "a"}, {"name": "b"}]


def test_stdin_is_one_document_even_over_many_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert from_stdin(monkeypatch, b'{\n "payload": {\n"command": "true"}}\n') == [documents.Document(SPEC, "")]
    assert from_stdin(monkeypatch, b'{"payload": {"command": "true"}}') == [documents.Document(SPEC, "")]
    assert from_stdin(monkeypatch, b"payload:\n  command: 'true'\n") == [documents.Document(SPEC, "")]


def test_stdin_is_a_spec_a_line_where_the_first_line_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = from_stdin(monkeypatch, b'{"name": "a"}\n\n{"name": "b"}\n{"name": "c"}')
    assert [document.value["name"] for document in found] == ["a", "b", "c"]


def test_ndjson_names_the_line_of_a_fault(tmp_path: Path) -> None:
    name = written(tmp_path, "a.ndjson", '{"name": "a"}\n{"name": }\n')
    assert refusal(name) == f"{name}: bad JSON at line 2, column 10: Expecting value"
    name = written(tmp_path, "b.jsonl", '{"name": "a"}\n3\n')
    assert "line 2: a job spec must be an object" in refusal(name)


def test_bad_json_and_yaml_name_line_and_column(tmp_path: Path) -> None:
    assert "bad JSON at line 2, column 1" in refusal(written(tmp_path, "a.json", "{\n"))
    assert "bad YAML at line 2, column 4" in refusal(written(tmp_path, "a.yaml", "a: b\n  c: d\n"))
    assert "the key 'a' is there twice" in refusal(written(tmp_path, "b.json", '{"a": 1, "a": 2}'))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "name: a\n---\npayload: {stdin: !!binary aGk=}",
            "at line 3, column 18: JSON has no !!binary: write it as text",
        ),
        ("labels: !!set {a, b}", "at line 1, column 9: JSON has no !!set"),
        ("run_at: !!timestamp 2026-01-01", "at line 1, column 9: JSON has no !!timestamp"),
        ("&a {on_success: *a}", "at line 1, column 1: this value holds itself"),
        ("a: 1\non_success: &b [{on_failure: *b}]", "at line 2, column 13: this value holds itself"),
        ("&a [*a]", "at line 1, column 1: this value holds itself"),
        ("max_retries: .inf", "at line 1, column 14: JSON has no such number"),
        ("max_retries: !!int ''", "at line 1, column 14: this can't be read as !!int"),
        ("paused: !!bool perhaps", "at line 1, column 9: this can't be read as !!bool"),
    ],
)
def test_yaml_that_json_can_not_hold_is_named_by_its_place(text: str, why: str, tmp_path: Path) -> None:
    name = written(tmp_path, "a.yaml", text)
    assert refusal(name).startswith(f"{name}: bad YAML {why}")


def test_yaml_may_use_an_anchor_twice_and_nest_as_deep_as_a_chain(tmp_path: Path) -> None:
    twice = written(tmp_path, "a.yaml", "on_success: &b {payload: {command: x}}\non_failure: *b")
    assert values(twice) == [{"on_success": {"payload": {"command": "x"}}, "on_failure": {"payload": {"command": "x"}}}]
    deep = written(tmp_path, "b.yaml", "{on_success: [" * 32 + "{name: a}" + "]}" * 32)
    assert '"name": "a"' in json.dumps(values(deep))


def test_what_is_no_file_is_told_in_one_line(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)) == f"{tmp_path} is a directory: name a file in it"
    assert refusal("/nowhere.json") == "/nowhere.json: No such file or directory"
    assert "is not UTF-8 text (byte 2)" in refusal(str(_bytes(tmp_path, b'"\xff"')))
    assert "is empty" in refusal(written(tmp_path, "empty.json", "\n"))


def _bytes(tmp_path: Path, data: bytes) -> Path:
    file = tmp_path / "bytes.json"
    file.write_bytes(data)
    return file


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("max_retries", "2", {"max_retries": 2}),
        ("payload.timeout", "5m", {"payload": {"timeout": "5m"}}),
        ("payload.args", '["-v"]', {"payload": {"args": ["-v"]}}),
        ("payload.args[0]", "x", {"payload": {"args": ["x"]}}),
        ("labels.version", "1", {"labels": {"version": "1"}}),
        ("payload.env.N", "true", {"payload": {"env": {"N": "true"}}}),
        ("labels.a\\.b", "c", {"labels": {"a.b": "c"}}),
        ("on_success[0].payload.command", "x", {"on_success": [{"payload": {"command": "x"}}]}),
        ("name", "", {"name": ""}),
    ],
)
def test_set_changes_one_place(key: str, value: str, expected: dict[str, Any]) -> None:
    spec: dict[str, Any] = {}
    assign(spec, key, value)
    assert spec == expected


def test_set_keeps_what_lies_beside_it() -> None:
    spec: dict[str, Any] = {"payload": {"command": "a", "args": ["1", "2"]}, "on_success": {"name": "x"}}
    assign(spec, "payload.args[1]", '"3"')
    assign(spec, "on_success[0].name", "y")
    assert spec == {"payload": {"command": "a", "args": ["1", "3"]}, "on_success": {"name": "y"}}


@pytest.mark.parametrize("key", ["", "a..b", ".a", "a.", "a[b]", "payload.command.x", "payload[3].x", "a[99]"])
def test_set_refuses_a_place_that_does_not_fit(key: str) -> None:
    spec: dict[str, Any] = {"payload": {"command": "true"}}
    with pytest.raises(click.BadParameter):
        assign(spec, key, "1")
