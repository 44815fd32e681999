from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.model.sizes import MAX_SIZE_BYTES, format_size, parse_size


@pytest.mark.parametrize(
    ("value", "size_bytes"),
    [("512M", 512 * 2**20), ("10m", 10 * 2**20), ("1G", 2**30), ("64K", 65_536), ("1.5K", 1536), ("100", 100), (7, 7)],
)
def test_k_m_and_g_are_powers_of_1024(value: object, size_bytes: int) -> None:
    assert size_bytes == parse_size(value)


@pytest.mark.parametrize("value", ["", "M", "10MB", "10MiB", "10 M", "1e3", "٣M", "x" * 99, 1.0, True, None, [], b"1M"])
def test_what_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must be a size such as"):
        parse_size(value)


@pytest.mark.parametrize(
    ("value", "problem"), [(-1, "negative"), (10**30, "more than any"), ("9999999G", "more than any")]
)
def test_sizes_out_of_range_are_refused(value: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_size(value)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0"), (1000, "1000"), (1536, "1536"), (3 * 2**19, "1536K"), (10 * 2**20, "10M"), (2**30, "1G")],
)
def test_the_canonical_form_uses_the_largest_unit_that_divides(size_bytes: int, text: str) -> None:
    assert text == format_size(size_bytes)


@given(st.integers(min_value=0, max_value=MAX_SIZE_BYTES))
def test_what_is_written_reads_back(size_bytes: int) -> None:
    assert size_bytes == parse_size(format_size(size_bytes))


@given(st.text() | st.integers() | st.floats() | st.none())
def test_any_input_is_a_size_or_a_value_error(value: object) -> None:
    try:
        size_bytes = parse_size(value)
    except ValueError:
        return
    assert 0 <= size_bytes <= MAX_SIZE_BYTES
