from __future__ import annotations

from typing import Any

import pytest

from relay.model.exits import exit_code_of


def job(status: str, reason: str | None = None, *attempts: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "status": status, "reason": reason, "attempts": list(attempts)}


def attempt(reason: str | None = "exit", **facts: object) -> dict[str, Any]:
    return {"reason": reason, "exit_code": None, "signal": None, **facts}


@pytest.mark.parametrize(
    ("code", "ended"),
    [
        (0, job("COMPLETED", None, attempt(None, exit_code=3))),
        (7, job("DEAD", "exit", attempt(exit_code=5), attempt(exit_code=7))),
        (1, job("DEAD", "exit", attempt(exit_code=0))),
        (7, job("DEAD", "exit", attempt(exit_code=7), attempt(None))),
        (143, job("DEAD", "signal", attempt("signal", signal="SIGTERM"))),
        (162, job("DEAD", "signal", attempt("signal", signal="SIG34"))),
        (1, job("DEAD", "signal", attempt("signal", signal="SIGWHAT"))),
        (124, job("DEAD", "timeout", attempt("timeout", signal="SIGKILL"))),
        (127, job("DEAD", "start_error", attempt("start_error", exit_code=127))),
        (126, job("DEAD", "start_error", attempt("start_error", exit_code=126))),
        (137, job("DEAD", "limit", attempt("limit", signal="SIGKILL"))),
        (130, job("CANCELLED", None, attempt(None, signal="SIGTERM"))),
        (125, job("DEAD", "worker_lost", attempt("worker_lost"))),
        (125, job("DEAD", "expired")),
        (125, job("RUNNING", None, attempt(None))),
    ],
)
def test_the_command_line_exits_as_the_job_did(code: int, ended: dict[str, Any]) -> None:
    assert code == exit_code_of(ended)


def test_a_job_without_its_attempts_still_has_a_failing_code() -> None:
    assert exit_code_of({"status": "DEAD", "reason": "exit"}) == 1
