"""The arithmetic of day matching on plain arrays: which days are kept, their mean, and the same-day adjustment.

Rows are eligible days, **newest first**; columns are intervals. One unit throughout (any: W, kW, Wh per interval);
NaN is a missing value and is left out of means.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metrics.days import Bools, Floats, Ints
from metrics.rules import AdjustmentKind, Keep, Rank, Rule


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A same-day adjustment: `adjusted = unadjusted * factor + shift`.

    `raw_factor` is the ratio before cap and upward-only (NaN if additive); `baseline` and `actual` are the two means
    in the adjustment window that it was made from. `shift` has the unit of the loads.
    """

    kind: AdjustmentKind | None
    factor: float = 1.0
    shift: float = 0.0
    raw_factor: float = float("nan")
    baseline: float = float("nan")
    actual: float = float("nan")


NO_ADJUSTMENT = Adjustment(None)


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """What `match` found: `baseline` and `unadjusted` (intervals,), `kept` (days, intervals) and the adjustment."""

    baseline: Floats
    unadjusted: Floats
    kept: Bools
    adjustment: Adjustment


def match(rule: Rule, event: Floats, adjustment: Floats | None = None, actual: float = float("nan")) -> Match:
    """Return the baseline of an event from the loads of eligible days.

    `event` (days, intervals): loads in the event window. `adjustment` (days, m): loads of the same days in the
    adjustment window, `actual` the event day's mean load there; without them the result is unadjusted. At most
    `rule.y` rows count: older ones change nothing. `rule.ratio_floor_w` is taken in the unit of the loads.
    """
    event = event[: rule.y]
    kept = keep(rule, event, event)
    unadjusted = mean(event, kept)
    change = NO_ADJUSTMENT
    if adjustment is not None:
        before = adjustment[: rule.y]
        usual = mean(before, keep(rule, event, before))
        scales = never_exports(unadjusted, usual, np.array([actual]))
        change = adjust(rule, average(usual), actual, rule.ratio_floor_w, scales=scales)
    return Match(unadjusted * change.factor + change.shift, unadjusted, kept, change)


def keep(rule: Rule, rank: Floats, loads: Floats) -> Bools:
    """Tell which of the days count in each interval of `loads` (days, m), as `keeping` does; returns (days, m)."""
    return keeping(rule, rank)(loads)


def keeping(rule: Rule, rank: Floats) -> Callable[[Floats], Bools]:
    """Return what tells which of the days count in each interval of some of their loads: (days, m) -> (days, m).

    Ranked by the means of `rank` (days, k), such as the loads in the event window, the same days count everywhere;
    ranked by interval, every interval has its own. A day without a value there is not ranked.
    """
    if rule.rank is Rank.INTERVAL:
        return lambda loads: (
            np.column_stack([_pick(rule, column) for column in loads.T]) if loads.size else np.zeros(loads.shape, bool)
        )
    # The mean of what was measured: a day with a gap must not look like a day of low consumption.
    picked = _pick(rule, mean(rank.T, np.isfinite(rank.T)))[:, None]
    return lambda loads: np.broadcast_to(picked, loads.shape)


def _pick(rule: Rule, rank: Floats) -> Bools:
    """Tell which days are kept, by a rank (days,) newest first. Of equals, the more recent is kept."""
    days: Ints = np.flatnonzero(np.isfinite(rank))
    drop = 0 if rule.keep is Keep.ALL else max(0, len(days) - rule.x)
    high = {Keep.LOW: drop, Keep.MID: drop // 2}.get(rule.keep, 0)
    # A stable sort leaves equals newest first, so the oldest of them stand last and fall first.
    days = _drop_last(np.sort(days[np.argsort(-rank[days], kind="stable")][: len(days) - (drop - high)]), rank, high)
    picked = np.zeros(rank.shape, dtype=bool)
    picked[days] = True
    return picked


def _drop_last(days: Ints, rank: Floats, count: int) -> Ints:
    """Drop the `count` highest of `days` (ascending: newest first); of equals the oldest."""
    return days[np.argsort(rank[days], kind="stable")][: len(days) - count]


def mean(loads: Floats, kept: Bools) -> Floats:
    """Return the mean of the kept, measured loads (days, m) of each interval (m,); NaN where there is none."""
    counted = kept & np.isfinite(loads)
    count = counted.sum(axis=0)
    total = np.where(counted, loads, 0.0).sum(axis=0)
    means: Floats = np.divide(total, count, out=np.full(loads.shape[1], np.nan), where=count > 0)
    return means


def average(values: Floats) -> float:
    """Return the mean of the values that are not NaN; NaN if there are none."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def never_exports(*loads: Floats) -> bool:
    """Tell whether none of the loads is an export, so that a ratio may scale them.

    Across zero a ratio turns its meaning round: more consumption than usual would make an export larger.
    """
    return not any((one < 0).any() for one in loads)


def adjust(rule: Rule, baseline: float, actual: float, floor: float, *, scales: bool = True) -> Adjustment:
    """Return the same-day adjustment from the window's two means: `baseline` unadjusted, `actual` measured.

    Without a rule for it, or without both means (NaN), there is none. Below `floor` a ratio means nothing, nor where
    loads must not be scaled (`never_exports`): additive.
    """
    if rule.adjustment is None or not np.isfinite(baseline + actual):
        return NO_ADJUSTMENT
    if rule.adjustment is AdjustmentKind.ADDITIVE or baseline < floor or baseline <= 0 or not scales:
        shift = actual - baseline
        return Adjustment(
            AdjustmentKind.ADDITIVE,
            shift=max(0.0, shift) if rule.upward_only else shift,
            baseline=baseline,
            actual=actual,
        )
    raw = actual / baseline
    factor = min(max(raw, rule.cap[0]), rule.cap[1])
    return Adjustment(
        AdjustmentKind.RATIO,
        factor=max(1.0, factor) if rule.upward_only else factor,
        raw_factor=raw,
        baseline=baseline,
        actual=actual,
    )
