"""Values as YAML that is read back as it was, whatever is in their texts."""

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

_PLAIN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ./_()-]*[A-Za-z0-9.)]|[A-Za-z0-9]")
"""Texts that the writer may leave without quotes. Of others ruamel.yaml 0.19 writes some, such as `?0` between braces,
in a way that it does not read."""
_UNFOLDED: Final = 10**9
"""So wide are lines: where it breaks a text in quotes behind an escape, its reader finds a blank more."""


def yaml_text(node: Any, *, flow: bool | None = None) -> str:
    """Return YAML; `flow`: all in braces and brackets, or (None) what has no parts of its own."""
    yaml, out = YAML(), StringIO()
    yaml.default_flow_style, yaml.width = flow, _UNFOLDED
    yaml.dump(_ready(node), out)
    return out.getvalue()


def _ready(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {_ready(key): _ready(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_ready(value) for value in node]
    if isinstance(node, str) and not _PLAIN.fullmatch(node):
        return DoubleQuotedScalarString(node)
    return node
