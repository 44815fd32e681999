"""What `Accept` asks for."""

from __future__ import annotations

import pytest

from relay.api import accept

OFFERED = ("text/plain", "application/json", "text/event-stream")


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("application/json", "application/json"),
        ("application/json, text/plain", "application/json"),
        ("application/json;q=0.5, text/plain", "text/plain"),
        ("text/plain;q=0.1, Application/JSON ; Q=0.9", "application/json"),
        ("application/json;q=0, */*", "text/plain"),
        ("text/plain;q=0, */*;q=0.1", "application/json"),
        ("*/*, application/json;q=0.9", "text/plain"),
        ("text/*;q=0.2, application/*;q=0.4", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/plain"),
        ("application/json;q=much", "application/json"),
        ("*/*", "text/plain"),
        ("image/png", None),
        ("", None),
        ("*/*;q=0", None),
    ],
)
def test_the_form_with_the_highest_weight_is_chosen(header: str, form: str | None) -> None:
    assert accept.choose(header, OFFERED) == form


def test_a_weight_of_0_refuses_a_form_and_silence_does_not_name_it() -> None:
    assert accept.weights("text/event-stream;q=0, application/json", OFFERED) == {
        "application/json": 1.0,
        "text/event-stream": 0.0,
    }
