"""Values that several resources of the BRP API share: powers, directions, money, contracts."""

from typing import Annotated, Any, TypeVar

from pydantic import Field

from aggregator.intervals import PowerInterval
from aggregator.trade import contracts
from core.direction import Direction
from web.model import Model, UtcTime

MAX_POWER_W = 2 * 10**9
Watts = Annotated[int, Field(ge=0, le=MAX_POWER_W)]
"""Whole watts, never negative: the direction stands beside."""

Amount = Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,8})?$", max_length=22, examples=["0.25"])]
"""An amount of money as a decimal string, so that no digit is lost on the way."""

PositiveAmount = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,8})?$", max_length=21, examples=["0.25"])]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["EUR"])]
Id = Annotated[str, Field(min_length=1, max_length=80)]
Words = Annotated[str, Field(max_length=500)]
DurationS = Annotated[int, Field(ge=1, le=172_800)]
"""Seconds, at most two days."""


MAX_INTERVALS = 192

Shown = TypeVar("Shown", bound=Model)


def shown(kind: type[Shown], value: Any) -> Shown:
    """Return a value of a service as the API shows it: the fields of `kind`, no others."""
    return kind.model_validate(value, from_attributes=True, extra="ignore")


class Interval(Model):
    """Constant power from `start` on."""

    start: UtcTime
    duration_s: DurationS
    power_w: Watts

    def value(self) -> PowerInterval:
        """Return it as services take it."""
        return PowerInterval(self.start, self.duration_s, self.power_w)


Intervals = Annotated[tuple[Interval, ...], Field(min_length=1, max_length=MAX_INTERVALS)]
"""One after the other without gaps, whole minutes, two days at most in all."""


class Cancellation(Model):
    """Why, in words."""

    reason: Words | None = None


class ContractLimits(Model):
    """What a contract allows; null or empty: no limit."""

    max_power_w: Annotated[int, Field(ge=1, le=MAX_POWER_W)] | None = None
    """Bounds each interval of an order."""
    max_activations_per_day: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Bounds those that start on one UTC day."""
    directions: Annotated[tuple[Direction, ...], Field(min_length=1, max_length=2)] = tuple(Direction)
    areas: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=80)], ...], Field(max_length=100)] = ()
    direct_orders: bool = False
    """Activations may be ordered without an offer."""
    per_ven_rows: bool = False
    """Reports hold a row for each home, under a pseudonym, where at least five were called."""


class ContractPrice(Model):
    """Prices per kWh."""

    currency: Currency = "EUR"
    per_kwh: PositiveAmount = "0"
    """For what is delivered."""
    margin_per_kwh: PositiveAmount = "0"
    """Added in full where an option uses all that can be offered, in proportion where it uses less."""
    penalty_per_kwh: PositiveAmount = "0"
    """For what was ordered and not delivered."""


class Contract(Model):
    """What a BRP may ask of a programme, and at which price."""

    id: str
    party_id: str
    """The BRP."""
    programme_id: str
    limits: ContractLimits
    price: ContractPrice
    valid_from: UtcTime
    valid_to: UtcTime | None

    @classmethod
    def of(cls, contract: contracts.Contract) -> "Contract":
        """Return a contract as the API shows it."""
        return shown(cls, contract)


ULID = "01k8x5m3e5t8n4r9w2z7h6c1qd"
"""What ids look like in examples, after their prefix."""

CONTRACT_EXAMPLE = {
    "id": "ctr_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "party_id": "pty_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "programme_id": "prg_01k8x5m3e5t8n4r9w2z7h6c1qd",
    "limits": {"max_power_w": 500_000, "directions": ["reduce", "increase"], "areas": [], "direct_orders": True},
    "price": {"currency": "EUR", "per_kwh": "0.2", "margin_per_kwh": "0.05", "penalty_per_kwh": "0.4"},
    "valid_from": "2026-01-01T00:00:00Z",
    "valid_to": None,
}
