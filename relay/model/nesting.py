"""What a spec must satisfy as a whole: how deep and wide its chain is, and which keys exclude each other.

These rules look at the raw body, before and apart from the check of each value, for two reasons: a chain that nests ten
thousand deep must be refused by a loop with a limit, not by whoever recurses into it first; and a body with a mistyped
number must still be told about its two commands in the same answer.
What isn't an object is passed over here: the check of values says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.errors import Fault, InvalidSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_DEPTH = 32
MAX_JOBS = 1000
EDGES = ("on_success", "on_failure")


def check(raw: dict[str, object], path: str = "") -> list[Fault]:
    """Return the faults of this spec and of all its children.

    Raises:
        InvalidSpec: the chain is too deep or too wide; nothing else about it was looked at.

    """
    faults = _faults(raw, path, is_child=False)
    if not (raw.get("on_success") or raw.get("on_failure")):
        return faults
    level, jobs, depth = [(raw, path)], 1, 0
    while level:
        level = [child for spec, place in level for child in _children(spec, place)]
        jobs, depth = jobs + len(level), depth + 1
        if level and depth > MAX_DEPTH:
            raise _too_big(level[0][1], f"nests deeper than {MAX_DEPTH} levels")
        if jobs > MAX_JOBS:
            raise _too_big(path, f"has more than {MAX_JOBS:,} jobs in its chain")
        for child, place in level:
            faults += _faults(child, place, is_child=True)
    return faults


def _too_big(path: str, message: str) -> InvalidSpec:
    return InvalidSpec(f"{path or 'the spec'} {message}", faults=[Fault(path, message)])


def _children(spec: dict[str, object], path: str) -> Iterator[tuple[dict[str, object], str]]:
    """Yield a spec's children with their paths, as far as they are objects."""
    prefix = f"{path}." if path else ""
    for edge in EDGES:
        children = spec.get(edge)
        if isinstance(children, dict):
            yield children, prefix + edge
        elif isinstance(children, list | tuple):
            for index, child in enumerate(children):
                if isinstance(child, dict):
                    yield child, f"{prefix}{edge}[{index}]"


def _faults(spec: dict[str, object], path: str, *, is_child: bool) -> list[Fault]:
    prefix = f"{path}." if path else ""
    faults = []
    payload = spec.get("payload")
    if isinstance(payload, dict):
        has_command, has_script = payload.get("command") is not None, payload.get("script") is not None
        if has_command and has_script:
            faults.append(Fault(f"{prefix}payload.script", "excludes 'command': give one of the two"))
        elif not has_command and not has_script:
            faults.append(Fault(f"{prefix}payload.command", "is required (or 'script' in its place)"))
        if not is_child and payload.get("stdin") == {"from": "parent.stdout"}:
            faults.append(Fault(f"{prefix}payload.stdin", "must be a string here: only a chain's child has a parent"))
    if spec.get("delay") is not None and spec.get("run_at") is not None:
        faults.append(Fault(f"{prefix}delay", "excludes 'run_at': give one of the two"))
    if is_child and spec.get("idempotency_key") is not None:
        faults.append(
            Fault(f"{prefix}idempotency_key", "is not allowed in a chain's child: it is created just once anyway")
        )
    return faults
