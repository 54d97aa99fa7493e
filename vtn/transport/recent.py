"""The last messages of each VEN, for people who look for a fault: in memory, bounded, gone with the process.

Empty polls are not kept. Ids that are as good as keys are blanked when a message is shown.
"""

import re
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lxml import etree

_EACH: Final = 8
_MOST_BYTES: Final = 2_000_000
_BODY_BYTES: Final = 6_000
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
    at: datetime
    kind: str
    received: bytes
    sent: bytes

    @property
    def size(self) -> int:
        return len(self.received) + len(self.sent)


class RecentMessages:
    """Keeps up to 8 exchanges of each VEN, packed, 2 MB in all; who was silent longest is forgotten first."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, deque[_Kept]] = OrderedDict()
        self._bytes = 0
        self.since = datetime.now(UTC)

    def note(self, name: str, kind: str, received: bytes, sent: bytes) -> None:
        """Keep an exchange with whoever has that name: a certificate's fingerprint, or a venID without TLS."""
        one = _Kept(datetime.now(UTC), kind, _packed(received), _packed(sent))
        mine = self._kept.setdefault(name, deque())
        self._kept.move_to_end(name)
        mine.append(one)
        self._bytes += one.size
        while len(mine) > _EACH:
            self._bytes -= mine.popleft().size
        while self._bytes > _MOST_BYTES:
            self._bytes -= sum(old.size for old in self._kept.popitem(last=False)[1])

    def of(self, names: Iterable[str]) -> list[Exchange]:
        """Return the exchanges of a VEN under all of its names, newest first, fit to be shown."""
        found = [one for name in set(names) for one in self._kept.get(name, ())]
        found.sort(key=lambda one: one.at, reverse=True)
        bodies = ((one, zlib.decompress(one.received), zlib.decompress(one.sent)) for one in found[: 2 * _EACH])
        return [Exchange(one.at, one.kind, shown(received), shown(sent)) for one, received, sent in bodies]


def _packed(body: bytes) -> bytes:
    return zlib.compress(body[:_BODY_BYTES], level=1)


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
