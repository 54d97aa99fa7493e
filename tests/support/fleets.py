"""Fleets for tests: one that is all alike, and any whatsoever."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from aggregator.flexibility.fleet import Fleet, Reason
from aggregator.selection import Ask

_ANSWERS = {Reason.CALLED, Reason.RESERVE, Reason.TURN, Reason.CHEAPER}


def alike(
    homes: int, intervals: int = 4, power_w: float = 1000.0, reliability: float = 0.8, **changes: object
) -> Fleet:
    """Homes that can stand in for each other."""
    power = np.full((homes, intervals), power_w)
    fleet = Fleet(
        ven_ids=tuple(f"ven-{home}" for home in range(homes)),
        start_s=1_800_000_000,
        step_s=900,
        nameplate_w=np.full(homes, 3 * power_w),
        p10_w=power,
        p50_w=power,
        p90_w=power,
        reliability=np.full(homes, reliability),
        price=np.full(homes, 0.2),
        calls_left=np.full(homes, 1000),
        calls=np.zeros(homes, np.int64),
        last_call_s=np.zeros(homes, np.int64),
        barred=[None] * homes,
        area=np.full(homes, -1),
        areas=("north", "south"),
    )
    return replace(fleet, **changes)


@st.composite
def fleets(draw: st.DrawFn, most: int = 30) -> Fleet:
    """Any fleet: few homes, all reasons, holes in the figures."""
    homes, intervals = draw(st.integers(0, most)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    p50 = rng.gamma(2.0, 500.0, (homes, intervals)) * (rng.random((homes, intervals)) > draw(st.sampled_from([0, 0.3])))
    holes = rng.random((homes, intervals)) < draw(st.sampled_from([0.0, 0.05]))
    p50 = np.where(holes, draw(st.sampled_from([np.nan, np.inf, -50.0])), p50)
    reasons = [None, None, None, *sorted(set(Reason) - _ANSWERS)]
    odd = draw(st.booleans())
    step_w = np.where(
        rng.random(homes) < draw(st.sampled_from([0.0, 0.0, 0.5, 1.0])), rng.choice([1.0, 100.0], homes), np.nan
    )
    return Fleet(
        ven_ids=tuple(f"v{home}" for home in range(homes)),
        start_s=0,
        step_s=draw(st.sampled_from([300, 900, 3600])),
        nameplate_w=np.where(rng.random(homes) < 0.2, np.nan, rng.uniform(0, 5000, homes)),
        p10_w=p50 * rng.uniform(0, 1, (homes, 1)),
        p50_w=p50,
        p90_w=p50 * rng.uniform(1, 2, (homes, 1)),
        reliability=rng.uniform(0, 1, homes),
        price=rng.choice([0.0, 0.2, 0.3, np.nan] if odd else [0.1, 0.2, 0.3], homes),
        calls_left=rng.integers(0 if odd else 1, 5, homes),
        calls=rng.integers(0, 4, homes),
        last_call_s=rng.integers(0, 4, homes),
        barred=[reasons[n] for n in rng.integers(0, len(reasons) if odd else 3, homes)],
        area=rng.integers(-1, 2, homes),
        areas=("north", "south"),
        minimum_w=step_w * rng.choice([1, 3, 10], homes),
        step_w=step_w,
    )


@st.composite
def asks(draw: st.DrawFn, fleet: Fleet, *, limited: bool = True) -> Ask:
    """Any ask of a fleet: nothing, too much, holes; with caps and a limit of calls, or without."""
    homes, intervals = fleet.size
    scale = draw(st.sampled_from([0.0, 0.3, 1.0, 5.0])) * max(homes, 1) * 500
    target = np.array([scale * draw(st.sampled_from([0.0, 0.5, 1.0])) for _ in range(intervals)])
    caps = (
        draw(st.dictionaries(st.integers(0, 1), st.sampled_from([0.0, 1500.0, 6000.0]), max_size=2)) if limited else {}
    )
    most = draw(st.none() | st.integers(0, 10)) if limited else None
    return Ask(
        target, tolerance=draw(st.sampled_from([0.0, 0.05])), caps=caps, most_calls=most, one_block=draw(st.booleans())
    )
