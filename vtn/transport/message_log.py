"""The last messages of each VEN, for people who look for a fault: in memory, bounded, gone with the process.

Empty polls are not kept. Ids that are as good as keys are blanked when a message is shown.
"""

import re
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lxml import etree

from openadr.v20b.names import NAMESPACES

_EACH: Final = 8
_MOST_BYTES: Final = 1_500_000
_ENTRY_BYTES: Final = 170
"""What an exchange takes beside its bodies."""
_BODY_BYTES: Final = 6_000
_EXPECTED: Final = (
    "".join(f"<{prefix}:" for prefix in NAMESPACES)
    + "eiReport intervals interval dtstart date-time properties duration ei:signalPayload payloadFloat value "
    "oadrReportPayload rID oadrReportDescription reportSpecifierID createdDateTime reportRequestID qualifiedEventID "
    "eventID modificationNumber optType eiEventSignal oadrEvent oadrResponseRequired schemaVersion oadrSignedObject "
    "responseCode>200</ei: responseDescription requestID venID "
    + "".join(f'xmlns:{prefix}="{uri}" ' for prefix, uri in NAMESPACES.items())
).encode()
"""What messages have in common: a short one packs into a quarter of what it would take without."""
_SECRET: Final = re.compile(
    rb"(<(?:\w+:)?(registrationID|X509Certificate|SignatureValue|DigestValue|Modulus|X509SKI)\b[^<>]*>)[^<]*"
)
_BLANK: Final = rb"\1[blanked]"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A message of a VEN and our answer, as text. `at` is machine time; a long body is cut."""

    at: datetime
    kind: str
    received: str
    sent: str


@dataclass(frozen=True, slots=True)
class _Kept:
    at: float
    kind: str
    packed: bytes
    received: int
    """How many of the bytes are what came; the others went."""

    @property
    def size(self) -> int:
        return len(self.packed) + _ENTRY_BYTES

    def unpacked(self) -> Exchange:
        body = zlib.decompressobj(zdict=_EXPECTED).decompress(self.packed)
        at = datetime.fromtimestamp(self.at, UTC)
        return Exchange(at, self.kind, shown(body[: self.received]), shown(body[self.received :]))


class RecentMessages:
    """Keeps up to 8 exchanges of each VEN, packed, 1.5 MB in all; who was silent longest is forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, list[_Kept]] = OrderedDict()
        self._bytes = 0
        self.since = datetime.now(UTC)

    def note(self, name: str, kind: str, received: bytes, sent: bytes) -> None:
        """Keep an exchange with whoever has that name: a certificate's fingerprint, or a venID without TLS."""
        received = received[:_BODY_BYTES]
        packer = zlib.compressobj(level=1, zdict=_EXPECTED)
        packed = packer.compress(received + sent[:_BODY_BYTES]) + packer.flush()
        one = _Kept(time.time(), kind, packed, len(received))
        mine = self._kept.setdefault(name, [])
        self._kept.move_to_end(name)
        mine.append(one)
        self._bytes += one.size
        while len(mine) > _EACH:
            self._bytes -= mine.pop(0).size
        while self._bytes > _MOST_BYTES:
            self._bytes -= sum(old.size for old in self._kept.popitem(last=False)[1])

    def of(self, names: Iterable[str]) -> list[Exchange]:
        """Return the exchanges of a VEN under all of its names, newest first, fit to be shown."""
        found = [one for name in set(names) for one in self._kept.get(name, ())]
        found.sort(key=lambda row: row.at, reverse=True)
        return [one.unpacked() for one in found[: 2 * _EACH]]


def shown(body: bytes) -> str:
    """Return a message for people: secrets blanked, indented if it is whole."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=True, load_dtd=False)
    try:
        root = etree.fromstring(body, parser)
        body = etree.tostring(root, pretty_print=True)
    except etree.XMLSyntaxError:
        if len(body) >= _BODY_BYTES:
            body += b"\n... (cut here)"
    return _SECRET.sub(_BLANK, body).decode("utf-8", "replace")
