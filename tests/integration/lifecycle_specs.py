"""The jobs that the lifecycle machine submits: every option that changes a job's way, in a few values each.

Times lie an hour or more away, so that nothing depends on how fast a step is: the machine makes a job due, or late, by
moving its columns. A shape is a tuple of small choices, for Hypothesis to shrink; its spec is parsed once.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import strategies as st

from relay.model.results import Ending, Result
from relay.model.spec import parse_spec

if TYPE_CHECKING:
    from relay.model.spec import JobSpec

PAST, AHEAD = "2001-01-01T00:00:00Z", "2199-01-01T00:00:00Z"
FINAL_CODE = 3
PLAIN: dict[str, Any] = {
    "payload": {"command": "/bin/true"},
    "backoff": {"strategy": "constant", "initial": "1h", "jitter": False},
    "no_retry_codes": [FINAL_CODE],
}
CHAINS: dict[str, dict[str, Any]] = {
    "": {},
    "success": {"on_success": PLAIN},
    "two, one late": {"on_success": [PLAIN, PLAIN | {"delay": "1h"}]},
    "failure": {"on_failure": PLAIN | {"max_retries": 0}},
    "both, locked": {"on_success": PLAIN | {"lock": "a"}, "on_failure": [PLAIN | {"lock": "a"}, PLAIN]},
    "deep": {"on_failure": PLAIN | {"max_retries": 0, "on_failure": PLAIN | {"on_success": PLAIN}}},
    "born expired": {"on_failure": PLAIN | {"expires_at": PAST, "on_failure": PLAIN, "on_success": PLAIN}},
}
TIMES: dict[str, dict[str, Any]] = {
    "": {},
    "delay": {"delay": "1h"},
    "past": {"run_at": PAST},
    "ahead": {"run_at": AHEAD},
}


class Shape(NamedTuple):
    """What varies between jobs."""

    when: str = ""
    expires_at: str | None = None
    max_retries: int = 1
    on_worker_lost: str = "retry"
    lock: str | None = None
    queue: str = "default"
    priority: str = "normal"
    chain: str = ""


SHAPES = st.builds(
    Shape,
    when=st.sampled_from(["", "", "", "delay", "past", "ahead"]),
    expires_at=st.sampled_from([None, None, None, AHEAD, AHEAD, PAST]),
    max_retries=st.integers(0, 2),
    on_worker_lost=st.sampled_from(["retry", "fail"]),
    lock=st.sampled_from([None, None, "a", "a", "b"]),
    queue=st.sampled_from(["default", "other"]),
    priority=st.sampled_from(["normal", "high"]),
    chain=st.sampled_from(list(CHAINS)),
)
KEYS = st.sampled_from([None, None, None, "key-1", "key-2"])

RESULTS = st.sampled_from(
    [
        Result(Ending.EXITED, exit_code=0),
        Result(Ending.EXITED, exit_code=1),
        Result(Ending.EXITED, exit_code=FINAL_CODE),
        Result(Ending.SIGNALED, signal="SIGKILL"),
        Result(Ending.TIMED_OUT),
        Result(Ending.START_ERROR, exit_code=127, error="no such program"),
        Result(Ending.LIMIT, broken_limit="memory"),
        Result(Ending.CANCELLED),
        Result(Ending.RELEASED),
    ]
)


@cache
def spec_of(shape: Shape) -> JobSpec:
    """The shape's spec."""
    options = {
        key: value for key, value in shape._asdict().items() if key not in ("when", "chain") and value is not None
    }
    return parse_spec(PLAIN | options | TIMES[shape.when] | CHAINS[shape.chain])
