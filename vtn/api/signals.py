"""Signals and baselines as the operator API writes them: units as people write them, not as itemBase elements."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

from pydantic import Field

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.signal import Baseline, Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ItemBase, PowerAttributes
from vtn.api.fields import Number, Printable
from web.model import IsoDuration, Model, UtcTime

_SCALES: Final = {"": "none", "k": "k", "M": "M"}
_POWERS: Final = {
    "W": ("powerReal", "RealPower", "W"),
    "VA": ("powerApparent", "ApparentPower", "VA"),
    "var": ("powerReactive", "ReactivePower", "VAR"),
}
_ENERGIES: Final = {
    "Wh": ("energyReal", "RealEnergy", "Wh"),
    "VAh": ("energyApparent", "ApparentEnergy", "VAh"),
    "varh": ("energyReactive", "ReactiveEnergy", "VARh"),
}
_UNITS: Final[dict[str, ItemBase]] = {
    prefix + unit: ItemBase(*names, scale, PowerAttributes() if unit in _POWERS else None)
    for unit, names in (_POWERS | _ENERGIES).items()
    for prefix, scale in _SCALES.items()
}
_CURRENCIES: Final = {"/kWh": "currencyPerKWh", "/kW": "currencyPerKW", "": "currency"}
_CODE: Final = re.compile(r"([A-Z]{3})(/kWh|/kW|)")


class IntervalIn(Model):
    """One interval of a signal."""

    duration: IsoDuration
    """How long it lasts; zero in an open-ended event."""
    value: Number
    """The signal's value, in its unit."""


class SignalIn(Model):
    """A signal of an event."""

    name: Annotated[Printable, Field(min_length=1, max_length=80)]
    """signalName, such as LOAD_DISPATCH, SIMPLE, ELECTRICITY_PRICE."""
    type: Annotated[Printable, Field(min_length=1, max_length=80)]
    """signalType, such as delta, level, price."""
    unit: Annotated[str, Field(max_length=20)] | None = None
    """W, VA, var, Wh, VAh, varh (also with k or M before), or a currency: EUR/kWh, EUR/kW, EUR; none for levels and
    multipliers."""
    id: Annotated[Printable, Field(min_length=1, max_length=80)] | None = None
    """signalID; the lower-case name if left out."""
    device_classes: list[Annotated[Printable, Field(min_length=1, max_length=80)]] = Field(
        default_factory=list, max_length=20
    )
    """End-device classes that the signal is for."""
    intervals: Annotated[list[IntervalIn], Field(min_length=1, max_length=3000)]
    """The intervals, in order; together they last as long as the event."""

    def value(self) -> Signal:
        """Return the signal. Raises InvalidError for an unknown unit."""
        return Signal(
            self.name,
            self.type,
            self.id or self.name.lower(),
            tuple(Interval(one.duration, one.value) for one in self.intervals),
            _item_base(self.unit),
            Target(device_classes=tuple(self.device_classes)),
        )


class BaselineIn(Model):
    """What would be used without the event (eiEventBaseline). VENs show it, and do nothing by it."""

    id: Annotated[Printable, Field(min_length=1, max_length=80)] = "baseline"
    """baselineID; another than those of the signals."""
    name: Annotated[Printable, Field(min_length=1, max_length=80)] = "baseline"
    start: UtcTime | None = None
    """When its first interval begins; the start of the event if left out. It stays when the event is moved."""
    unit: Annotated[str, Field(max_length=20)] | None = None
    """As a signal's."""
    resource_ids: Annotated[list[Annotated[Printable, Field(min_length=1, max_length=200)]], Field(max_length=100)] = (
        Field(default_factory=list)
    )
    """The resources whose sum it is; without any, all of the VEN."""
    intervals: Annotated[list[IntervalIn], Field(min_length=1, max_length=3000)]

    def value(self, event_start: datetime) -> Baseline:
        """Return the baseline of an event with that start. Raises InvalidError for an unknown unit."""
        intervals = tuple(Interval(one.duration, one.value) for one in self.intervals)
        start, lasts = self.start or event_start, length_of(intervals)
        return Baseline(start, lasts, intervals, self.id, self.name, tuple(self.resource_ids), _item_base(self.unit))

    @classmethod
    def shown(cls, baseline: Baseline) -> "BaselineIn":
        """Return a baseline as the API shows it."""
        return cls.model_construct(
            id=baseline.baseline_id,
            name=baseline.name,
            start=baseline.start,
            unit=unit_of(baseline),
            resource_ids=list(baseline.resource_ids),
            intervals=_intervals(baseline.intervals),
        )


def _item_base(unit: str | None) -> ItemBase | None:
    if unit is None:
        return None
    if unit in _UNITS:
        return _UNITS[unit]
    if (money := _CODE.fullmatch(unit)) is not None:
        name = _CURRENCIES[money[2]]
        return ItemBase(name, name, money[1])
    raise InvalidError(f"Unknown unit '{unit}'; use {', '.join(_UNITS)}, or a currency such as EUR/kWh, EUR/kW, EUR.")


def unit_of(quantity: Signal | Baseline) -> str | None:
    """Return the unit of a signal or baseline as `SignalIn` writes it."""
    base = quantity.item_base
    if base is None:
        return None
    per = next((suffix for suffix, name in _CURRENCIES.items() if name == base.name), None)
    if per is not None:
        return base.units + per
    return next((unit for unit, known in _UNITS.items() if known == base), base.units)


def shown(signals: Sequence[Signal]) -> list[SignalIn]:
    """Return signals as the API shows them."""
    return [
        SignalIn.model_construct(
            name=one.name,
            type=one.type,
            unit=unit_of(one),
            id=one.signal_id,
            device_classes=list(one.target.device_classes),
            intervals=_intervals(one.intervals),
        )
        for one in signals
    ]


def _intervals(intervals: Sequence[Interval]) -> list[IntervalIn]:
    return [IntervalIn(duration=part.duration, value=part.value) for part in intervals]


def whole(signals: Sequence[Signal]) -> Duration:
    """Return how long the first signal lasts in all."""
    return length_of(signals[0].intervals)


def length_of(intervals: Sequence[Interval]) -> Duration:
    """Return how long intervals last in all."""
    return Duration(sum(one.duration.months for one in intervals), sum(one.duration.seconds for one in intervals))
