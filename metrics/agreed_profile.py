"""A power by time of day that was agreed with a participant."""

from dataclasses import dataclass
from datetime import date
from typing import Final

from core.errors import InvalidError
from metrics.days import DayType

LENGTHS: Final = (1, 24, 48, 96, 288)
"""A day in one value, in hours, half hours, quarters of an hour or five minutes."""
MOST_W: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class AgreedProfile:
    """Mean powers (W, import positive) of equal parts of the local day, by the wall clock.

    `valid_from`: the first local date that it is for. `weekends_w`: of Saturdays, Sundays and holidays; empty: as on
    weekdays. Raises InvalidError for other numbers of values, and for powers that no connection carries.
    """

    valid_from: date
    weekdays_w: tuple[int, ...]
    weekends_w: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name, powers_w in (("weekdays_w", self.weekdays_w), ("weekends_w", self.weekends_w)):
            if len(powers_w) not in LENGTHS and (name == "weekdays_w" or powers_w):
                raise InvalidError(f"A profile has {', '.join(map(str, LENGTHS))} values a day.", field=name)
            if any(abs(power_w) > MOST_W for power_w in powers_w):
                raise InvalidError(f"A power lies within {MOST_W} W.", field=name)

    def of(self, kind: DayType) -> tuple[int, ...]:
        """Return the powers of a day of some kind."""
        return self.weekdays_w if kind is DayType.WEEKDAY or not self.weekends_w else self.weekends_w
