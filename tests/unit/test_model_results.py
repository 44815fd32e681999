from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.results import signal_name, signal_number


@given(st.integers(1, 64))
def test_every_signal_reads_back_from_its_name(number: int) -> None:
    assert number == signal_number(signal_name(number))


def test_known_signals_have_their_own_names() -> None:
    assert signal_name(signal.SIGKILL) == "SIGKILL"


@pytest.mark.parametrize("name", ["", "KILL", "SIGNONE", "SIG", "SIG9999", "SIG٣"])
def test_what_names_no_signal_has_no_number(name: str) -> None:
    assert signal_number(name) is None
