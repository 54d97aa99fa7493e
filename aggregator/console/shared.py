"""What several pages need: local times in forms, parts of forms, pages of lists, powers as people type them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, TypeVar
from zoneinfo import ZoneInfo

from lxml import etree
from pydantic import BaseModel, BeforeValidator, Field

from aggregator.flexibility.fleet import Reason
from core.errors import InvalidError
from openadr.v20b.encode import encode
from openadr.v20b.messages import Message
from vtn.console import ConsoleRequest, Form
from vtn.services.programme import Programme
from web.pages.translations import gettext as _
from web.pagination import Keyset

M = TypeVar("M", bound=BaseModel)
R = TypeVar("R")

PER_PAGE: Final = 50
_LOCAL: Final = re.compile(r"(19[7-9]\d|20\d\d|21\d\d)-\d\d-\d\dT\d\d:\d\d(:00)?", re.ASCII)
_MOST_KW: Final = Decimal(2_000_000)


def _local_time(value: object) -> datetime:
    text = str(value).strip().replace(" ", "T")
    if not _LOCAL.fullmatch(text):
        raise ValueError(_("Enter a local time such as 2026-01-31 17:30."))
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(_("There is no such day or time.")) from None


LocalTime = Annotated[datetime, BeforeValidator(_local_time)]
"""A time as `datetime-local` fields send it, without zone; `in_utc` gives it its meaning."""


def in_utc(when: datetime, zone: tzinfo) -> datetime:
    """Return a local time as UTC; of an hour that comes twice the first one. Raises InvalidError for one left out."""
    found = when.replace(tzinfo=zone).astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) != when:
        raise InvalidError(_("This time doesn't exist: clocks are set forward over it."))
    return found


def local_text(when: datetime | None, zone: tzinfo) -> str:
    """Return a time as a `datetime-local` field wants it."""
    return "" if when is None else when.astimezone(zone).strftime("%Y-%m-%dT%H:%M")


def _kilowatts(value: object) -> Decimal:
    text = str(value).strip().replace(",", ".")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(_("Enter a number of kW, such as 12.5.")) from None
    if not number.is_finite() or not 0 < number <= _MOST_KW:
        raise ValueError(_("Enter a power above 0 and up to 2,000,000 kW."))
    if number != number.quantize(Decimal("0.001")):
        raise ValueError(_("Enter at most three decimals: whole watts."))
    return number


Kilowatts = Annotated[Decimal, BeforeValidator(_kilowatts)]
"""A power above zero in kW, to the watt; a decimal comma is understood."""

TONES: Final[Mapping[str, str]] = {
    Reason.CALLED: "good",
    Reason.RESERVE: "info",
    Reason.CHEAPER: "quiet",
    Reason.TURN: "quiet",
    Reason.OFFLINE: "bad",
    Reason.STALE: "warn",
    Reason.NO_POTENTIAL: "quiet",
    Reason.UNMEASURED: "warn",
    Reason.OUTSIDE_WINDOW: "warn",
    Reason.LIMIT: "warn",
    Reason.RESTING: "warn",
    Reason.OPTED_OUT: "warn",
    Reason.BUSY: "warn",
    Reason.FEEDER_CAP: "warn",
    Reason.CONTROL: "quiet",
}
"""How the chips of reasons look."""

Id = Annotated[str, Field(min_length=1, max_length=80)]
Words = Annotated[str, Field(max_length=500)]


def watts(kilowatts: Decimal) -> int:
    """Return whole watts."""
    return int(kilowatts * 1000)


def kilowatt_text(power_w: float) -> str:
    """Return watts as kW for a field, without needless zeros."""
    text = f"{Decimal(round(power_w)) / 1000:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def part(form: Form, kind: type[M], **defaults: str) -> M:
    """Read those fields of a form that a model has; what is wrong is noted in the form. Raises like `Form.read`."""
    names = [name for name in form.names() if name.removesuffix("[]").partition(".")[0] in kind.model_fields]
    typed = {name: list(form.values(name)) for name in names}
    for name, text in defaults.items():
        typed.setdefault(name, [text])
    some = Form(typed)
    try:
        return some.read(kind)
    finally:
        for name, text in some.errors.items():
            form.errors.setdefault(name, text)


def with_defaults(form: Form, **defaults: object) -> Form:
    """Return a form in which fields that were never typed have a value."""
    typed = {name: list(form.values(name)) for name in form.names()}
    for name, value in defaults.items():
        if value is not None:
            typed.setdefault(name, [str(value)])
    filled = Form(typed, form.action)
    filled.errors = form.errors
    return filled


def zone_of(programme: Programme) -> ZoneInfo:
    """Return the time zone of a programme."""
    return ZoneInfo(programme.parameters.time_zone)


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list that runs from new to old ids."""

    keys: Keyset

    def before(self, request: ConsoleRequest) -> str | None:
        """Return the id that the page starts after. Raises InvalidError for another listing's cursor."""
        found = self.keys.decode(request.query.get("cursor"))
        return None if found is None else str(found[0])

    def page(self, rows: Sequence[R], key: Callable[[R], str]) -> tuple[list[R], str | None]:
        """Return up to PER_PAGE rows and the cursor of the next page, or None."""
        shown = list(rows[:PER_PAGE])
        return shown, self.keys.encode(key(shown[-1])) if len(rows) > PER_PAGE else None


def listing(name: str) -> Listing:
    """Return the order of a list by id."""
    return Listing(Keyset(f"console-{name}", str))


def pretty(message: Message) -> str:
    """Return a message as the wire has it, indented for people."""
    parser = etree.XMLParser(remove_blank_text=True, resolve_entities=False, no_network=True)
    tree = etree.fromstring(encode(message), parser)
    return str(etree.tostring(tree, pretty_print=True, encoding="unicode"))
