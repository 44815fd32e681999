from __future__ import annotations

from typing import Any

import pytest

from relay.errors import Fault, InvalidSpec
from relay.model import nesting


def leaf(**keys: object) -> dict[str, Any]:
    return {"payload": {"command": "x"}, **keys}


def nested(depth: int, *, in_list: bool = False) -> dict[str, Any]:
    spec = leaf()
    for _ in range(depth):
        spec = leaf(on_success=[spec] if in_list else spec)
    return spec


@pytest.mark.parametrize("in_list", [True, False])
def test_a_chain_may_nest_to_depth_32(in_list: bool) -> None:
    assert nesting.check(nested(32, in_list=in_list)) == []


@pytest.mark.parametrize("depth", [33, 100_000])
def test_a_deeper_chain_is_refused_with_one_fault(depth: int) -> None:
    with pytest.raises(InvalidSpec) as caught:
        nesting.check(nested(depth))
    assert caught.value.faults == (Fault(".".join(["on_success"] * 33), "nests deeper than 32 levels"),)


def test_a_chain_may_have_a_thousand_jobs_in_all() -> None:
    assert nesting.check(leaf(on_failure=[leaf() for _ in range(999)])) == []


def test_a_wider_chain_is_refused() -> None:
    wide = leaf(on_success=[leaf(on_failure=[leaf() for _ in range(100)]) for _ in range(10)])
    with pytest.raises(InvalidSpec, match="more than 1,000 jobs"):
        nesting.check(wide)


def test_a_spec_that_contains_itself_is_refused() -> None:
    ouroboros = leaf()
    ouroboros["on_success"] = [ouroboros, ouroboros]
    with pytest.raises(InvalidSpec, match=r"more than 1,000 jobs|deeper"):
        nesting.check(ouroboros)


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (
            {"payload": {"command": "x", "script": "y"}},
            Fault("payload.script", "excludes 'command': give one of the two"),
        ),
        ({"payload": {}}, Fault("payload.command", "is required (or 'script' in its place)")),
        ({"payload": {"command": None}}, Fault("payload.command", "is required (or 'script' in its place)")),
        (leaf(run_at="x", delay=3), Fault("delay", "excludes 'run_at': give one of the two")),
        (
            leaf(on_success=[leaf(), leaf(idempotency_key="k")]),
            Fault("on_success[1].idempotency_key", "is not allowed in a chain's child: it is created just once anyway"),
        ),
        (
            leaf(on_failure={"payload": {"script": "", "command": ""}}),
            Fault("on_failure.payload.script", "excludes 'command': give one of the two"),
        ),
        (
            {"payload": {"command": "x", "stdin": {"from": "parent.stdout"}}},
            Fault("payload.stdin", "must be a string here: only a chain's child has a parent"),
        ),
    ],
)
def test_keys_that_exclude_each_other_are_refused(spec: dict[str, Any], fault: Fault) -> None:
    assert [fault] == nesting.check(spec)


def test_a_stdin_that_is_no_reference_is_left_to_the_payload() -> None:
    assert nesting.check({"payload": {"command": "x", "stdin": {"form": "parent.stdout"}}}) == []


def test_a_child_may_read_its_parents_output() -> None:
    child = {"payload": {"command": "x", "stdin": {"from": "parent.stdout"}}}
    assert nesting.check(leaf(on_success=child)) == []


@pytest.mark.parametrize("value", [None, 3, "x", [], [3], [[leaf(idempotency_key="k")]]])
def test_what_is_no_spec_is_left_to_the_check_of_values(value: object) -> None:
    assert nesting.check(leaf(on_success=value, payload=value)) == []


def test_paths_begin_with_the_place_in_a_batch() -> None:
    assert [fault.path for fault in nesting.check({"payload": {}}, "[3]")] == ["[3].payload.command"]
