"""How the kit reads what a VTN sent: the official schema, XPath, times, durations. It shares nothing with a codec."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from lxml import etree

from conformance.exchange import Answer, Exchange, Transcript
from conformance.templates import NAMESPACES, OF_2_0_A
from conformance.verdict import Failed
from core.errors import UnavailableError

_LARGEST: Final = 16 << 20
OK: Final = 200
"""As an HTTP status, and as a responseCode."""
INVALID_ID: Final = 452
NOT_REGISTERED: Final = 463
_DATE_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?Z")
_DURATION: Final = re.compile(
    r"(?P<sign>[+-]?)P(?:(?P<years>\d{1,9})Y)?(?:(?P<months>\d{1,9})M)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?"
)
_LENGTHS_S: Final = {"years": 31_536_000, "months": 2_592_000, "days": 86_400, "hours": 3600, "minutes": 60}


@cache
def _schema() -> etree.XMLSchema:
    """Return the compiled schema, which comes with the Python package openleadr. Raises UnavailableError."""
    spec = find_spec("openleadr")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / "schema" / "oadr_20b.xsd"
        if path.is_file():
            return etree.XMLSchema(file=str(path))
    raise UnavailableError("The OpenADR 2.0b schema is missing. Install it with: pip install openleadr==0.5.36")


def schema_fault(root: Any) -> str:
    """Return what the official 2.0b schema finds wrong first, or nothing (GN-01)."""
    schema = _schema()
    try:
        if schema.validate(root):
            return ""
    except etree.XMLSchemaValidateError as error:
        return str(error)
    first = next(iter(schema.error_log), None)
    return "it does not match the schema" if first is None else re.sub(r"\{[^{}']*\}", "", first.message)[:300]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed message. XPath prefixes are those of `templates.NAMESPACES`."""

    root: Any

    @property
    def message(self) -> Any:
        """The element of the message itself; the root where there is no envelope."""
        inner = self.root.find("oadr:oadrSignedObject/*", NAMESPACES)
        return self.root if inner is None else inner

    @property
    def name(self) -> str:
        """The message's local name, such as oadrResponse."""
        return str(etree.QName(self.message).localname)

    def all(self, path: str) -> list[Any]:
        """Return what an XPath yields, from the message on."""
        return list(self.message.xpath(path, namespaces=NAMESPACES))

    def texts(self, path: str) -> list[str]:
        """Return the texts of the elements (or attributes) that an XPath yields."""
        return [each if isinstance(each, str) else (each.text or "") for each in self.all(path)]

    def text(self, path: str) -> str | None:
        """Return the text of the first of them, None without any."""
        return next(iter(self.texts(path)), None)

    @property
    def code(self) -> int | None:
        """The responseCode of eiResponse."""
        text = self.text("descendant-or-self::*/ei:eiResponse/ei:responseCode")
        return int(text) if text is not None and text.strip().isdigit() else None

    @property
    def events(self) -> list["Document"]:
        """The eiEvents of an oadrDistributeEvent, of 2.0b or 2.0a, in order."""
        return [Document(each) for each in self.all("*[local-name() = 'oadrEvent']")]

    @property
    def event_id(self) -> str:
        """The eventID of one of `events`."""
        return self.text(".//ei:eventDescriptor/ei:eventID") or ""

    @property
    def modification(self) -> int:
        """The modificationNumber of one of `events`; -1 if it is no number."""
        text = self.text(".//ei:eventDescriptor/ei:modificationNumber") or ""
        return int(text) if text.isdigit() else -1


def parse(body: bytes) -> Document:
    """Read a message: no DOCTYPE, no entities, no network, bounded. Raises ValueError, which says why."""
    if len(body) > _LARGEST:
        raise ValueError("it is too large")
    if b"<!DOCTYPE" in body[:4096]:
        raise ValueError("it has a DOCTYPE")
    try:
        return Document(etree.fromstring(body, etree.XMLParser(resolve_entities=False, no_network=True)))
    except etree.XMLSyntaxError as error:
        raise ValueError(f"it is no XML: {error}") from error


def is_openadr(reply: Answer) -> bool:
    """Tell whether an answer is an OpenADR message, be it a bad one, of another namespace, or of 2.0a."""
    try:
        name = etree.QName(parse(reply.content).root)
    except ValueError:
        return False
    return str(name.localname) == "oadrPayload" or name.namespace == OF_2_0_A


def said(exchange: Exchange) -> Answer | None:
    """Return what the VTN said in an exchange: its answer, or what it pushed, as if that were an answer with 200."""
    if exchange.is_push:
        return Answer(OK, exchange.request.headers, exchange.request.body)
    return exchange.answer


def answer(exchange: Exchange, *names: str) -> Document:
    """Return an OpenADR answer with HTTP 200, of one of these names if any are given. Raises Failed.

    What was pushed is read like an answer.
    """
    reply = said(exchange)
    if reply is None:
        raise Failed(f"{exchange.step}: {exchange.trouble}", exchange)
    if reply.status != OK:
        raise Failed(f"{exchange.step}: HTTP {reply.status} in place of 200", exchange)
    try:
        document = parse(reply.content)
    except ValueError as error:
        raise Failed(f"{exchange.step}: the answer cannot be read: {error}", exchange) from error
    if names and document.name not in names:
        raise Failed(f"{exchange.step}: {document.name} in place of {' or '.join(names)}", exchange)
    return document


def accepted(exchange: Exchange, *names: str) -> Document:
    """Return an answer that says 200. Raises Failed."""
    document = answer(exchange, *names)
    if document.code != OK:
        raise Failed(f"{exchange.step}: responseCode {document.code} in place of 200", exchange)
    return document


def is_error(code: int | None) -> bool:
    """Whether a responseCode is an application error."""
    return code is not None and 400 <= code <= 499  # noqa: PLR2004


def refused(exchange: Exchange, *names: str, code: int | None = None) -> Document:
    """Return an answer with an application error: exactly `code`, or any 4xx. Raises Failed."""
    document = answer(exchange, *names)
    got = document.code
    if got != code if code is not None else not is_error(got):
        raise Failed(f"{exchange.step}: responseCode {got} in place of {code or '4xx'}", exchange)
    return document


def readable(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    """Yield what the VTN said on HTTP 200, as far as it can be read: that the rest cannot is for GN-01 to judge."""
    for exchange in transcript:
        reply = said(exchange)
        if reply is not None and reply.status == OK and reply.body:
            try:
                document = parse(reply.content)
            except ValueError:
                continue
            yield exchange, document


def status(exchange: Exchange, *wanted: int) -> None:
    """Raise Failed unless the HTTP status is one of these."""
    got = exchange.answer.status if exchange.answer is not None else exchange.trouble
    if got not in wanted:
        raise Failed(f"{exchange.step}: HTTP {got} in place of {' or '.join(map(str, wanted))}", exchange)


def request(exchange: Exchange) -> Document:
    """Return the kit's own request. Raises ValueError for one that was spoiled on purpose."""
    return parse(exchange.request.body)


def is_date_time(text: str) -> bool:
    """Whether it is UTC with a literal Z (GN-04)."""
    return _DATE_TIME.fullmatch(text) is not None


def date_time(text: str | None) -> datetime:
    """Read a date-time. Raises Failed."""
    try:
        return datetime.fromisoformat(text or "").astimezone(UTC)
    except (ValueError, OverflowError):
        raise Failed(f"'{text}' is no date-time") from None


def is_duration(text: str) -> bool:
    """Whether it is an ISO 8601 duration without weeks and fractions (GN-05)."""
    match = _DURATION.fullmatch(text)
    return match is not None and any(value for name, value in match.groupdict().items() if name != "sign")


def seconds(text: str | None) -> int:
    """Return how long a duration lasts, with months of 30 days. Raises Failed."""
    match = _DURATION.fullmatch(text or "")
    if match is None:
        raise Failed(f"'{text}' is no duration")
    parts = match.groupdict()
    length = sum(int(parts[name] or 0) * size for name, size in (_LENGTHS_S | {"seconds": 1}).items())
    return -length if parts["sign"] == "-" else length


def after(at: datetime, length_s: float) -> datetime:
    """Return the time that is so many seconds later. Raises Failed where the calendar ends before."""
    try:
        return at + timedelta(seconds=length_s)
    except OverflowError:
        raise Failed(f"what begins at {at} and lasts {length_s} s has no end in the calendar") from None


def duration_at(document: Document, path: str) -> int | None:
    """Return the seconds of the first duration at a path, None without any. Raises Failed."""
    text = document.text(path)
    return None if text is None else seconds(text)
