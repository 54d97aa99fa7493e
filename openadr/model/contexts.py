"""Market contexts: URIs that compare after RFC 3986 normalisation (GN-10)."""

import re
from typing import Final
from urllib.parse import urlsplit

_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


def same_context(left: str, other: str) -> bool:
    """Tell whether two market contexts are the same one."""
    return normal_context(left) == normal_context(other)


def normal_context(uri: str) -> str:
    """Return the URI with lower-case scheme and host, without dot segments, default port and needless escapes.

    Text that is no hierarchical URI comes back as it is: then it compares byte for byte.
    """
    try:
        parts = urlsplit(uri.strip())
    except ValueError:
        return uri
    if not parts.scheme or not parts.netloc:
        return uri.strip()
    scheme = parts.scheme.lower()
    user, at, host = parts.netloc.rpartition("@")
    host = host.lower().removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
    path = _without_dots(_unescaped(parts.path)) or "/"
    tail = "".join(mark + _unescaped(text) for mark, text in (("?", parts.query), ("#", parts.fragment)) if text)
    return f"{scheme}://{user}{at}{host}{path}{tail}"


def _unescaped(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        char = chr(int(match[1], 16))
        return char if char in _UNRESERVED else match[0].upper()

    return _ESCAPE.sub(one, text)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    parts = path.split("/")
    for part in parts[1:] if path.startswith("/") else parts:
        if part == "..":
            if kept:
                kept.pop()
        elif part != ".":
            kept.append(part)
    if parts[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)
