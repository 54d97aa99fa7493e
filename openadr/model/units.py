"""The itemBase of signals and reports: what is measured, in which unit, at which scale."""

from dataclasses import dataclass

from core.errors import InvalidError

SCALES: dict[str, float] = {
    "p": 1e-12, "n": 1e-9, "micro": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1, "none": 1.0,
    "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
}  # fmt: skip
"""siScaleCode to factor."""


@dataclass(frozen=True, slots=True)
class PowerAttributes:
    """The powerAttributes of a power itemBase: frequency in Hz, voltage in V, alternating current or not."""

    hertz: float = 50.0
    voltage: float = 230.0
    ac: bool = True


@dataclass(frozen=True, slots=True)
class ItemBase:
    """An itemBase element.

    `name` is its element's local name (powerReal, energyReal, currencyPerKWh, temperature, pulseCount, customUnit...),
    `description` and `units` its itemDescription and itemUnits, `scale` its siScaleCode. `power` is set on powers only;
    `pulse_factor` on pulseCount only.
    """

    name: str
    description: str
    units: str
    scale: str = "none"
    power: PowerAttributes | None = None
    pulse_factor: float | None = None

    @property
    def factor(self) -> float:
        """What to multiply a value by to get it in the bare unit. Raises InvalidError for an unknown scale."""
        try:
            return SCALES[self.scale]
        except KeyError:
            raise InvalidError(f"'{self.scale}' is no SI scale code.") from None


POWER_REAL_W = ItemBase("powerReal", "RealPower", "W", power=PowerAttributes())
ENERGY_REAL_WH = ItemBase("energyReal", "RealEnergy", "Wh")


def currency_per_kwh(currency: str) -> ItemBase:
    """Return the unit of an energy price, for an ISO 4217 code."""
    return ItemBase("currencyPerKWh", "currencyPerKWh", currency)
