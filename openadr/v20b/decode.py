"""Decode: bytes from a peer to a message.

A body passes four gates: the bytes (size, encoding, no DOCTYPE), the parser, the XSD on the parsed tree, and the
reading of values. The first three refuse with WireError (HTTP 406, GN-12), the last with UnreadableError, an
OpenADRError (454, or 461 for Green Button data) for the eiResponse of the normal answer (GN-11). The parser is never
bound to the schema, because a schema-bound parser can crash the process.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from lxml import etree
from lxml.etree import _Element

from core.errors import EvenloadError, InvalidError
from openadr.signature.values import SignatureError, Verified
from openadr.v20b import decode_event, decode_opt, decode_party, decode_report
from openadr.v20b import names as n
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.decode_parts import Reader
from openadr.v20b.messages import SCHEMA_VERSION, Message
from openadr.v20b.repair import Repair, repair
from openadr.v20b.schema import fault

MAX_BYTES: Final = 2 * 1024 * 1024
"""The largest body that is parsed by default: about 7,000 intervals of a report.

A megabyte takes a tenth of a second, in one piece. The parser itself refuses more than 256 levels of nesting.
"""
_LARGE: Final = 64 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_ENCODING: Final = re.compile(rb"""<\?xml[^>]*?\sencoding\s*=\s*["']([^"'>]*)["']""")
_NOT_ACCEPTABLE: Final = 406

_READERS: Final[Mapping[str, Reader]] = {
    **decode_event.READERS,
    **decode_opt.READERS,
    **decode_party.READERS,
    **decode_report.READERS,
}


Verify = Callable[[_Element], Verified | SignatureError | None]
"""Judges the signature of an oadrPayload as it was parsed, before any repair and not yet known to be schema-valid.

Returns None where there is none; an error that it returns instead of raising is for the reader of the message to judge.
"""


class WireError(EvenloadError):
    """The body is no OpenADR message: answered on the transport, with the HTTP `status` (GN-12)."""

    def __init__(self, text: str, status: int = _NOT_ACCEPTABLE) -> None:
        super().__init__(text)
        self.status = status


class UnreadableError(OpenADRError):
    """A schema-valid message holds what cannot be read, such as a time in the year -1 or Green Button data (GN-11).

    `element` is the message element's local name (`oadrUpdateReport`), `request_id` and `ven_id` are what it says of
    itself, so that the right answer can carry the error.
    """

    def __init__(
        self,
        description: str,
        element: str,
        request_id: str,
        ven_id: str | None,
        code: Code = Code.INVALID_DATA,
    ) -> None:
        super().__init__(code, description)
        self.element = element
        self.request_id = request_id
        self.ven_id = ven_id


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message, the deviations that had to be mended to read it, and what is to be thought of its signature."""

    message: Message
    repairs: frozenset[Repair] = frozenset()
    signature: Verified | SignatureError | None = None


def decode(body: bytes, *, strict: bool = False, verify: Verify | None = None, max_bytes: int = MAX_BYTES) -> Message:
    """Return the message in a body; see `decode_noting`."""
    return decode_noting(body, strict=strict, verify=verify, max_bytes=max_bytes).message


def decode_noting(
    body: bytes, *, strict: bool = False, verify: Verify | None = None, max_bytes: int = MAX_BYTES
) -> Decoded:
    """Return the message in a body of at most `max_bytes`, and what was mended in it.

    Tolerant by default: what the XSD refuses is repaired if it is a known deviation (`openadr.v20b.repair`) and judged
    again. Strict: the body must be valid as it stands and say `ei:schemaVersion="2.0b"` (GN-02).

    What is read is the very element that `verify` found signed. Raises WireError for what is not a message,
    UnreadableError for values that cannot be read, whatever `verify` raises, and UnavailableError if the XSD is not
    installed.
    """
    payload = parse(body, max_bytes=max_bytes)
    signature = verify(payload) if verify is not None else None
    if payload.tag != n.PAYLOAD:
        raise WireError(f"The root element is {n.shown(payload)}, not oadrPayload of '{n.NAMESPACES['oadr']}'.")
    large = len(body) > _LARGE
    wrong = fault(payload, large=large)
    repairs: frozenset[Repair] = frozenset()
    if wrong is not None and not strict:
        repairs = repair(payload)
        wrong = fault(payload, large=large) if repairs else wrong
    if wrong is not None:
        raise WireError(f"Not a valid OpenADR 2.0b message: {wrong}")
    if isinstance(signature, Verified):
        if signature.signed_object is not payload[-1]:
            raise WireError("The signature covers something else than what is read.")
        signature = replace(signature, signed_object=None)  # a tree is large, and signatures are kept for a while
    message = payload[-1][0]
    if strict and (message.get(n.SCHEMA_VERSION) or "").strip() != SCHEMA_VERSION:
        raise WireError(f'{n.name_of(message)} does not say ei:schemaVersion="{SCHEMA_VERSION}".')
    return Decoded(_read(message), repairs, signature)


def parse(body: bytes, *, max_bytes: int = MAX_BYTES) -> _Element:
    """Return the root of a body. Raises WireError unless it is well-formed UTF-8 XML without DOCTYPE.

    A byte order mark is tolerated. Comments and processing instructions are dropped.
    """
    if len(body) > max_bytes:
        raise WireError(f"The body has {len(body)} bytes; at most {max_bytes} are read.")
    body = body.removeprefix(_BOM)
    if b"<!" in body and b"<!DOCTYPE" in body:  # the first test is quick, and mostly enough
        raise WireError("A DOCTYPE is refused, and with it every entity declaration.")
    declared = _ENCODING.match(body, 0, 200)
    if b"\0" in body or (declared is not None and declared[1].upper() != b"UTF-8"):
        raise WireError("The body is not UTF-8; OpenADR allows nothing else.")
    try:
        return etree.fromstring(body, _parser())
    except etree.XMLSyntaxError as error:
        raise WireError(f"Not well-formed XML: {str(error)[:200]}") from error


@cache
def _parser() -> etree.XMLParser:
    # The encoding is fixed, so that neither a declaration nor the parser's own guess can choose another.
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
        collect_ids=False,
    )


def _read(message: _Element) -> Message:
    try:
        return _READERS[n.tag_of(message)](message)
    except (InvalidError, OpenADRError, ValueError, OverflowError) as error:
        name = n.name_of(message)
        raise UnreadableError(
            f"{name}: {str(error)[:200]}",
            name,
            next((child.text or "" for child in message.iter(n.REQUEST_ID)), ""),
            next((child.text or None for child in message.iter(n.VEN_ID)), None),
            error.code if isinstance(error, OpenADRError) else Code.INVALID_DATA,
        ) from error
