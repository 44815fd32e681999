from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.part import MAX_ARGUMENT_BYTES, check_argument, check_name, check_text


@pytest.mark.parametrize("name", ["report", "naïve 3", "a..b", "...", "a/b", "app.kubernetes.io/name"])
def test_ordinary_names_pass(name: str) -> None:
    assert name == check_name(name)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "must not be empty"),
        (" ", "must not be empty"),
        ("a\nb", "control characters"),
        ("a\x1b[31m", "control characters"),
        ("a\x7f", "control characters"),
        ("a\x9b1m", "control characters"),
        ("a\u2028b", "control characters"),
        ("a\0", "control characters"),
        ("../a", "'../'"),
        ("a/../b", "'../'"),
        ("..", "'../'"),
        ("a\ud800", "not valid Unicode"),
    ],
)
def test_names_that_break_lines_or_leave_folders_are_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        check_name(name)


@pytest.mark.parametrize("text", ["x" * MAX_ARGUMENT_BYTES, "é" * (MAX_ARGUMENT_BYTES // 2)])
def test_an_argument_may_be_just_below_128_kib(text: str) -> None:
    assert text == check_argument(text)


@pytest.mark.parametrize("text", ["x" * (MAX_ARGUMENT_BYTES + 1), "é" * (MAX_ARGUMENT_BYTES // 2 + 1)])
def test_an_argument_of_128_kib_is_refused_counted_in_bytes(text: str) -> None:
    with pytest.raises(ValueError, match="128 KiB"):
        check_argument(text)


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_whatever_passes_can_be_stored_as_utf_8_without_nul(text: str) -> None:
    for check in (check_text, check_argument):
        try:
            check(text)
        except ValueError:
            assert "\0" in text or any("\ud800" <= char <= "\udfff" for char in text)
        else:
            assert b"\0" not in text.encode()
