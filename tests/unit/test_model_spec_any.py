"""Properties of every spec, and of every input that is none: found by Hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from relay.errors import InvalidSpec
from relay.model.spec import JobSpec, parse_spec

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


NAMES = st.text("abc/ é.", min_size=1, max_size=8).filter(lambda text: text.strip() and ".." not in text)


CODES = st.lists(st.integers(0, 255), min_size=1, max_size=3)


DURATIONS = st.sampled_from(["0", "300ms", "90s", "1h30m", 5, 0.25])


PAYLOADS = st.fixed_dictionaries(
    {"command": TEXT.filter(str.strip)},
    optional={
        "args": st.lists(TEXT, max_size=3),
        "env": st.dictionaries(st.text("ABC", min_size=1), TEXT, max_size=3),
        "cwd": st.just("/tmp"),
        "stdin": TEXT,
        "timeout": DURATIONS,
        "kill_grace": DURATIONS,
        "success_codes": CODES,
        "limits": st.fixed_dictionaries({}, optional={"memory": st.just("64M"), "output": st.integers(0, 2**30)}),
    },
)


OPTIONS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["SHELL", "shell", "Shell"]),
    "name": NAMES,
    "queue": st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True),
    "priority": st.sampled_from(["high", "NORMAL", "Low"]),
    "max_retries": st.integers(0, 1000),
    "backoff": st.sampled_from(["linear", {"strategy": "constant", "initial": "5s", "factor": 1.5, "jitter": False}]),
    "no_retry_codes": CODES,
    "on_worker_lost": st.sampled_from(["retry", "FAIL"]),
    "delay": DURATIONS,
    "expires_at": st.just("2030-01-31T14:00:00.5+02:00"),
    "labels": st.dictionaries(NAMES, TEXT, max_size=3),
    "lock": NAMES,
}


SPECS = st.recursive(
    st.fixed_dictionaries({"payload": PAYLOADS}, optional=OPTIONS),
    lambda inner: st.fixed_dictionaries(
        {"payload": PAYLOADS}, optional={"on_success": st.lists(inner, max_size=2), "on_failure": inner}
    ),
    max_leaves=4,
)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(sorted(JobSpec.model_fields)) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


def judged(raw: object) -> bytes:
    """The normalised spec, or the faults, as the API would send them."""
    try:
        return parse_spec(raw).normalised_json().encode()
    except InvalidSpec as error:
        return "".join(f"{fault.path} {fault.message}\n" for fault in error.faults).encode()


@given(SPECS)
def test_the_normalised_form_reads_back_and_is_its_own_normalised_form(raw: dict[str, Any]) -> None:
    spec = parse_spec(raw)
    text = spec.normalised_json()
    assert spec == JobSpec.from_normalised(text)
    assert text == JobSpec.from_normalised(text).normalised_json()
    assert text == parse_spec(json.loads(text)).normalised_json()


@given(SPECS)
def test_the_order_in_which_jsonb_keeps_keys_makes_no_difference(raw: dict[str, Any]) -> None:
    spec = parse_spec(raw)
    assert spec == JobSpec.from_normalised(json.dumps(json.loads(spec.normalised_json()), sort_keys=True))


@given(JUNK | st.dictionaries(st.sampled_from(sorted(JobSpec.model_fields)), JUNK))
def test_any_input_is_a_spec_or_named_faults(raw: object) -> None:
    assert judged(raw)
