from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import BadJson
from relay.model.jsontext import parse_json, parse_ndjson, parse_object

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"a":1', "line 1, column 7: expecting ',' delimiter"),
        (b"nul", "line 1, column 1: expecting value"),
        (b"{} {}", "line 1, column 4: extra data"),
        (b'"abc', "line 1, column 1: unterminated string"),
        (b'{"a":\n"x\ty"}', "line 2, column 3: invalid control character"),
        (b'{"\xc3\xa9":"\xff"}', "line 1, column 7: this is not valid UTF-8"),
        (b'{"a":' + b"1" * 5000 + b"}", "line 1, column 6: a number of 5,000 digits is too long"),
        (b'{"b":"NaN","a":\nNaN}', "line 2, column 1: NaN is not a JSON number"),
        (b"[-Infinity]", "line 1, column 2: -Infinity is not a JSON number"),
        (b"[0, 1e999]", "line 1, column 5: this number is too large"),
        (b"[-1e999]", "line 1, column 2: this number is too large"),
        (b'["ok", "\\ud800"]', "line 1, column 8: this string has half a surrogate pair"),
        (b'{"\\ude00\\ud83d": 1}', "line 1, column 2: this string has half a surrogate pair"),
        (b'{"a":[{"b":1,\n"\\u0062":2}],"c":3}', "line 2, column 1: this key stands twice in one object"),
        (b'{"a":"{\\"a\\":","a":3}', "line 1, column 16: this key stands twice in one object"),
    ],
)
def test_a_bad_body_is_refused_with_its_position(body: bytes, problem: str) -> None:
    with pytest.raises(BadJson, match=problem):
        parse_json(body)


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_a_hundred_thousand_levels_are_refused(opening: bytes) -> None:
    with pytest.raises(BadJson, match="nested too deeply"):
        parse_json(opening * 100_000)


@pytest.mark.parametrize("body", [b"", b" \n"])
def test_an_empty_body_is_refused(body: bytes) -> None:
    with pytest.raises(BadJson, match="empty"):
        parse_json(body)


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf{}", "{}".encode("utf-16")])
def test_a_byte_order_mark_is_refused(body: bytes) -> None:
    with pytest.raises(BadJson, match="byte order mark"):
        parse_json(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b'"x"', b"null"])
def test_what_is_not_an_object_is_refused_where_one_is_needed(body: bytes) -> None:
    with pytest.raises(BadJson, match="must be a JSON object"):
        parse_object(body)


def test_a_surrogate_pair_and_an_escaped_backslash_are_fine() -> None:
    assert parse_json(b'["\\ud83d\\ude00", "\\\\ud800"]') == ["\N{GRINNING FACE}", "\\ud800"]


def test_the_same_key_in_two_objects_is_fine() -> None:
    assert parse_object(b'{"a": {"a": 1}}') == {"a": {"a": 1}}


def test_a_whole_number_and_a_decimal_stay_apart() -> None:
    assert [type(number) for number in parse_object(b'{"a": 3, "b": 3.0}').values()] == [int, float]


def test_ndjson_passes_over_blank_lines_and_takes_either_line_end() -> None:
    assert parse_ndjson(b'{"a":1}\r\n\n  \n2') == [{"a": 1}, 2]


@pytest.mark.parametrize("line", [b'{"a":}', b'{"a":1,"a":2}', b'"\\ud800"', b'"\xff"'])
def test_ndjson_errors_name_the_line(line: bytes) -> None:
    with pytest.raises(BadJson, match="line 3, column"):
        parse_ndjson(b"{}\n\n" + line + b"\n{}")


@given(VALUES, st.booleans())
def test_any_json_reads_back(value: object, ensure_ascii: bool) -> None:
    assert value == parse_json(json.dumps(value, ensure_ascii=ensure_ascii).encode())


@given(st.binary() | st.text(alphabet='{}[]:,"\\u0dDeE8 1.-').map(str.encode))
def test_any_bytes_are_json_or_bad_json(body: bytes) -> None:
    with contextlib.suppress(BadJson):
        parse_json(body)
