"""Messages without what is as good as a key, or names a person's certificate."""

import re
from typing import Final

from lxml import etree

_LOOSE: Final = re.DOTALL | re.IGNORECASE
"""Names are taken in any case: who writes them wrongly means them."""
BLANK: Final = b"++blanked+++"
"""It is text and base64Binary alike, so that a message fits the schema after all."""


def _element(name: bytes) -> re.Pattern[bytes]:
    """Return what finds an element that is not empty: its tag, what is in it, and its end or the body's."""
    return re.compile(
        rb"(<(?:[^<>\s/]*:)?%b(?:\s[^<>]*)?(?<!/)>)(.*?)(</(?:[^<>\s/]*:)?%b\s*>|\Z)" % (name, name), _LOOSE
    )


_SECRETS: Final = (
    (b"registrationid", (_element(b"registrationID"),)),
    (b"signature", (_element(b"SignatureValue"), _element(b"DigestValue"), _element(b"Modulus"))),
    (b"x509", (_element(b"X509Certificate"), _element(b"X509SKI"))),
)
"""Elements to be blanked, by what is in every body that has them: the parts of a signature stand in ds:Signature."""
_NAMES: Final = rb"(?:registrationID|SignatureValue|DigestValue|Modulus|X509Certificate|X509SKI)"
_ELSEWHERE: Final = re.compile(
    rb"%(name)b\s*=|\"%(name)b\"|=\s*'%(name)b'|'%(name)b'\s*:\s*[\"'\d]|<!|<(?:[^<>\s/]*:)?%(name)b\s[^<>]*<"
    % {b"name": _NAMES},
    _LOOSE,
)
"""Secrets that are no elements: attributes, JSON. Comments, CDATA and broken tags could hide where elements end."""
_DECLARED: Final = re.compile(rb"""<\?xml\b[^>]*?\bencoding\s*=\s*["']([\w.-]+)""")
_PLAIN: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii", b"iso-8859-1", b"latin-1", b"windows-1252"})
"""Encodings in which ASCII is ASCII."""
_MARK: Final = b"\xef\xbb\xbf"


def redacted(body: bytes) -> bytes:
    """Return a message, whole or cut, with its secrets blanked; a body in which they could hide is blanked as a whole.

    Elements that are empty stay so: that may be the fault that somebody looks for.
    """
    if not _is_legible(body):
        return b"%b (%d bytes in another encoding than UTF-8)" % (BLANK, len(body))
    lower = body.lower()
    present = [elements for mark, elements in _SECRETS if mark in lower]  # by far faster than the expressions
    if b"<!doctype" in lower or (present and _ELSEWHERE.search(body)):
        return b"%b (%d bytes in another form than OpenADR's)" % (BLANK, len(body))
    for elements in present:
        for element in elements:
            body = element.sub(_blanked, body)
    return body


def _blanked(match: re.Match[bytes]) -> bytes:
    begin, text, end = match.groups()
    return begin + (BLANK if text.strip() else text) + end


def _is_legible(body: bytes) -> bool:
    """Tell whether names of elements are found in these bytes if they are there."""
    if b"\0" in body:
        return False
    start = body.removeprefix(_MARK).lstrip()
    if not start.startswith(b"<"):
        return start.isascii() or _is_text(start)
    declared = _DECLARED.match(start)
    return declared is None or declared[1].lower() in _PLAIN


def _is_text(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.reason == "unexpected end of data"  # it was cut
    return True


def readable(text: str) -> str:
    """Return a message as people read it: indented, if it is whole."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True, load_dtd=False)
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError):
        return text
    return etree.tostring(root, pretty_print=True, encoding="unicode")
