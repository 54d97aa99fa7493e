"""Tariffs as the operator API writes them."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from aggregator.tariff.price_mapping import Mapping
from aggregator.tariff.price_series import MOST_INTERVALS
from aggregator.tariff.tariff_source import TariffSource
from core.errors import InvalidError
from core.spans import Duration, utc
from vtn.api.fields import Printable
from web.model import Day, IsoDuration, Model, UtcTime

Amount = Annotated[str, Field(pattern=r"^-?[0-9]{1,7}(\.[0-9]{1,8})?$", examples=["0.2815"])]
"""A price per kWh as a decimal string, in the tariff's currency."""
Pointer = Annotated[str, Field(max_length=200, pattern=r"^(/[^/]*)*$", examples=["/data"])]
"""A place in JSON (RFC 6901)."""
Word = Annotated[Printable, Field(min_length=1, max_length=100)]


class NewTariffIn(Model):
    """A tariff to create."""

    kind: Literal["network", "electricity"]
    name: Annotated[Printable, Field(min_length=1, max_length=120)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    """ISO 4217."""
    vat_included: bool
    area: Annotated[Printable, Field(min_length=1, max_length=80)] | None = None
    """Only for sites in this area; null: everywhere."""
    programme_id: Annotated[str, Field(max_length=80)] | None = None
    """Only for VENs in this programme; null: for all."""


class TariffVersion(Model):
    """One version of a tariff's prices, without them."""

    version: int
    start: UtcTime
    end: UtcTime
    whole: bool
    """Whether it replaced the whole series, or only its own span."""
    source: str
    """rest, brp, fetch or console."""
    created_at: UtcTime
    created_by: str


class TariffSourceState(Model):
    """How fetching a tariff's prices goes. The times are real time."""

    host: str
    every: IsoDuration
    due_at: UtcTime
    """When it is asked next."""
    last_at: UtcTime | None
    """When it was asked last."""
    last_error: str | None
    """Why the last answer was not taken; null: it was."""


class TariffOut(Model):
    """A tariff."""

    id: str
    kind: str
    name: str
    area: str | None
    programme_id: str | None
    currency: str
    vat_included: bool
    created_at: UtcTime
    retired_at: UtcTime | None
    newest: TariffVersion | None
    """null: it has no prices."""
    source: TariffSourceState | None
    """null: its prices are not fetched."""


class PriceIn(Model):
    """A price: until `end`, or for `duration`; one of the two. Both edges lie on whole minutes."""

    start: UtcTime
    end: UtcTime | None = None
    duration: IsoDuration | None = None
    per_kwh: Amount

    def until(self) -> datetime:
        """Return where it ends. Raises InvalidError."""
        if (self.end is None) == (self.duration is None):
            raise InvalidError("A price has an end or a duration, not both.")
        return utc(self.end if self.duration is None else self.duration.after(self.start))  # type: ignore[arg-type]


class NewPrices(Model):
    """Prices to put: in order, without gaps."""

    prices: Annotated[list[PriceIn], Field(min_length=1, max_length=MOST_INTERVALS)]
    extend: bool = False
    """Only the span of these prices changes; otherwise they replace the whole series."""


class PriceOut(Model):
    """A price in a half-open span."""

    start: UtcTime
    end: UtcTime
    per_kwh: str


class TariffPrices(Model):
    """Prices of a tariff; `version` is the newest that counts here (0: none)."""

    tariff_id: str
    version: int
    currency: str
    vat_included: bool
    prices: list[PriceOut]


class PriceMapping(Model):
    """Where prices lie in a JSON document, and what its numbers mean."""

    layout: Literal["rows", "columns"] = "rows"
    """rows: a list of items. columns: lists of equal length, one for starts, one for values."""
    items: Pointer = ""
    """rows: where the list is; empty: the document is the list."""
    start: Pointer
    """In an item; in columns: where the list of starts is."""
    value: Pointer
    end: Pointer | None = None
    duration: Pointer | None = None
    """ISO 8601 text, or seconds."""
    step: IsoDuration | None = None
    """Each lasts so long. Without end, duration and step: until the next one begins."""
    times: Annotated[Printable, Field(min_length=1, max_length=100)] = "iso"
    """iso, unix_s, unix_ms, or a pattern of strptime."""
    time_zone: Annotated[Printable, Field(max_length=64)] | None = None
    """IANA time zone of times that name none."""
    factor: Annotated[str, Field(pattern=r"^[0-9]{1,9}(\.[0-9]{1,12})?$")] = "1"
    """Price per kWh = value x factor; 0.001 for prices per MWh."""
    lowest: Amount = "-10"
    """A price below this is an error."""
    highest: Amount = "10"
    headers: Annotated[dict[Word, Word], Field(max_length=5)] = Field(default_factory=dict)
    """Header -> environment variable of the server (EVENLOAD_TARIFF_...) that holds its text."""

    def mapping(self) -> Mapping:
        """Return the mapping."""
        return Mapping(**{name: getattr(self, name) for name in type(self).model_fields})


class NewSource(Model):
    """Where to fetch prices, how to read them, how often."""

    url: Annotated[str, Field(min_length=1, max_length=2000, examples=["https://example.com/prices?from={today}"])]
    """{yesterday}, {today} and {tomorrow} become dates."""
    mapping: PriceMapping
    every: IsoDuration = Duration.of(hours=1)
    """A minute to 31 days, real time."""


class TariffSourceOut(Model):
    """Where a tariff's prices are fetched. The times are real time."""

    url: str
    mapping: PriceMapping
    every: IsoDuration
    due_at: UtcTime
    last_at: UtcTime | None
    last_error: str | None

    @classmethod
    def of(cls, source: TariffSource) -> Self:
        """Return a source as the API shows it."""
        mapping = {name: getattr(source.mapping, name) for name in PriceMapping.model_fields}
        return cls(
            url=source.url,
            mapping=PriceMapping(**(mapping | {"headers": dict(source.mapping.headers)})),
            every=Duration.of(seconds=source.every_s),
            due_at=source.due_at,
            last_at=source.last_at,
            last_error=source.last_error,
        )


class PriceSignalSwitch(Model):
    """Whether prices go to the VENs."""

    enabled: bool


class PriceSignalDay(Model):
    """A day's prices for the VENs of some areas that have the same tariffs."""

    day: Day
    """In the programme's time zone."""
    areas: list[str]
    """An empty name stands for sites without area."""
    network_id: str | None
    electricity_id: str | None
    known_until: UtcTime | None
    """null: no price of the rest of the day is known."""
    dispatch_ids: list[str]
    """The dispatches that carry them."""
    remark: str | None


class PriceSignals(Model):
    """How prices go to a programme's VENs."""

    enabled: bool
    days: list[PriceSignalDay]


class HouseholdTariff(Model):
    """A tariff that a household has."""

    id: str
    kind: str
    name: str
    currency: str
    vat_included: bool
    version: int
    """The newest version of its prices; 0: none."""
    current: PriceOut | None
    """The price that holds now, as far as the span goes."""
    next: PriceOut | None
    """The price that follows."""
    prices: list[PriceOut]


class HouseholdTotal(Model):
    """Network and electricity together."""

    programme_id: str | None
    """The programme whose tariffs these are; null: the household is in none."""
    network_id: str
    electricity_id: str
    currency: str | None
    vat_included: bool | None
    prices: list[PriceOut] | None
    """null: they cannot be added, for currency or VAT differ."""


class HouseholdOut(Model):
    """The tariffs of a household at one VEN."""

    ven_id: str
    area: str | None
    tariffs: list[HouseholdTariff]
    totals: list[HouseholdTotal]
