"""Tariffs as people type them: prices pasted as lines, a mapping as fields."""

import csv
import io
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from aggregator.api.tariff_models import PriceMapping
from aggregator.console.shared import Words, in_utc
from aggregator.tariff.price_series import MOST_INTERVALS, Price
from core.errors import InvalidError
from core.spans import Duration
from vtn.api.fields import Printable
from web.model import IsoDuration, Model
from web.pages.translations import gettext as _


class TariffForm(Model):
    """A tariff to create."""

    kind: Literal["network", "electricity"]
    name: Annotated[Printable, Field(min_length=1, max_length=120)]
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    vat_included: bool = False
    area: Annotated[Printable, Field(min_length=1, max_length=80)] | None = None
    programme_id: Annotated[str, Field(max_length=80)] | None = None


class PricesForm(Model):
    """A version to put. `version`: the one that the writer has seen."""

    prices: Annotated[str, Field(max_length=900_000)]
    extend: bool = False
    version: Annotated[int, Field(ge=0)]


class SourceForm(Model):
    """Where to fetch prices. The names are those of `PriceMapping`; a blank one has no place in the document."""

    url: Annotated[str, Field(max_length=2000)]
    every: IsoDuration
    layout: Literal["rows", "columns"] = "rows"
    items: Words = ""
    start: Words
    value: Words
    end: Words | None = None
    duration: Words | None = None
    step: IsoDuration | None = None
    times: Words = "iso"
    time_zone: Words | None = None
    factor: Words = "1"
    lowest: Words = "-10"
    highest: Words = "10"
    headers: Annotated[str, Field(max_length=1000)] = ""

    def mapping(self) -> PriceMapping:
        """Return the mapping. Raises InvalidError that names the field."""
        names = ("layout", "items", "start", "value", "end", "duration", "step", "times", "time_zone", "factor")
        fields = {name: getattr(self, name) for name in (*names, "lowest", "highest")}
        headers = {}
        for line in filter(None, (one.strip() for one in self.headers.splitlines())):
            name, colon, variable = line.partition(":")
            if not colon:
                raise InvalidError(
                    _("Enter one header per line, such as Authorization: EVENLOAD_TARIFF_KEY."), field="headers"
                )
            headers[name.strip()] = variable.strip()
        try:
            return PriceMapping(**fields, headers=headers)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidError(f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}") from error


def read_prices(text: str, zone: tzinfo) -> list[Price]:
    """Return prices out of lines `start, end or duration, price`; a decimal point, commas, semicolons or tabs between.

    Times without a zone are local to `zone`. Lines that do not begin with a digit are passed over.
    Without an end each lasts until the next begins, the last one as long as the one before. Raises InvalidError.
    """
    rows = list(_rows(text))
    if not rows:
        raise InvalidError(_("No line has a time and a price."), field="prices")
    if len(rows) > MOST_INTERVALS:
        raise InvalidError(_("Enter at most %(most)s lines.", most=MOST_INTERVALS), field="prices")
    starts = [_time(row[0], number, zone) for number, row in rows]
    prices = []
    for place, (number, row) in enumerate(rows):
        if len(row) > 2:  # noqa: PLR2004  start, end, price
            end = _end(row[1], starts[place], number, zone)
        elif place + 1 < len(starts):
            end = starts[place + 1]
        elif place:
            end = starts[place] + (starts[place] - starts[place - 1])
        else:
            raise InvalidError(
                _("Line %(number)s: a single price needs an end or a duration.", number=number), field="prices"
            )
        prices.append(Price(starts[place], end, row[-1]))
    return prices


def _rows(text: str) -> list[tuple[int, list[str]]]:
    sample = text[:2000]
    delimiter = max(";\t,", key=lambda row: (sample.count(row) > 0, ";\t,".index(row) == 0, sample.count(row)))
    found = []
    for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=delimiter), start=1):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells or not cells[0][:1].isdecimal():
            continue
        if not 2 <= len(cells) <= 3:  # noqa: PLR2004  start, end, price
            raise InvalidError(
                _("Line %(number)s: enter start, end or duration, and price.", number=number), field="prices"
            )
        if delimiter != ",":
            cells[-1] = cells[-1].replace(",", ".")
        found.append((number, cells))
    return found


def _time(text: str, number: int, zone: tzinfo) -> datetime:
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo is not None else in_utc(when, zone)
    except (ValueError, OverflowError):
        raise InvalidError(
            _("Line %(number)s: %(text)s is not a time such as 2026-01-31T12:00Z.", number=number, text=text[:40]),
            field="prices",
        ) from None
    except InvalidError as error:
        raise InvalidError(_("Line %(number)s: %(fault)s", number=number, fault=error), field="prices") from error


def _end(text: str, start: datetime, number: int, zone: tzinfo) -> datetime:
    if not text.upper().startswith("P"):
        return _time(text, number, zone)
    try:
        return Duration.parse(text.upper()).after(start)
    except InvalidError as error:
        raise InvalidError(_("Line %(number)s: %(fault)s", number=number, fault=error), field="prices") from error
