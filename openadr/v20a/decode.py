"""Decode: bytes from a 2.0a VEN to a message.

No schema of 2.0a is at hand; what it has in common with 2.0b, which is all but the wrapping, is judged by 2.0b's.
"""

from typing import Final

from lxml import etree

from openadr.v20a.names import NAMESPACES
from openadr.v20b import names as n
from openadr.v20b.decode import MAX_BYTES, Decoded, WireError, parse
from openadr.v20b.decode import decode_noting as decode_20b
from openadr.v20b.messages import SCHEMA_VERSION

_OF_VENS: Final = frozenset({"oadrRequestEvent", "oadrCreatedEvent"})


def decode_noting(body: bytes, *, max_bytes: int = MAX_BYTES) -> Decoded:
    """Return the oadrRequestEvent or oadrCreatedEvent in a body of at most `max_bytes`, and what was mended in it.

    Raises WireError for anything else (PA-02), UnreadableError for values that cannot be read, and UnavailableError if
    2.0b's XSD is not installed.
    """
    root = parse(body, max_bytes=max_bytes)
    mine = f"{{{NAMESPACES['oadr']}}}"
    name = n.name_of(root)
    if n.tag_of(root) != f"{mine}{name}" or name not in _OF_VENS:
        wanted = f"an oadrRequestEvent or oadrCreatedEvent of '{NAMESPACES['oadr']}'"
        raise WireError(f"The root element is {n.shown(root)}, not {wanted}.")
    payload = etree.Element(n.PAYLOAD, nsmap=n.NAMESPACES)
    message = etree.SubElement(etree.SubElement(payload, n.SIGNED_OBJECT), n.clark(f"oadr:{name}"))
    message.set(n.SCHEMA_VERSION, SCHEMA_VERSION)
    message.text = root.text
    message.extend(root)
    wrapped = etree.tostring(payload, encoding="utf-8")
    return decode_20b(wrapped, max_bytes=len(wrapped))
