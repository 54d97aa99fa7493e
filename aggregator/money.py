"""Money: decimal strings in and out, never floats; rounded once, to the currency's smallest unit, half to even."""

import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from core.errors import InvalidError

_AMOUNT: Final = re.compile(r"-?\d{1,12}(\.\d{1,8})?", re.ASCII)
_DECIMALS: Final = {"CLP": 0, "ISK": 0, "JPY": 0, "KRW": 0, "PYG": 0, "UGX": 0, "VND": 0, "XAF": 0, "XOF": 0, "XPF": 0}
_DECIMALS_OF_DINARS: Final = dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
_USUAL_DECIMALS: Final = 2
"""ISO 4217, minor units."""
_PER_KWH: Final = Decimal("0.000001")


def amount(text: str, name: str, *, negative: bool = False) -> Decimal:
    """Read a decimal string such as `0.25`. Raises InvalidError that names it; by default also below zero."""
    if not _AMOUNT.fullmatch(text):
        raise InvalidError(f"{name} is a decimal string such as 0.25, with at most 8 decimals.")
    value = Decimal(text)
    if value < 0 and not negative:
        raise InvalidError(f"{name} is not negative.")
    return value


def rounded(value: Decimal, currency: str) -> str:
    """Return an amount of money as a decimal string in the currency's smallest unit, half to even (ISO 4217)."""
    decimals = (_DECIMALS | _DECIMALS_OF_DINARS).get(currency, _USUAL_DECIMALS)
    return format(value.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN) + 0, "f")


def unit_price(value: Decimal) -> str:
    """Return a price per kWh as a decimal string: at most 6 decimals, no trailing zeros."""
    text = format(value.quantize(_PER_KWH, ROUND_HALF_EVEN) + 0, "f")
    return text.rstrip("0").rstrip(".") or "0"


def of_energy(energy_wh: int | Decimal, per_kwh: Decimal) -> Decimal:
    """Return what an energy costs at a price per kWh, not rounded."""
    return Decimal(energy_wh) * per_kwh / 1000
