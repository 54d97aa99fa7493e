"""The homes: real base load, a water heater, a plug load. Pure and seeded.

Every number follows from the seed, the home's index and the time alone; neither the wall clock nor the order of calls
matters. So history and live values are the same series, and "the same run without the event" is computed, not guessed.
"""

import random
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import accumulate, pairwise
from math import ceil
from typing import Final, Literal

from core.errors import InvalidError, NotFoundError
from core.spans import utc
from evenload.demo.data import Day, Series

MINUTE: Final = timedelta(minutes=1)
HALF_HOUR: Final = timedelta(minutes=30)
_DAY: Final = timedelta(days=1)
_DAY_MINUTES: Final = 1440

PAYBACK_SHARE: Final = 0.6
"""How much of the energy that a shed withheld from the heater it draws afterwards; the rest is hot water not missed."""

_REAL_HOMES: Final = 3
_METERED_HOMES: Final = 2
"""Households 1 and 2 have half-hourly data of the world's own year; household 0 (2021, hourly) is resampled."""
_SEASON_DAYS: Final = 42
_SATURDAY: Final = 5
_MAX_DUTY: Final = 0.95
_CYCLE_MINUTES: Final = (12.0, 28.0)
_HEATERS_W: Final = (2000.0, 2200.0, 2400.0, 2600.0, 2800.0, 3000.0)
_EVENING_DRAW_W: Final = (1650.0, 1850.0)
_DUTY_BY_HOUR: Final = (
    (0.0, 0.10),
    (5.0, 0.10),
    (6.5, 0.80),
    (8.5, 0.70),
    (10.5, 0.45),
    (14.0, 0.45),
    (16.5, 1.00),
    (22.0, 1.00),
    (23.5, 0.20),
    (24.0, 0.10),
)
"""The shape of a heater's day: hour, and duty relative to the evening's, straight lines between."""

Dialect = Literal["iflex", "shelly"]


@dataclass(frozen=True, slots=True)
class Home:
    """One home: how it speaks, which real series lies under it, and what its devices draw.

    `as_metered` homes follow their series day by day; the others resample whole days of it. `duty` is the expected
    share of the time that the heater runs in the evening (about 16:30 to 22:00 UTC).
    """

    index: int
    dialect: Dialect
    series: int
    as_metered: bool
    heater_w: float
    duty: float
    plug_w: float
    register_wh: float

    @property
    def id(self) -> str:
        """The home's name everywhere in the demo: `home-01`."""
        return f"home-{self.index:02d}"


@dataclass(frozen=True, slots=True)
class Switch:
    """The heater's relay went on or off at `at` (world time)."""

    at: datetime
    on: bool


@dataclass(frozen=True, slots=True)
class Minute:
    """Mean powers of one minute in W. `natural_w` is what the heater would draw if nobody had ever switched it."""

    start: datetime
    base_w: float
    plug_w: float
    natural_w: float
    heater_w: float

    @property
    def total_w(self) -> float:
        """What the grid meter sees."""
        return self.base_w + self.plug_w + self.heater_w


@dataclass(frozen=True, slots=True)
class Heater:
    """The heater between two minutes: its relay, and the energy that a shed still owes it, in watt-minutes."""

    on: bool = True
    owed_wmin: float = 0.0

    def minute(self, start: datetime, natural_w: float, rated_w: float, flips: Sequence[Switch]) -> "HeaterMinute":
        """Return what it draws in the minute from `start`, given the switches in that minute, oldest first.

        Off, it draws nothing, and PAYBACK_SHARE of what it would have drawn is owed. On, it draws what it would
        anyway, and pays back what is owed as far as its rating allows.
        """
        edges = [start, *(flip.at for flip in flips), start + MINUTE]
        states = [self.on, *(flip.on for flip in flips)]
        on_share = sum((b - a) / MINUTE for (a, b), on in zip(pairwise(edges), states, strict=True) if on)
        payback_w = min(self.owed_wmin, on_share * (rated_w - natural_w))
        owed_wmin = self.owed_wmin - payback_w + PAYBACK_SHARE * (1 - on_share) * natural_w
        return HeaterMinute(on_share * natural_w + payback_w, Heater(states[-1], owed_wmin))


@dataclass(frozen=True, slots=True)
class HeaterMinute:
    """The heater's mean power over a minute, and the heater afterwards."""

    drawn_w: float
    after: Heater


@dataclass(frozen=True, slots=True)
class _DayDraw:
    """One day of one home if nobody switches: powers per minute, and the energy drawn since midnight."""

    base_w: tuple[float, ...]
    plug_w: tuple[float, ...]
    heater_w: tuple[float, ...]
    since_midnight_wh: tuple[float, ...]


class House:
    """The model of one home. Values are pure functions of seed, index and time; days are only kept to save work."""

    def __init__(self, home: Home, seed: int, series: Series) -> None:
        self.home = home
        self._seed = seed
        self._series = series
        self._draws: dict[date, _DayDraw] = {}

    def natural(self, start: datetime) -> Minute:
        """Return the minute that begins at `start`, as if nobody had ever switched the heater."""
        start = utc(start)
        draw = self._draw(start.date())
        at = start.hour * 60 + start.minute
        heater_w = draw.heater_w[at]
        return Minute(start, draw.base_w[at], draw.plug_w[at], heater_w, heater_w)

    def natural_wh(self, start: datetime, end: datetime) -> float:
        """Return the energy drawn in [start, end) if nobody switches. Both must be whole minutes."""
        first, last = _whole_minute(start), _whole_minute(end)
        days = (last.date() - first.date()).days
        whole = sum(self._draw(first.date() + n * _DAY).since_midnight_wh[_DAY_MINUTES] for n in range(days))
        return whole + self._since_midnight(last) - self._since_midnight(first)

    def half_hours_wh(self, day: date) -> tuple[float, ...]:
        """Return the energy of each half hour of a day (UTC) if nobody switches."""
        so_far = self._draw(day).since_midnight_wh[::30]
        return tuple(later - earlier for earlier, later in pairwise(so_far))

    def simulate(self, log: Sequence[Switch], start: datetime, end: datetime) -> Iterator[Minute]:
        """Yield the minutes of [start, end) with the heater switched as `log` says (any order; on before the first)."""
        start, end = _whole_minute(start), _whole_minute(end)
        flips = sorted(log, key=lambda flip: flip.at)
        first = min(start, _floor_minute(flips[0].at)) if flips else start
        heater = Heater()
        for natural in self._minutes(first, end):
            here = [flip for flip in flips if natural.start <= flip.at < natural.start + MINUTE] if flips else []
            result = heater.minute(natural.start, natural.natural_w, self.home.heater_w, here)
            heater = result.after
            if natural.start >= start:
                yield Minute(natural.start, natural.base_w, natural.plug_w, natural.natural_w, result.drawn_w)

    def true_wh(self, log: Sequence[Switch], start: datetime, end: datetime) -> float:
        """Return the energy that the switches in `log` really took off this home in [start, end).

        That is the same run without any switch, minus the run with them: nothing is estimated. It is negative over a
        span in which the heater pays back more than it sheds.
        """
        start, end = _whole_minute(start), _whole_minute(end)
        if all(end <= flip.at for flip in log):
            return 0.0
        return sum(minute.natural_w - minute.heater_w for minute in self.simulate(log, start, end)) / 60

    def _minutes(self, start: datetime, end: datetime) -> Iterator[Minute]:
        for n in range(int((end - start) / MINUTE)):
            yield self.natural(start + n * MINUTE)

    def _since_midnight(self, when: datetime) -> float:
        return self._draw(when.date()).since_midnight_wh[when.hour * 60 + when.minute]

    def _draw(self, day: date) -> _DayDraw:
        if day not in self._draws:
            # Within a half hour the real energy is spread evenly: nothing is invented.
            base_w = tuple(energy_wh * 2 for energy_wh in self._base(day) for _ in range(30))
            plug_w = self._plug(day)
            heater_w = self._heater(day)
            total_w = (base + plug + heater for base, plug, heater in zip(base_w, plug_w, heater_w, strict=True))
            so_far = tuple(accumulate((watt / 60 for watt in total_w), initial=0.0))
            self._draws[day] = _DayDraw(base_w, plug_w, heater_w, so_far)
        return self._draws[day]

    def _base(self, day: date) -> Day:
        """Return the real day under `day`: the day itself, or one of the same type and a nearby season."""
        if self.home.as_metered:
            if day not in self._series.days:
                raise NotFoundError(f"{self._series.name} has no complete day {day}; choose another date.")
            return self._series.days[day]
        like = [other for other in sorted(self._series.days) if _alike(day, other)]
        return self._series.days[like[int(self._random("day", day).random() * len(like))]]

    def _heater(self, day: date) -> tuple[float, ...]:
        """Return the heater's mean power per minute: thermostat cycles, longer when much water is drawn."""
        dice = self._random("heater", day)
        level = self.home.duty * (1 + 0.2 * (dice.random() + dice.random() - 1))
        shift_h = dice.random() - 0.5
        on: list[tuple[float, float]] = []
        at = -_CYCLE_MINUTES[1] * dice.random()
        while at < _DAY_MINUTES:
            period = _between(dice, _CYCLE_MINUTES)
            wanted = level * _duty_shape((at + period / 2) / 60 + shift_h) * (0.85 + 0.3 * dice.random())
            on.append((at, at + period * min(wanted, _MAX_DUTY)))
            at += period
        return _minute_means(on, self.home.heater_w)

    def _plug(self, day: date) -> tuple[float, ...]:
        """Return the plug load's mean power per minute: some of the morning, most of the evening."""
        dice = self._random("plug", day)
        morning = 60 * _between(dice, (6.5, 8.0))
        evening = 60 * _between(dice, (16.0, 18.5))
        blocks = [(morning, morning + 60 * dice.random()), (evening, 60 * _between(dice, (21.5, 23.5)))]
        return _minute_means(blocks, self.home.plug_w)

    def _random(self, what: str, day: date) -> random.Random:
        return _dice(self._seed, self.home.index, what, day.isoformat())


def make_home(seed: int, index: int) -> Home:
    """Return home `index` (from 1) of the world with that seed. Odd homes speak iFLEX, even ones are Shelly plugs."""
    if index < 1:
        raise InvalidError(f"Homes are numbered from 1, not {index}.")
    dice = _dice(seed, index, "home")
    heater_w = _HEATERS_W[int(dice.random() * len(_HEATERS_W))]
    # Household 1 is only home 1: its evenings swing so much that a few copies would be the pool's whole uncertainty.
    series = index - 1 if index <= _REAL_HOMES else 1 + index // 2 % 2
    return Home(
        index=index,
        dialect="iflex" if index % 2 else "shelly",
        series=series,
        as_metered=index <= _METERED_HOMES,
        heater_w=heater_w,
        duty=min(max(_between(dice, _EVENING_DRAW_W) / heater_w, 0.60), 0.85),
        plug_w=_between(dice, (60.0, 180.0)),
        register_wh=float(int(_between(dice, (5e6, 3e7)))),
    )


def make_houses(seed: int, homes: int, series: Sequence[Series]) -> list[House]:
    """Return the models of homes 1 to `homes`; `series` as `data.load_series` gives them."""
    made = (make_home(seed, index) for index in range(1, homes + 1))
    return [House(home, seed, series[home.series]) for home in made]


class Meter:
    """The grid meter of a running house: its cumulative register, minute by minute, with the heater switched live.

    Starts at `at` (a whole minute) with the switches that were logged before. Where nothing was ever switched the
    register equals `register_at`, which also answers for the past: history and live values are one series.
    """

    def __init__(self, house: House, register_start: datetime, at: datetime, log: Sequence[Switch] = ()) -> None:
        self.house = house
        self.at = _whole_minute(at)
        self.register_start = _whole_minute(register_start)
        self._heater = Heater()
        self._deviation_wh = 0.0
        self._passed: list[tuple[datetime, float]] = []
        self._flips = sorted(log, key=lambda flip: flip.at)
        if self._flips:
            self.at = min(self.at, _floor_minute(self._flips[0].at))
            deque(self.advance(_whole_minute(at)), maxlen=0)

    @property
    def on(self) -> bool:
        """Whether the heater's relay is on now."""
        return self._flips[-1].on if self._flips else self._heater.on

    def switch(self, flip: Switch) -> Switch:
        """Switch the relay and return what counts: a time before the present minute is its beginning."""
        done = Switch(max(flip.at, self._flips[-1].at if self._flips else self.at), flip.on)
        self._flips.append(done)
        return done

    def advance(self, to: datetime) -> Iterator[Minute]:
        """Live through the minutes up to `to` and yield them; the register then stands at `to`."""
        while self.at < to:
            natural = self.house.natural(self.at)
            end = self.at + MINUTE
            here = [flip for flip in self._flips if flip.at < end]
            result = self._heater.minute(self.at, natural.natural_w, self.house.home.heater_w, here)
            self._flips = self._flips[len(here) :]
            self._heater, self.at = result.after, end
            if result.drawn_w != natural.natural_w:
                self._deviation_wh += (result.drawn_w - natural.natural_w) / 60
                self._passed.append((end, self._deviation_wh))
            yield Minute(natural.start, natural.base_w, natural.plug_w, natural.natural_w, result.drawn_w)

    def register_at(self, when: datetime) -> float:
        """Return the register in Wh at a whole minute that is not in the future."""
        if when > self.at:
            raise InvalidError(f"{when.isoformat()} is in the future of this meter.")
        before = bisect_right(self._passed, when, key=lambda passed: passed[0])
        deviation_wh = self._passed[before - 1][1] if before else 0.0
        return self.house.home.register_wh + self.house.natural_wh(self.register_start, when) + deviation_wh


def _alike(day: date, other: date) -> bool:
    if (day.weekday() < _SATURDAY) != (other.weekday() < _SATURDAY):
        return False
    apart = abs(day.timetuple().tm_yday - other.timetuple().tm_yday)
    return min(apart, 365 - apart) <= _SEASON_DAYS


def _duty_shape(hour: float) -> float:
    hour = min(max(hour, 0.0), 24.0)
    for (start, low), (end, high) in pairwise(_DUTY_BY_HOUR):
        if hour <= end:
            return low + (high - low) * (hour - start) / (end - start)
    raise AssertionError  # the shape reaches 24:00


def _minute_means(on: Iterable[tuple[float, float]], power_w: float) -> tuple[float, ...]:
    """Return the mean power of each minute of a day, for a device that runs in the spans `on` (minutes, no overlap)."""
    power = [0.0] * _DAY_MINUTES
    for start, end in on:
        first, last = max(start, 0.0), min(end, float(_DAY_MINUTES))
        for minute in range(int(first), ceil(last)):
            watt = power_w * (min(last, minute + 1) - max(first, minute))
            power[minute] = min(power[minute] + watt, power_w)  # rounding must not carry it over the rating
    return tuple(power)


def _between(dice: random.Random, bounds: tuple[float, float]) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * dice.random()


def _dice(*key: object) -> random.Random:
    """Return a generator for that key. Only `random()` is drawn from it: its sequence is fixed for all Pythons."""
    return random.Random("/".join(map(str, key)))  # noqa: S311  a simulation, not a secret


def _floor_minute(when: datetime) -> datetime:
    return utc(when).replace(second=0, microsecond=0)


def _whole_minute(when: datetime) -> datetime:
    if _floor_minute(when) != utc(when):
        raise InvalidError(f"{when.isoformat()} is not a whole minute.")
    return utc(when)
