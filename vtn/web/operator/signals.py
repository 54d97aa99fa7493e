"""Signals as the operator API writes them: units as people write them, not as itemBase elements."""

from collections.abc import Sequence
from typing import Annotated, Final

from pydantic import Field

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W, ItemBase, PowerAttributes, currency_per_kwh
from vtn.web.model import IsoDuration, Model
from vtn.web.operator.wire import Number, Printable

_UNITS: Final[dict[str, ItemBase]] = {
    "W": POWER_REAL_W,
    "kW": ItemBase("powerReal", "RealPower", "W", "k", PowerAttributes()),
    "MW": ItemBase("powerReal", "RealPower", "W", "M", PowerAttributes()),
    "Wh": ENERGY_REAL_WH,
    "kWh": ItemBase("energyReal", "RealEnergy", "Wh", "k"),
}
_PER_KWH = "/kWh"
_CODE_LENGTH = 3


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
    """W, kW, MW, Wh, kWh, or a currency per energy such as EUR/kWh; none for levels and multipliers."""
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


def _item_base(unit: str | None) -> ItemBase | None:
    if unit is None:
        return None
    if unit in _UNITS:
        return _UNITS[unit]
    currency = unit.removesuffix(_PER_KWH)
    if unit.endswith(_PER_KWH) and len(currency) == _CODE_LENGTH and currency.isascii() and currency.isupper():
        return currency_per_kwh(currency)
    raise InvalidError(f"Unknown unit '{unit}'; use {', '.join(_UNITS)} or a currency such as EUR/kWh.")


def unit_of(signal: Signal) -> str | None:
    """Return a signal's unit as `SignalIn` writes it."""
    base = signal.item_base
    if base is None:
        return None
    if base.name == "currencyPerKWh":
        return base.units + _PER_KWH
    return f"{'' if base.scale == 'none' else base.scale}{base.units}"


def shown(signals: Sequence[Signal]) -> list[SignalIn]:
    """Return signals as the API shows them."""
    return [
        SignalIn.model_construct(
            name=one.name,
            type=one.type,
            unit=unit_of(one),
            id=one.signal_id,
            device_classes=list(one.target.device_classes),
            intervals=[IntervalIn(duration=part.duration, value=part.value) for part in one.intervals],
        )
        for one in signals
    ]


def whole(signals: Sequence[Signal]) -> Duration:
    """Return how long the first signal lasts in all."""
    parts = signals[0].intervals
    return Duration(sum(one.duration.months for one in parts), sum(one.duration.seconds for one in parts))
