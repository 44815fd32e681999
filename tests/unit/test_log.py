"""Log lines: one event a line, on stderr, and harmless."""

from __future__ import annotations

import io
import json
import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from relay import log

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def configured_anew() -> Iterator[None]:
    """Leave no stream of a test behind, for loggers that exist already neither."""
    structlog.reset_defaults()
    yield
    log.configure()


def test_a_line_is_an_event_and_its_facts() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get("relay.x").bind(job_id=42).info("attempt.finished", outcome="failed", cpu_s=0.5)
    assert stream.getvalue()[9:] == "info attempt.finished job_id=42 outcome=failed cpu_s=0.5\n"


def test_a_value_can_neither_start_a_line_nor_command_a_terminal() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    log.get("relay.x").warning("x.y", text="a b\n\x1b[2J", empty="")
    assert stream.getvalue()[9:] == 'warning x.y text="a b\\n\\u001b[2J" empty=""\n'


def test_in_production_a_line_is_a_json_object() -> None:
    stream = io.StringIO()
    early = log.get("relay.x")
    log.configure(json=True, stream=stream)
    early.info("attempt.finished", job_id=42)
    found = json.loads(stream.getvalue())
    assert (found["event"], found["job_id"], found["source"]) == ("attempt.finished", 42, "relay.x")


def test_without_configuration_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    log.get("relay.x").info("x.y")
    out, err = capsys.readouterr()
    assert (out, err[9:]) == ("", "info x.y\n")


def test_warnings_of_libraries_go_the_same_way() -> None:
    stream = io.StringIO()
    log.configure(stream=stream)
    logging.getLogger("library").warning("topic %s is gone", "t")
    logging.getLogger("library").info("chatter")
    assert stream.getvalue()[9:] == 'warning library.message library=library message="topic t is gone"\n'


def test_a_line_that_nobody_can_read_does_not_fail_its_writer() -> None:
    stream = io.StringIO()
    stream.close()
    log.configure(stream=stream)
    log.get("relay.x").info("x.y")
