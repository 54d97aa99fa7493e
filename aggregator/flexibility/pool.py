"""What a pool of homes can be relied on to deliver: never the sum of what stands on their nameplates.

Monte Carlo over days with a common factor (`response`). Up to `SMALL` homes, every home is drawn on every
day. Above that, homes are grouped by reliability (steps of half a percent); given the day, the sum over homes has an
exact mean and variance, and the rest, made of thousands of independent homes, is normal. Time and memory then grow with
N x T once, not with N x T x draws.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType

import numpy as np

from aggregator.flexibility.fleet import Fleet, Floats, Reason, Whole
from aggregator.flexibility.response import CommonFactor, Spread, classes, common_factor, mean_w, probability, spread
from core.errors import InvalidError

SMALL = 256
_CHUNK = 4096
_CLASS = 0.005

SOLD_SHARE = 0.9
"""Part of the p10 that is offered. Of the whole p10 an event in ten would fall short; of 0.9 of it, none of 100 in the
simulation did (docs/explanation/selection.md)."""
_OFFERED_AT = 0.9

STEPS = ("nameplate", "online", "in window", "not fatigued", "not opted out", "x reliability", "offer")
_LOST_AT = MappingProxyType(
    {
        Reason.OFFLINE: 1,
        Reason.STALE: 1,
        Reason.NO_POTENTIAL: 2,
        Reason.UNMEASURED: 2,
        Reason.OUTSIDE_WINDOW: 2,
        Reason.FEEDER_CAP: 2,
        Reason.CONTROL: 2,
        Reason.LIMIT: 3,
        Reason.RESTING: 3,
        Reason.BUSY: 3,
        Reason.OPTED_OUT: 4,
    }
)


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the waterfall: what is left of the power (mean over the intervals, W), and of how many VENs."""

    name: str
    power_w: float
    vens: int


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """What the homes that can be called deliver together if all of them are called.

    `p10_w`, `p50_w`, `p90_w`, `expected_w` (T): quantiles and mean of the delivered power, W. `draws_w` (draws, T):
    the simulated days, each interval sorted by itself. `waterfall`: from nameplate to offer, never increasing.
    """

    p10_w: Floats
    p50_w: Floats
    p90_w: Floats
    expected_w: Floats
    draws_w: Floats
    waterfall: tuple[Step, ...]

    def at(self, confidence: float) -> Floats:
        """Return the power (T), W, that is delivered with this probability; `at(0.9)` is the p10.

        Never more than is expected, never below 0. Raises InvalidError for a confidence outside 0.5 to 0.999.
        """
        if not 0.5 <= confidence <= 0.999:  # noqa: PLR2004 - the limits stand in the docstring and the message
            raise InvalidError("A confidence lies between 0.5 and 0.999.")
        return _sellable(np.quantile(self.draws_w, 1 - confidence, axis=0), self.expected_w)

    @property
    def offer_w(self) -> Floats:
        """Return the power (T), W, that may be sold."""
        return SOLD_SHARE * self.at(_OFFERED_AT)


def pool(fleet: Fleet, *, rho: float = 0.03, draws: int = 2000, seed: int = 0) -> Pool:
    """Return what the callable homes of `fleet` (not barred, calls left) deliver; the same for the same arguments.

    `rho`: correlation of two homes' responses, 0 to below 1. Raises InvalidError for a rho outside that, fewer than
    100 draws, or more than 100,000.
    """
    if not 0 <= rho < 1:
        raise InvalidError("rho is a correlation from 0 to below 1.")
    if not 100 <= draws <= 100_000:  # noqa: PLR2004 - the limits stand in the docstring and the message
        raise InvalidError("Between 100 and 100000 draws are needed.")
    stages = np.array([_LOST_AT.get(why, 4) if why is not None else len(STEPS) for why in fleet.barred], dtype=np.int64)
    stages[(fleet.calls_left <= 0) & (stages > _LOST_AT[Reason.LIMIT])] = _LOST_AT[Reason.LIMIT]
    chosen: Whole = np.flatnonzero(stages == len(STEPS))
    rng = np.random.default_rng(seed)
    factor = common_factor(draws, rho, rng)
    days = (_each_home if chosen.size <= SMALL else _by_moments)(fleet, chosen, factor, rng)
    days.sort(axis=0)
    means = _mean_of_each(fleet)
    expected = _expected(fleet, chosen)
    p10, p50, p90 = np.quantile(days, [0.1, 0.5, 0.9], axis=0)
    offer = SOLD_SHARE * _sellable(p10, expected)
    return Pool(p10, p50, p90, expected, days, _waterfall(fleet, stages, means, expected, offer))


def needed(target_w: float, power_w: float, reliability: float, *, rho: float = 0.0, confidence: float = 0.95) -> int:
    """Return how many equal homes deliver `target_w` with at least this probability (normal approximation).

    The smallest N with N p q - z q sqrt(p (1 - p)) sqrt(N + rho N (N - 1)) >= target, where each home gives `power_w`
    (q) with probability `reliability` (p). Raises InvalidError where no number suffices, because the common factor
    alone takes more than the homes give, and for values outside their range.
    """
    if not (target_w >= 0 and power_w > 0 and 0 < reliability <= 1 and 0 <= rho < 1 and 0.5 <= confidence < 1):  # noqa: PLR2004
        raise InvalidError("Needed: target >= 0, power > 0, 0 < reliability <= 1, 0 <= rho < 1, 0.5 <= confidence < 1.")
    z = NormalDist().inv_cdf(confidence)
    homes = target_w / power_w
    noise = z * z * reliability * (1 - reliability)
    square = reliability**2 - noise * rho
    if square <= 0:
        raise InvalidError("No number of homes reaches this confidence: the common factor weighs too much.")
    linear = 2 * reliability * homes + noise * (1 - rho)
    root = (linear + math.sqrt(max(linear**2 - 4 * square * homes**2, 0.0))) / (2 * square)

    def reaches(n: int) -> bool:
        return n * reliability - math.sqrt(noise * (n + rho * n * (n - 1))) >= homes * (1 - 1e-12)

    n = max(math.floor(root) - 1, 0)
    while not reaches(n):
        n += 1
    return n


def _sellable(quantile_w: Floats, expected_w: Floats) -> Floats:
    # The p10 of a handful of reliable homes is all of them; the expectation is what they deliver over many calls.
    return np.maximum(np.minimum(quantile_w, expected_w), 0.0)


def _each_home(fleet: Fleet, rows: Whole, factor: CommonFactor, rng: np.random.Generator) -> Floats:
    """Return delivered power (draws, T), each home drawn on each day."""
    parts = spread(fleet.p10_w[rows], fleet.p50_w[rows], fleet.p90_w[rows])
    values, index = classes(probability(fleet.reliability[rows]), _CLASS)
    chances = factor.chances(np.clip(values * _CLASS, 0.0, 1.0))
    common, own = np.sqrt(factor.rho), np.sqrt(1 - factor.rho)
    days = np.empty((factor.value.size, parts.middle_w.shape[1]))
    for first in range(0, len(days), 256):
        block = slice(first, first + 256)
        responds = rng.random((len(days[block]), rows.size)) < chances[block][:, index]
        z = own * rng.standard_normal(responds.shape) - common * factor.value[block, None]
        plus, minus = np.where(responds, np.maximum(z, 0.0), 0.0), np.where(responds, np.maximum(-z, 0.0), 0.0)
        days[block] = responds @ parts.middle_w + plus @ parts.above_w - minus @ parts.below_w
    return days


def _by_moments(fleet: Fleet, rows: Whole, factor: CommonFactor, rng: np.random.Generator) -> Floats:
    """Return delivered power (draws, T) from the exact mean and variance of each class of reliability on each day."""
    values, index = classes(probability(fleet.reliability[rows]), _CLASS)
    first, second = _class_sums(fleet, rows, index, values.size)
    chances = factor.chances(np.clip(values * _CLASS, 0.0, 1.0))
    half = factor.halves()
    a, b = half.plus[:, None], half.minus[:, None]
    mean = chances @ first[0] + a * (chances @ first[1]) - b * (chances @ first[2])
    (pp, pu, pl, uu, ll, ul), squares = second, chances**2
    raw = chances @ pp + 2 * a * (chances @ pu) - 2 * b * (chances @ pl)
    raw += half.plus_square[:, None] * (chances @ uu) + half.minus_square[:, None] * (chances @ ll)
    known = squares @ pp + 2 * a * (squares @ pu) - 2 * b * (squares @ pl)
    known += a**2 * (squares @ uu) + b**2 * (squares @ ll) - 2 * a * b * (squares @ ul)
    days: Floats = mean + np.sqrt(np.maximum(raw - known, 0.0)) * rng.standard_normal(mean.shape)
    return days


def _class_sums(fleet: Fleet, rows: Whole, index: Whole, count: int) -> tuple[list[Floats], list[Floats]]:
    """Return sums over each class (K, T) of middle, above, below, and of their products."""
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], np.arange(count + 1))
    intervals = fleet.p50_w.shape[1]
    first = [np.zeros((count, intervals)) for _ in range(3)]
    second = [np.zeros((count, intervals)) for _ in range(6)]
    for k in range(count):
        for begin in range(bounds[k], bounds[k + 1], _CHUNK):
            some = rows[order[begin : min(begin + _CHUNK, bounds[k + 1])]]
            part: Spread = spread(fleet.p10_w[some], fleet.p50_w[some], fleet.p90_w[some])
            p, u, d = part.middle_w, part.above_w, part.below_w
            for total, values in zip(first, (p, u, d), strict=True):
                total[k] += values.sum(axis=0)
            for total, (x, y) in zip(second, ((p, p), (p, u), (p, d), (u, u), (d, d), (u, d)), strict=True):
                total[k] += np.einsum("nt,nt->t", x, y)
    return first, second


def _mean_of_each(fleet: Fleet) -> Floats:
    """Return the mean power over the intervals (N), W, of each home that responds."""
    homes, intervals = fleet.size
    means = np.zeros(homes)
    for first in range(0, homes if intervals else 0, _CHUNK):
        block = slice(first, first + _CHUNK)
        means[block] = mean_w(fleet.p10_w[block], fleet.p50_w[block], fleet.p90_w[block]).mean(axis=1)
    return means


def _expected(fleet: Fleet, rows: Whole) -> Floats:
    total = np.zeros(fleet.p50_w.shape[1])
    for first in range(0, rows.size, _CHUNK):
        some = rows[first : first + _CHUNK]
        total += probability(fleet.reliability[some]) @ mean_w(fleet.p10_w[some], fleet.p50_w[some], fleet.p90_w[some])
    return total


def _waterfall(fleet: Fleet, stages: Whole, means: Floats, expected: Floats, offer: Floats) -> tuple[Step, ...]:
    # Up to "online" a VEN counts with its nameplate, from "in window" on with what it can do in these very intervals.
    plate = np.maximum(np.nan_to_num(fleet.nameplate_w, posinf=0.0), means)
    powers = [
        plate.sum(),
        plate[stages > 1].sum(),
        *(means[stages > lost].sum() for lost in (2, 3, 4)),
        expected.mean() if expected.size else 0.0,
        offer.mean() if offer.size else 0.0,
    ]
    vens = [int((stages > lost).sum()) for lost in (0, 1, 2, 3, 4, 4, 4)]
    falling = np.minimum.accumulate(np.array(powers, np.float64)).tolist()
    return tuple(Step(*step) for step in zip(STEPS, falling, vens, strict=True))
