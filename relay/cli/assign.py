r"""`--set KEY=VALUE`: change one place of a spec, named as errors name it (`on_success[0].payload.timeout`).

The value is JSON if it can be read as JSON, else text: `max_retries=2`, `payload.timeout=5m`, `payload.args=["-v"]`. Under
`labels` and `env` it is always text, since nothing else may stand there. A dot in a key is written `\.`.
"""

from __future__ import annotations

import json
import re
from typing import Any

import click

_STEP = re.compile(r"(?:^|\.)((?:[^.\[\]\\]|\\.)+)|\[([0-9]{1,6})\]")
_TEXT_ONLY = frozenset({"labels", "env"})


def assign(spec: dict[str, Any], key: str, value: str) -> None:
    """Set one place in the spec, making objects on the way. Raises a usage error if the key does not fit the spec."""
    steps = _steps(key)
    target: Any = spec
    for index, step in enumerate(steps[:-1]):
        target = _enter(target, step, key, empty=[] if isinstance(steps[index + 1], int) else {})
    is_text = len(steps) > 1 and steps[-2] in _TEXT_ONLY
    _put(target, steps[-1], value if is_text else _parsed(value), key)


def _steps(key: str) -> list[str | int]:
    steps: list[str | int] = []
    position = 0
    while position < len(key) or not steps:
        match = _STEP.match(key, position)
        if match is None or (position == 0 and key.startswith(".")):
            raise _misfit(key, "is not a path such as payload.timeout or on_success[0].name")
        steps.append(re.sub(r"\\(.)", r"\1", match[1]) if match[1] else int(match[2]))
        position = match.end()
    return steps


def _enter(target: Any, step: str | int, key: str, *, empty: Any) -> Any:
    """The object or list at a step; a missing one is made, a null counts as missing."""
    if isinstance(target, dict) and isinstance(step, str):
        if target.get(step) is None:
            target[step] = empty
        return target[step]
    if isinstance(target, list) and isinstance(step, int) and step <= len(target):
        if step == len(target):
            target.append(empty)
        return target[step]
    if isinstance(target, dict) and step == 0:  # a single child may stand for a list of one
        return target
    raise _misfit(key, f"does not fit: there is no {step!r} to enter")


def _put(target: Any, step: str | int, value: Any, key: str) -> None:
    if isinstance(target, list) and isinstance(step, int) and step <= len(target):
        target[step : step + 1] = [value]
    elif isinstance(target, dict) and isinstance(step, str):
        target[step] = value
    else:
        raise _misfit(key, f"does not fit: {step!r} can't be set there")


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _misfit(key: str, what: str) -> click.BadParameter:
    return click.BadParameter(f"{key!r} {what}", param_hint="'--set'")
