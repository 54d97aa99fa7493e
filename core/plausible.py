"""Which readings of a meter's register can be believed: by what the connection can carry, and by what comes next.

A register that counts energy only rises, and no faster than fuse or contract let through. A reading that does not fit
is set aside until the next ones tell what it was: one absurd value, after which the register goes on as before; or
another level (a reset, a rollover, an exchanged meter) from which it rises on. Until then it is not known. The work is
linear.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

HOME_W: Final = 43_470.0
"""What the connection of a home is believed to carry where nobody says: three phases of 63 A at 230 V."""
JITTER_WH: Final = 100.0
"""A register that falls by no more is believed to tremble: it counts on where it passes its highest value."""
_ROUNDING: Final = 1e-9
_LEAST_DIGITS: Final = 5
_NEAR_TOP: Final = 0.01
_MOST_AWAY: Final = 10
"""Readings after which a register that comes back to its old level is not believed to have been there all along."""


class RegisterReading(NamedTuple):
    """A register's reading: seconds since any moment, Wh, and whether its sender calls it good."""

    at_s: float
    wh: float
    good: bool = True


class Level(NamedTuple):
    """A reading that is believed (`place` in the sequence), and the energy since the first one.

    `estimated` and `uncertain` count what lies before it: steps whose energy is right but whose readings had doubtful
    ones among them, and steps whose energy nobody knows.
    """

    place: int
    total_wh: float
    estimated: int
    uncertain: int


class Change(StrEnum):
    """Why a register goes on at another level."""

    ROLLOVER = "rollover"
    RESET = "reset"
    EXCHANGE = "exchange"


def carries(energy_wh: float, duration_s: float, connection_w: float) -> bool:
    """Tell whether a connection can carry so much energy in so much time, either way."""
    return abs(energy_wh) * 3600 <= connection_w * duration_s * (1 + _ROUNDING)


def change(before: RegisterReading, after: RegisterReading, connection_w: float) -> tuple[Change, float]:
    """Return what a register did that went on at another level, and the least energy (Wh) that it counted meanwhile.

    That is exact for a rollover only.
    """
    if 0 <= after.wh < before.wh:
        top = 10.0 ** max(_LEAST_DIGITS, math.floor(math.log10(before.wh)) + 1)
        rise = top - before.wh + after.wh
        if top - before.wh <= top * _NEAR_TOP and carries(rise, after.at_s - before.at_s, connection_w):
            return Change.ROLLOVER, rise
        if carries(after.wh, after.at_s - before.at_s, connection_w):
            return Change.RESET, after.wh
    return Change.EXCHANGE, 0.0


def believed(readings: Iterable[RegisterReading], connection_w: float = HOME_W, *, net: bool = False) -> list[Level]:
    """Return the readings that are believed, in order, as one register that is counted on over every change.

    `readings` ascend in time. Those that are set aside, or about which the next ones do not tell yet, are left out.
    A `net` register (import minus export) may fall, too.
    """
    register = _Register(connection_w, net)
    for place, reading in enumerate(readings):
        if math.isfinite(reading.wh):
            register.take(_Seen(place, reading))
        else:
            register.doubtful = True
    return register.levels


class _Seen(NamedTuple):
    place: int
    reading: RegisterReading


@dataclass(slots=True)
class _Register:
    """A register while it is read: `last` is the newest reading believed, `aside` what does not fit to it."""

    connection_w: float
    net: bool
    levels: list[Level] = field(default_factory=list)
    last: RegisterReading | None = None
    before: RegisterReading | None = None
    """The reading believed before `last`."""
    aside: list[_Seen] = field(default_factory=list)
    doubtful: bool = False
    """Whether readings since `last` were set aside."""
    left: tuple[int, RegisterReading] | None = None
    """How many levels there were before the newest change, and the reading that it left."""

    def take(self, seen: _Seen) -> None:
        """Read on."""
        last, now = self.last, seen.reading
        if last is None:
            self._add(seen, 0.0)
        elif self._fits(last, now):
            self._add(seen, now.wh - last.wh)
        elif self.left is not None and self._is_back(*self.left, now):
            count, before = self.left
            del self.levels[count:]
            self.last, self.left, self.doubtful = before, None, True
            self._add(seen, now.wh - before.wh)
        elif last.wh - JITTER_WH <= now.wh < last.wh and now.wh >= last.wh / 2:
            self._tremble(seen, last)
        elif self.before is not None and now.wh < last.wh and self._fits(self.before, now):
            del self.levels[-1]  # `last` was a spike that the connection could just carry
            self.last, self.doubtful = self.before, True
            self._add(seen, now.wh - self.before.wh)
        else:
            self._set_aside(seen, last)

    def _fits(self, before: RegisterReading, after: RegisterReading) -> bool:
        rise = after.wh - before.wh
        return (rise >= 0 or self.net) and carries(rise, after.at_s - before.at_s, self.connection_w)

    def _is_back(self, count: int, before: RegisterReading, now: RegisterReading) -> bool:
        return len(self.levels) - count <= _MOST_AWAY and self._fits(before, now)

    def _tremble(self, seen: _Seen, last: RegisterReading) -> None:
        """Set one small step back aside; a register that stays below its highest value counts nothing meanwhile."""
        if self.aside and self.aside[-1].reading.wh >= last.wh - JITTER_WH:
            self._add(seen, 0.0)
            self.last = RegisterReading(seen.reading.at_s, last.wh, seen.reading.good)
        else:
            self.aside, self.doubtful = [seen], True

    def _set_aside(self, seen: _Seen, last: RegisterReading) -> None:
        """Wait for what comes next; another level is believed as soon as the register rises there."""
        before = self.aside[-1].reading if self.aside else None
        if before is None or not self._fits(before, seen.reading):
            self.aside, self.doubtful = [seen], True
            return
        self.aside.append(seen)
        if seen.reading.wh == before.wh:
            return
        first, *others = self.aside
        kind, rise = change(last, first.reading, self.connection_w)
        self.left = len(self.levels), last
        self._add(first, rise, uncertain=kind is not Change.ROLLOVER)
        for one in others:
            self._add(one, one.reading.wh - (self.last or last).wh)

    def _add(self, seen: _Seen, rise: float, *, uncertain: bool = False) -> None:
        before = self.levels[-1] if self.levels else Level(0, 0.0, 0, 0)
        estimated = before.estimated + (self.doubtful or not seen.reading.good)
        self.levels.append(Level(seen.place, before.total_wh + rise, estimated, before.uncertain + uncertain))
        self.before, self.last = self.last, seen.reading
        self.aside, self.doubtful = [], False
