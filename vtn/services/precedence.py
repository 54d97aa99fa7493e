"""Which source says what a home used in an interval: the first of these that covers all of it.

1. the settlement meter: validated values of the metering point (`vtn.services.meter_data`),
2. the VEN's energy: registers, and the intervals that it makes of them,
3. the VEN's power: means, then that of moments,
4. estimates: values that whoever sent them calls estimated, of any of these.

The length of the values plays no part: a settlement meter's hour goes before a VEN's minutes.
"""

from enum import IntEnum
from typing import Final

from core.points import Quantity
from vtn.store.readings import SeriesKey

METER: Final = "meter file"
"""The `source` of a series that a metering point's operator vouches for."""


class Rank(IntEnum):
    """Where a source stands; the lowest counts. An interval made of several is as good as the last of them."""

    METER = 0
    REGISTER = 1
    POWER = 2
    ESTIMATE = 3
    UNKNOWN = 9


WORDS: Final = {
    Rank.METER: "settlement meter",
    Rank.REGISTER: "VEN register",
    Rank.POWER: "VEN power",
    Rank.ESTIMATE: "estimate",
}


def rank_of(key: SeriesKey) -> Rank:
    """Return where the values of a series stand, unless one of them is an estimate."""
    if key.source == METER:
        return Rank.METER
    return Rank.POWER if key.quantity == Quantity.POWER_REAL else Rank.REGISTER


def word(rank: int) -> str | None:
    """Return a source as results name it; None: not known."""
    return WORDS.get(Rank(rank))
