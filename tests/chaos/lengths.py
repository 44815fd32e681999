"""How long faults last and how much is written: short for every day, and at full length (`pytest tests/chaos --full-length`)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.chaos.stage import TTL_S


@dataclass(frozen=True, slots=True)
class Lengths:
    """Seconds but for the last two."""

    redis_down_s: float
    postgres_down_s: float
    stopped_s: float
    blocked_s: float
    churn_s: float
    output_s: float  # for the job that prints `output_bytes`
    output_bytes: int


SHORT = Lengths(
    redis_down_s=2 * TTL_S,
    postgres_down_s=2 * TTL_S,
    stopped_s=2.5 * TTL_S,
    blocked_s=2 * TTL_S,
    churn_s=12,
    output_s=30,
    output_bytes=500_000_000,
)
FULL = Lengths(
    redis_down_s=120,
    postgres_down_s=90,
    stopped_s=40,
    blocked_s=30,
    churn_s=120,
    output_s=900,
    output_bytes=10_000_000_000,
)
