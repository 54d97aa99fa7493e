"""Entity tags (RFC 9110, 8.8.3 and 13): a strong tag from the exact bytes of an answer."""

import hashlib
import re

from web.problem import ProblemError

_TAG = re.compile(r'(W/)?("[\x21\x23-\x7e]*")', re.ASCII)
_LIST = re.compile(rf"\s*{_TAG.pattern}(?:\s*,\s*{_TAG.pattern})*\s*", re.ASCII)


def etag_of(raw: bytes) -> str:
    """Return the strong entity tag of a representation, quotes included."""
    return f'"{hashlib.sha256(raw).hexdigest()[:32]}"'


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Tell whether a GET may be answered with 304: the caller's copy is the present one (weak comparison)."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in {tag for _, tag in _TAG.findall(if_none_match)}


def check_if_match(if_match: str | None, etag: str, *, required: bool = False) -> None:
    """Raise ProblemError 412 unless If-Match is absent, `*`, or lists `etag` (strong comparison).

    With `required` an absent header is a 428. A header that is no list of tags is a 400.
    """
    if if_match is None:
        if required:
            raise ProblemError(428, "Read it first, then send its ETag back as 'If-Match'.")
        return
    if if_match.strip() == "*":
        return
    if not _LIST.fullmatch(if_match):
        raise ProblemError(400, "'If-Match' is a list of quoted entity tags, or *.")
    if etag not in {tag for weak, tag in _TAG.findall(if_match) if not weak}:
        raise ProblemError(412, "Somebody changed it since you read it; read it again and repeat your change.")
