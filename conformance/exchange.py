"""What the kit keeps of a dialogue: requests and answers as they went over the wire, and what the operator did.

All of it is plain data, so that a check judges a recorded dialogue as it judges one that has just been played.
"""

import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

Headers = tuple[tuple[str, str], ...]
_LARGEST: Final = 16 << 20
VTN: Final = "vtn"
"""Who spoke, in an exchange that the VTN began."""


def header(headers: Headers, name: str) -> str | None:
    """Return the value of the first header of a name, whatever its case; None if there is none."""
    return next((value for key, value in headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `body` is what was sent after the head."""

    method: str
    target: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came: the body is still compressed if the headers say so."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the value of a header, None without."""
        return header(self.headers, name)

    @property
    def content(self) -> bytes:
        """The body without content coding, at most 16 MiB of it. Raises ValueError where it cannot be unpacked."""
        coding = (self.header("Content-Encoding") or "identity").strip().lower()
        try:
            return _UNPACKERS[coding](self.body)
        except KeyError:
            raise ValueError(f"the content coding '{coding}' was not asked for") from None
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"the body is no {coding}: {error}") from error


def _inflate(body: bytes) -> bytes:
    return zlib.decompressobj().decompress(body, _LARGEST)


def _gunzip(body: bytes) -> bytes:
    return zlib.decompressobj(wbits=31).decompress(body, _LARGEST)


_UNPACKERS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    {"identity": bytes, "gzip": _gunzip, "deflate": _inflate}
)


def packed(body: bytes) -> bytes:
    """Return a body as gzip."""
    return gzip.compress(body)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request of one of the kit's VENs and what came of it; or one that was pushed to a VEN, with its answer.

    `step` names its place in the dialogue, `ven` who spoke, `at` is world time. Without an answer `trouble` says what
    the connection did instead.
    """

    step: str
    ven: str
    request: Request
    answer: Answer | None
    trouble: str
    at: datetime

    @property
    def is_push(self) -> bool:
        """Whether the VTN began it."""
        return self.ven == VTN


@dataclass(frozen=True, slots=True)
class Transcript:
    """A dialogue that was played: its exchanges in order, and by name what else the checks need.

    `facts` are JSON: ids, what the operator ordered, what it read, and what it could not do. A dialogue that broke
    off says why in `broke`; what it has is judged all the same.
    """

    dialogue: str
    exchanges: tuple[Exchange, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    broke: str = ""

    def __iter__(self) -> Iterator[Exchange]:
        """Go through the exchanges, oldest first."""
        return iter(self.exchanges)

    def machine_time(self, exchange: Exchange) -> datetime:
        """Return when an exchange was by the clock of the kit's machine, by which signatures are made (SE-10)."""
        clock = self.facts["clock"]
        since = exchange.at - datetime.fromisoformat(clock["world"])
        return datetime.fromisoformat(clock["machine"]) + since / float(clock["speed"])

    def steps(self, prefix: str) -> tuple[Exchange, ...]:
        """Return the exchanges whose step has this name, or this name before a colon."""
        return tuple(each for each in self.exchanges if each.step.partition(":")[0] == prefix or each.step == prefix)
