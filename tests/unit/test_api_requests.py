"""What is read of a request: hosts, routes, query strings, cursors, filters."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay import errors
from relay.api import filters, gate, routing
from relay.api.query import BadQuery, Query
from relay.api.table import ROUTES

CLUSTER = uuid.UUID(int=7)
ROUTER = routing.Router(ROUTES)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:4000", "localhost"),
        ("[::1]:4000", "::1"),
        ("[::1]", "::1"),
        ("127.0.0.1:1", "127.0.0.1"),
    ],
)
def test_a_hosts_name_has_no_port(header: str, name: str) -> None:
    assert gate.host_name(header) == name


def test_a_route_is_found_with_its_parameters() -> None:
    route, params = ROUTER.match("POST", "/v1/jobs/42/cancel")
    assert (route.path, params) == ("/v1/jobs/{id}/cancel", {"id": "42"})


def test_a_fixed_path_wins_over_a_parameter() -> None:
    assert ROUTER.match("POST", "/v1/jobs/batch")[0].path == "/v1/jobs/batch"


def test_a_wrong_method_is_not_a_missing_path() -> None:
    with pytest.raises(routing.MethodNotAllowed) as refused:
        ROUTER.match("GET", "/v1/jobs/42/cancel")
    assert refused.value.allowed == ("POST",)


@given(st.text(max_size=60))
def test_no_path_breaks_the_router(path: str) -> None:
    with contextlib.suppress(errors.NotFound):
        ROUTER.match("GET", f"/{path}")


@given(st.text(max_size=80))
def test_no_query_string_breaks_the_filters(text: str) -> None:
    with contextlib.suppress(BadQuery):
        query = Query.of_text(text)
        filters.read(query)
        filters.read_page(query, CLUSTER)
        query.done()


@given(st.integers(min_value=0, max_value=2**63 - 1))
def test_a_cursor_is_read_as_it_was_made(before_id: int) -> None:
    assert filters.read_cursor(filters.make_cursor(before_id, CLUSTER), CLUSTER) == before_id


@given(st.text(max_size=40) | st.binary(max_size=20).map(lambda raw: raw.hex()))
def test_a_forged_cursor_is_refused(text: str) -> None:
    with pytest.raises(BadQuery):
        filters.read_cursor(text, CLUSTER)


def test_a_cursor_of_another_relay_is_refused() -> None:
    with pytest.raises(BadQuery):
        filters.read_cursor(filters.make_cursor(1, uuid.UUID(int=8)), CLUSTER)


def test_all_faults_of_a_query_are_told_at_once() -> None:
    query = Query.of_text("limit=0&status=x&nope=1&queue=a&queue=B")
    filters.read(query)
    filters.read_page(query, CLUSTER)
    with pytest.raises(BadQuery) as refused:
        query.done()
    assert sorted(fault.path for fault in refused.value.faults) == ["limit", "nope", "queue", "status"]


@pytest.mark.parametrize("given", [{"queue": []}, {"label": {}}, {"name": []}, {"status": []}, {"parent_id": {}}])
def test_an_empty_filter_in_json_does_not_mean_all(given: dict[str, object]) -> None:
    with pytest.raises(BadQuery, match=rf"^{next(iter(given))}: is empty: name what to match, or leave it out"):
        Query.of_object(given)


@pytest.mark.parametrize("value", [None, True, 1.5, [1], {"a": "b"}])
def test_a_label_in_json_has_a_text_or_a_whole_number(value: object) -> None:
    assert filters.read(Query.of_object({"label": {"k": 5}})).labels == {"k": "5"}
    with pytest.raises(BadQuery, match="label: must be a text"):
        Query.of_object({"label": {"k": value}})


def test_filters_are_the_same_in_json_and_in_a_query_string() -> None:
    of_text = Query.of_text("queue=a&queue=b&label=k:v&parent_id=3&created_after=2020-01-01T00:00:00Z")
    of_json = Query.of_object(
        {"queue": ["a", "b"], "label": {"k": "v"}, "parent_id": 3, "created_after": "2020-01-01T00:00:00Z"}
    )
    assert filters.read(of_text) == filters.read(of_json)
