"""How a home answers a call: whether it responds, and with what power if it does.

The power of a home that responds has a *split normal* distribution through its p10, p50 and p90: two halves of normal
distributions that meet at p50. It needs nothing that a VEN does not report, it may be skewed, its moments are exact.
A home that does not respond changes nothing. Responses share a common factor (weather, a football match, a bad
message): two homes' responses have the correlation `rho`, and on a day that keeps homes from responding those that do
respond deliver less, too.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from aggregator.flexibility.fleet import Floats, Whole

P90 = NormalDist().inv_cdf(0.9)
_HALF_MEAN = 1 / np.sqrt(2 * np.pi) / P90
_GRID = 2048


def mean_w(p10_w: Floats, p50_w: Floats, p90_w: Floats) -> Floats:
    """Return the mean power of a response from its quantiles, any shape, W: never below 0, unknown (nan) is 0.

    About 0.31 p10 + 0.38 p50 + 0.31 p90, the mean of the split normal distribution.
    """
    mean: Floats = p10_w + p90_w
    mean *= _HALF_MEAN / (1 - 2 * _HALF_MEAN)
    mean += p50_w
    mean *= 1 - 2 * _HALF_MEAN
    np.maximum(mean, 0.0, out=mean)
    if not np.isfinite(mean.sum()):
        mean[~np.isfinite(mean)] = 0.0
    return mean


def known(values: Floats) -> Floats:
    """Return the values with 0 for what is not a finite number; the array itself where all are."""
    return values if np.isfinite(values.sum()) else np.where(np.isfinite(values), values, 0.0)


def probability(reliability: Floats) -> Floats:
    """Return reliabilities as probabilities: within 0 and 1, unknown is 0."""
    return np.clip(np.nan_to_num(reliability), 0.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The quantiles of N homes over T intervals as the parts of a split normal distribution, W.

    Power = `middle_w` + z+ * `above_w` - z- * `below_w` for a standard normal z.
    """

    middle_w: Floats
    above_w: Floats
    below_w: Floats


def spread(p10_w: Floats, p50_w: Floats, p90_w: Floats) -> Spread:
    """Return the split normal distributions through three quantiles, each (N, T). Unknown is 0, disorder levelled."""
    middle = np.maximum(known(p50_w), 0.0)
    above = np.maximum(known(p90_w) - middle, 0.0)
    below = np.minimum(np.maximum(middle - known(p10_w), 0.0), middle)
    return Spread(middle, above / P90, below / P90)


@dataclass(frozen=True, slots=True, eq=False)
class Halves:
    """Moments of the halves of a normal variable z given the common factor, (draws): means and mean squares."""

    plus: Floats
    minus: Floats
    plus_square: Floats
    minus_square: Floats


@dataclass(frozen=True, slots=True, eq=False)
class CommonFactor:
    """The common factor of `draws` days: strata of a standard normal variable, so that few draws tell much.

    `value` (draws); two homes' responses are correlated by `rho`.
    """

    value: Floats
    rho: float

    def chances(self, reliability: Floats) -> Floats:
        """Return the probability of a response on each day (draws, K) for reliabilities (K).

        A Gaussian copula with one factor, its loading chosen for each reliability so that the responses (not the hidden
        normal variables) of two such homes have the correlation `rho`.
        """
        level = np.array([_quantile(p) for p in reliability.tolist()]).reshape(-1)
        loading = _loading(level, reliability, self.rho)
        drift = level[None, :] - np.sqrt(loading)[None, :] * self.value[:, None]
        return cdf(drift / np.sqrt(1 - loading)[None, :])

    def halves(self) -> Halves:
        """Return the moments of z given the factor, where z is what moves the power of a home that responds."""
        mean = -np.sqrt(self.rho) * self.value
        sd = np.sqrt(1 - self.rho)
        density = np.exp(-((mean / sd) ** 2) / 2) / np.sqrt(2 * np.pi)
        share = cdf(mean / sd)
        plus = sd * density + mean * share
        square = mean**2 + sd**2
        plus_square = square * share + mean * sd * density
        return Halves(plus, plus - mean, plus_square, square - plus_square)


def common_factor(draws: int, rho: float, rng: np.random.Generator) -> CommonFactor:
    """Return `draws` days, one in each of as many equally likely strata, in random order."""
    strata = (rng.permutation(draws) + rng.random(draws)) / draws
    return CommonFactor(np.array([_quantile(u) for u in strata.tolist()]).reshape(-1), rho)


def cdf(x: Floats) -> Floats:
    """Return the standard normal distribution function, to about six digits."""
    grid = np.linspace(-8.0, 8.0, 2 * _GRID + 1)
    table = np.array([NormalDist().cdf(v) for v in grid.tolist()])
    found: Floats = np.interp(x, grid, table)
    return found


def classes(values: Floats, step: float) -> tuple[Whole, Whole]:
    """Return the occupied classes of width `step` (K) and the class index of each value (N)."""
    found, index = np.unique(np.rint(values / step).astype(np.int64), return_inverse=True)
    return found, index.reshape(-1).astype(np.int64)


def _quantile(p: float) -> float:
    return NormalDist().inv_cdf(min(max(p, 1e-9), 1 - 1e-9))


def _loading(level: Floats, reliability: Floats, rho: float) -> Floats:
    """Return the correlation of the hidden normal variables that gives responses the correlation `rho`, (K).

    With hidden correlation sin(a), the covariance of two indicators at the same level h is the integral of
    exp(-h^2 / (1 + sin t)) / 2 pi over t from 0 to a (Sheppard).
    """
    angle = np.linspace(0.0, np.pi / 2, _GRID + 1)
    weight = np.exp(-(level[:, None] ** 2) / (1 + np.sin(angle))[None, :]) / (2 * np.pi)
    steps = (weight[:, 1:] + weight[:, :-1]) / 2 * (angle[1] - angle[0])
    covariance = np.concatenate([np.zeros((level.size, 1)), np.cumsum(steps, axis=1)], axis=1)
    wanted = rho * reliability * (1 - reliability)
    found = [np.interp(w, c, angle) for w, c in zip(wanted, covariance, strict=True)]
    loading: Floats = np.minimum(np.sin(np.array(found).reshape(-1)), 0.999)
    return loading
