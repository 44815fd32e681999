"""What a client would like to get, from its `Accept` header (RFC 9110, section 12.5.1).

Each form on offer gets the weight of the most specific range that names it: `q=0` refuses it, the highest wins, and among equals
the one whose range comes first. A header that is no list of ranges is no reason to refuse an answer: what can't be read is passed
over, and the caller has a form to fall back on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def weights(accept: str, offered: Sequence[str]) -> Mapping[str, float]:
    """The weight (0 to 1) of each form that the header names, the most wanted first; what it does not name is missing."""
    ranges = [_range(part) for part in accept.split(",")]
    found: dict[str, tuple[float, int]] = {}
    for form in offered:
        for wanted in (form, form.partition("/")[0] + "/*", "*/*"):
            place = next((at for at, (name, _) in enumerate(ranges) if name == wanted), None)
            if place is not None:
                found[form] = ranges[place][1], -place
                break
    return {form: weight for form, (weight, _) in sorted(found.items(), key=lambda item: item[1], reverse=True)}


def choose(accept: str, offered: Sequence[str]) -> str | None:
    """The form that is wanted most; None: the header names none, or refuses all."""
    return next((form for form, weight in weights(accept, offered).items() if weight > 0), None)


def _range(part: str) -> tuple[str, float]:
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    weight = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    try:
        return name, min(max(float(weight), 0.0), 1.0)
    except ValueError:
        return name, 1.0
