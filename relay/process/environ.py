"""A job's environment, built from scratch: none of the worker's own variables is ever in it.

`RELAY_CLAIM` is more than information: it is the cookie by which escaped processes of the attempt are found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build_env(own: Mapping[str, str], *, home: str, facts: Mapping[str, object]) -> dict[str, str]:
    """Build the environment: defaults, then the job's `own`, then `RELAY_…` of the `facts` (those not None) by their names.

    `TRACEPARENT` is the job's own if it has one, else a new trace named after the claim.
    """
    env = {"PATH": PATH, "HOME": home, "LANG": "C.UTF-8", "TZ": "UTC"}
    env |= own
    env |= {f"RELAY_{name.upper()}": str(value) for name, value in facts.items() if value is not None}
    env.setdefault("TRACEPARENT", traceparent(str(facts["claim"])))
    return env


def traceparent(claim_id: str) -> str:
    """Name a W3C trace after a claim: its 128 random bits are the trace's id, its last 64 the span's."""
    digits = claim_id.replace("-", "").rjust(32, "0")[:32]
    return f"00-{digits}-{digits[16:]}-01"


def encode(env: Mapping[str, str]) -> dict[bytes, bytes]:
    """Give an environment in UTF-8, whatever this process's own locale is."""
    return {name.encode(): value.encode() for name, value in env.items()}
