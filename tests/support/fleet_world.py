"""A season of events with simulated homes: what the homes truly do is drawn here, by a model of its own.

Nothing of it is taken from the product's model of responses: opt-outs come from a beta distribution of the event (not a
Gaussian copula), power is lognormal with a factor of the day (not split normal), and the product sees answers, late and
noisy measurements, and estimates that are off.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aggregator.flexibility.fleet import Fleet, Reason
from aggregator.flexibility.pool import pool
from aggregator.selection import Ask, Members, Moves, correct, select

STEP_S = 900
STEP_MIN = 15
DAY_S = 86_400


@dataclass(frozen=True)
class Habits:
    """How the homes behave, and what limits their contracts set."""

    homes: int = 1000
    opt_out: float = 0.15
    rho: float = 0.03
    silent: float = 0.02
    offline: float = 0.02
    mid_event: float = 1 / 3
    power_sd: float = 0.2
    day_sd: float = 0.03
    noise: float = 0.15
    missing: float = 0.03
    delay_min: int = 2
    start_min: int = 3
    ramp_min: int = 2
    react_min: int = 3
    per_season: int = 74
    per_week: int = 6
    rest_s: int = 12 * 3600


@dataclass
class Result:
    """One event: energies in kWh, and what the loop did."""

    accepted: float
    delivered: float
    worst_interval: float
    called: int
    replaced: int
    released: int
    opted_out: int
    reversals: int
    orders: list[tuple[int, int]] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return self.delivered / self.accepted


class World:
    """The homes of a season."""

    def __init__(self, seed: int, habits: Habits | None = None) -> None:
        self.habits = habits or Habits()
        self.rng = np.random.default_rng(seed)
        n = self.habits.homes
        self.size_w = self.rng.gamma(4.0, 250.0, n)
        self.peak_h = self.rng.choice([8.0, 13.0, 18.5, 19.5], n, p=[0.15, 0.15, 0.35, 0.35]) + self.rng.normal(0, 1, n)
        self.width_h = self.rng.uniform(2.0, 6.0, n)
        self.temper = self.rng.gamma(12.0, 1 / 12.0, n)
        self.bias = self.rng.normal(1.0, 0.03, n)
        self.price = self.rng.choice([0.18, 0.22, 0.26], n)
        self.area = self.rng.integers(0, 5, n)
        truth = 1 - self.habits.opt_out * self.temper - self.habits.silent
        self.reliability = np.clip(truth + self.rng.normal(0, 0.04, n), 0.3, 0.99)
        self.log: list[list[int]] = [[] for _ in range(n)]

    def fleet(self, start_s: int, intervals: int) -> Fleet:
        """What the product knows before an event."""
        n, habits = self.habits.homes, self.habits
        hours = (start_s % DAY_S) / 3600 + (np.arange(intervals) + 0.5) / 4
        shape = 0.35 + np.exp(-(((hours[None, :] - self.peak_h[:, None]) / self.width_h[:, None]) ** 2))
        p50 = self.size_w[:, None] * shape * self.rng.lognormal(0, 0.1, (n, 1))
        calls = np.array([len(times) for times in self.log])
        last = np.array([times[-1] if times else 0 for times in self.log])
        week = np.array([sum(t > start_s - 7 * DAY_S for t in times) for times in self.log])
        left = np.minimum(habits.per_season - calls, habits.per_week - week)
        barred: list[Reason | None] = [None] * n
        for home in range(n):
            if self.rng.random() < habits.offline:
                barred[home] = Reason.OFFLINE
            elif left[home] <= 0:
                barred[home] = Reason.LIMIT
            elif last[home] and start_s - last[home] < habits.rest_s:
                barred[home] = Reason.RESTING
        return Fleet(
            ven_ids=tuple(f"ven-{home:04d}" for home in range(n)),
            start_s=start_s,
            step_s=STEP_S,
            nameplate_w=self.size_w * 4,
            p10_w=p50 * 0.76,
            p50_w=p50,
            p90_w=p50 * 1.28,
            reliability=self.reliability,
            price=self.price,
            calls_left=left,
            calls=calls,
            last_call_s=last,
            barred=barred,
            area=self.area,
            areas=("a", "b", "c", "d", "e"),
        )

    def event(self, start_s: int, intervals: int, share: float, *, flat: bool, corrected: bool = True) -> Result:
        """Offer what the product would, accept `share` of it, call, correct each minute; return what came of it."""
        fleet = self.fleet(start_s, intervals)
        offer = pool(fleet, rho=self.habits.rho, draws=1000, seed=start_s).offer_w
        target = share * (np.full(intervals, offer.min()) if flat else offer)
        ask = Ask(target)
        choice = select(fleet, ask, seed=start_s)
        event = _Event(self, fleet, ask)
        for home in choice.called:
            event.call(home, choice.power_w[home], 0)
            self.log[home].append(start_s)
        return event.run(choice.reserve if corrected else None)

    def violations(self) -> int:
        """Calls that break a limit, counted from the log alone."""
        found = 0
        for times in self.log:
            found += max(len(times) - self.habits.per_season, 0)
            found += sum(b - a < self.habits.rest_s for a, b in itertools.pairwise(times))
            found += sum(
                sum(0 <= later - first < 7 * DAY_S for later in times) > self.habits.per_week for first in times
            )
        return found


class _Event:
    """The homes' true behaviour in one event, minute by minute, and what the product gets to see of it."""

    def __init__(self, world: World, fleet: Fleet, ask: Ask) -> None:
        habits, rng = world.habits, world.rng
        self.world, self.fleet, self.ask = world, fleet, ask
        n, t = fleet.size
        self.minutes = t * STEP_MIN
        spread = 1 / habits.rho - 1
        today = rng.beta(habits.opt_out * spread, (1 - habits.opt_out) * spread)
        leaves = rng.random(n) < np.clip(today * world.temper, 0, 1)
        when = np.where(rng.random(n) < habits.mid_event, rng.integers(1, self.minutes, n), 0)
        self.leaves_at = np.where(leaves, when, 10**6)
        self.silent = rng.random(n) < habits.silent
        sigma = np.sqrt(np.log(1 + habits.power_sd**2))
        own = rng.lognormal(-(sigma**2) / 2, sigma, n)
        self.factor = own * max(rng.normal(1.0, habits.day_sd), 0.5)
        self.starts = np.full(n, 10**6)
        self.stops = np.full(n, 10**6)
        self.called_at = np.full(n, 10**6)
        self.ordered = np.zeros((n, t))
        self.called: list[int] = []
        self.released_at = np.full(n, 10**6)
        self.seen = np.full((self.minutes, n), np.nan)
        self.true = np.zeros(self.minutes)
        self.metered_wh = np.zeros(self.minutes + 1)

    def call(self, home: int, power_w: np.ndarray, minute: int) -> None:
        habits = self.world.habits
        latest = habits.start_min if minute == 0 else habits.react_min
        self.called.append(home)
        self.called_at[home] = minute
        self.ordered[home] = power_w
        self.starts[home] = minute + (0 if minute == 0 else 1) + self.world.rng.integers(0, latest + 1)

    def step(self, minute: int) -> None:
        """What really happens in this minute, and the measurement of it."""
        habits, rng, t = self.world.habits, self.world.rng, minute // STEP_MIN
        ramp = np.clip((minute - self.starts + 1) / habits.ramp_min, 0, 1)
        there = (minute < self.leaves_at) & ~self.silent & (minute < self.stops)
        power = self.ordered[:, t] * self.factor * ramp * there
        self.true[minute] = power.sum()
        noise = rng.normal(0, habits.noise, power.size) * self.ordered[:, t]
        measured = power * self.world.bias + noise
        lost = rng.random(power.size) < habits.missing
        self.seen[minute] = np.where(self.silent | lost, np.nan, measured)
        # The homes that did not report this minute are taken to do as the others do.
        asked = self.ordered[:, t].sum()
        heard = self.ordered[~lost, t].sum()
        total = measured[~lost & ~self.silent].sum() * asked / heard if heard else 0.0
        self.metered_wh[minute + 1] = self.metered_wh[minute] + total / 60

    def members(self, minute: int) -> Members:
        habits, called = self.world.habits, np.array(self.called)
        last = max(minute - habits.delay_min, 0)
        window = self.seen[max(last - 3, 0) : last, called]
        count = np.isfinite(window).sum(axis=0)
        mean = np.where(count > 0, np.nansum(window, axis=0) / np.maximum(count, 1), np.nan)
        age = minute - self.called_at[called]
        settled = age >= habits.react_min + habits.ramp_min + habits.delay_min + 3
        # Before the event there was time to answer; who is called during it takes two minutes.
        answered = (age >= 2) | (self.called_at[called] == 0)
        out = (minute >= self.leaves_at[called]) & answered
        return Members(
            index=called,
            ordered_w=self.ordered[called],
            out=out,
            agreed=~out & ~self.silent[called] & answered,
            silent=self.silent[called] & ((age >= 3) | (self.called_at[called] == 0)),
            delivered_w=np.where(settled, mean, np.nan),
            released=minute >= self.released_at[called],
        )

    def run(self, reserve: Sequence[int] | None) -> Result:
        first, replaced, reversals, moved = len(self.called), 0, 0, 0
        for minute in range(self.minutes):
            if reserve is not None:
                moves = self.decide(minute, reserve)
                for order in moves.call:
                    self.call(order.index, order.power_w, minute)
                    self.world.log[order.index].append(self.fleet.start_s)
                for release in moves.release:
                    self.released_at[release.index] = minute
                    self.stops[release.index] = minute + 1 + self.world.rng.integers(0, 2)
                replaced += len(moves.call)
                direction = 1 if moves.call else -1 if moves.release else moved
                reversals += direction * moved < 0
                moved = direction
            self.step(minute)
        accepted = self.ask.target_w.sum() * STEP_S / 3.6e6
        intervals = self.true.reshape(-1, STEP_MIN).mean(axis=1)
        return Result(
            accepted=accepted,
            delivered=self.true.sum() / 60_000,
            worst_interval=float((intervals / self.ask.target_w).min()),
            called=first,
            replaced=replaced,
            released=int((self.released_at < self.minutes).sum()),
            opted_out=int((self.leaves_at[self.called] < self.minutes).sum()),
            reversals=reversals,
        )

    def decide(self, minute: int, reserve: Sequence[int]) -> Moves:
        """What the product decides, from what it can know: metered energy so far is as late as the measurements."""
        known = max(minute - self.world.habits.delay_min, 0)
        wanted = sum(self.ask.target_w[m // STEP_MIN] for m in range(known)) / 60
        return correct(
            self.fleet,
            self.ask,
            self.members(minute),
            reserve,
            minute // STEP_MIN,
            into_s=minute % STEP_MIN * 60.0,
            age_s=(self.world.habits.delay_min + 2) * 60.0,
            ahead_wh=self.metered_wh[known] - wanted,
        )


def season(
    seed: int, events: int, share: float, *, corrected: bool = True, habits: Habits | None = None
) -> tuple[World, list[Result]]:
    """A season of one event a day, at different hours and lengths; returns the world and the results."""
    world = World(seed, habits)
    results = []
    for day in range(1, events + 1):
        hour = (17, 18, 7, 12)[day % 4]
        length = (4, 6, 8)[day % 3]
        results.append(world.event(day * DAY_S + hour * 3600, length, share, flat=day % 2 == 0, corrected=corrected))
    return world, results
