"""Structured logging: one event name and `key=value` facts a line, on stderr only.

stdout is data, so nothing here ever writes to it. People get `12:00:01 info attempt.finished job_id=42 …`; production
gets one JSON object a line. Records of libraries (asyncio, aiokafka, aiohttp) go the same way, from warnings up. What is
logged is the caller's choice: never a job's environment, stdin or output. Logging never fails its caller: a line that
can't be written (the reader of stderr has gone) is lost.
"""

from __future__ import annotations

import contextlib
import functools
import json as json_module
import logging
import sys
import time
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger


class _Lines:
    """Write each message as one line with one `write`, so that processes sharing stderr don't mix within a line."""

    stream: TextIO | None = None

    def msg(self, message: str) -> None:
        stream = self.stream or sys.stderr
        # OSError: the reader is gone; ValueError: the stream is closed. Neither may end a worker.
        with contextlib.suppress(OSError, ValueError):
            stream.write(message + "\n")
            stream.flush()

    debug = info = warning = warn = error = critical = exception = fatal = msg


class _LibraryRecords(logging.Handler):
    """Hand the standard library's log records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.message",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info or None,
        )


def configure(*, json: bool = False, stream: TextIO | None = None) -> None:
    """Set the process's logging up; the last call wins. `stream` None: whatever `sys.stderr` is when a line is written."""
    _lines.stream = stream
    _processors[-1] = structlog.processors.JSONRenderer(serializer=_to_json) if json else _to_line
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _lines,
        cache_logger_on_first_use=True,  # what may change later is changed in place
    )
    root = logging.getLogger()
    if not any(isinstance(handler, _LibraryRecords) for handler in root.handlers):
        root.addHandler(_LibraryRecords(logging.WARNING))


def get(name: str) -> FilteringBoundLogger:
    """A logger that says `name` in its lines; usable before `configure`, and then writes plain lines to stderr."""
    if not structlog.is_configured():
        configure()
    return cast("FilteringBoundLogger", structlog.get_logger(source=name))


def _add_time(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    seconds, micros = divmod(time.time_ns() // 1000, 10**6)
    event["timestamp"] = f"{_iso(seconds)}.{micros:06d}Z"
    return event


@functools.lru_cache(maxsize=1)
def _iso(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _to_json(event: object, **_: object) -> str:
    return json_module.dumps(event, default=str, separators=(",", ":"))


def _to_line(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    exception = event.pop("exception", None)
    clock = str(event.pop("timestamp"))[11:19]
    head = f"{clock} {event.pop('level')} {event.pop('event')}"
    facts = [f"{key}={_plain(value)}" for key, value in event.items() if key != "source"]
    return " ".join([head, *facts]) + (f"\n{exception}" if exception else "")


def _plain(value: object) -> str:
    """One word, quoted where it has to be: a value must not be able to start a line or move a terminal's cursor."""
    text = str(value)
    return text if text.isprintable() and " " not in text and text else json_module.dumps(text)


_lines = _Lines()
_processors: list[Processor] = [
    structlog.processors.add_log_level,
    _add_time,
    structlog.processors.format_exc_info,
    _to_line,
]
