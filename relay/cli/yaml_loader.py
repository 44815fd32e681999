"""What YAML may hold in a job spec: what JSON can, since that is how a spec travels.

Times stay text, because a spec's times are text. A set, bytes, a value that holds itself, infinity: each is refused where it
stands, by line and column, before anything of the document is sent. The message is what is wrong; `documents` names the file.
"""

from __future__ import annotations

import math
from typing import Any

import yaml
from yaml.constructor import ConstructorError

_TAG = "tag:yaml.org,2002:"
_NOT_JSON = frozenset({f"{_TAG}binary", f"{_TAG}set", f"{_TAG}timestamp"})


class Loader(yaml.SafeLoader):
    """Reads what JSON can hold too. Raises ConstructorError for the rest."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own
        first: [(tag, pattern) for tag, pattern in resolvers if tag != f"{_TAG}timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ARG002 - PyYAML's
        """Make a node's value, all that is in it first: so a node that is met again meanwhile holds itself."""
        kind = node.tag.replace(_TAG, "!!")
        if node.tag in _NOT_JSON:
            raise _problem(node, f"JSON has no {kind}: write it as text or as a list")
        if node in self.recursive_objects:
            raise _problem(node, "this value holds itself, through its anchor")
        try:
            value = super().construct_object(node, deep=True)
        except (ValueError, LookupError):
            raise _problem(node, f"this can't be read as {kind}") from None
        if isinstance(value, float) and not math.isfinite(value):
            raise _problem(node, "JSON has no such number")
        return value


def _problem(node: yaml.Node, message: str) -> ConstructorError:
    return ConstructorError(None, None, message, node.start_mark)
