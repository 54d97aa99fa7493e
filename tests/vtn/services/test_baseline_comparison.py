"""Which baseline errs least, against an independent computation (vtn.services.baseline_comparison)."""

import math
from datetime import time, timedelta

import numpy as np
import pytest

from core.errors import InvalidError, NotFoundError
from core.spans import Duration
from metrics.days import DayType
from metrics.presets import PRESETS
from openadr.model.opt import OptType
from support.metered import metered_ven, send
from support.vtn_world import NOON
from vtn.services import baseline_comparison
from vtn.services.baseline_comparison import Hours

EVENING = Hours(time(17), Duration.of(hours=1))
HALF = timedelta(minutes=30)


def errors(wh, without=()):
    """Return day -> (mean of up to 10 weekdays before it minus itself, itself), Wh in the evening hour, naively."""
    days = sorted({at.date() for at in wh if at.isoweekday() <= 5} - set(without))
    used = {}
    for day in days:
        start = NOON.replace(year=day.year, month=day.month, day=day.day, hour=17)
        if start in wh and start + HALF in wh:
            used[day] = wh[start] + wh[start + HALF]
    found = {}
    for day, own in used.items():
        before = [used[one] for one in sorted(used, reverse=True) if one < day][:10]
        if len(before) >= 5:
            found[day] = (np.mean(before) - own, own)
    return found


async def test_a_comparison_equals_an_independent_computation(any_world):
    world = any_world
    vens = [await metered_ven(world, seed) for seed in (1, 2, 3)]
    programme = await world.programme(*(ven for ven, _, _ in vens))
    called, _, _ = vens[0]
    await world.dispatch(called, under=programme)
    await called.opt((await called.events())[0], OptType.OUT)
    world.later(days=3)
    for number, (ven, wish, wh) in enumerate(vens):
        fresh = {NOON + n * HALF: float(500 + 37 * n % 111 + number) for n in range(3 * 48)}
        wh.update(fresh)
        await send(ven, wish, NOON, *fresh.values())

    found = await baseline_comparison.compare(world.db, programme.id, EVENING, world.now)

    own = [errors(wh, {NOON.date()} if ven is called else ()) for ven, _, wh in vens]
    days = sorted(set.intersection(*map(set, own)))
    pool = np.array([[sum(one[day][part] for one in own) for part in (0, 1)] for day in days])
    got = found.presets["10of10-unadjusted"]
    assert (found.enrolled, found.vens, got.homes, got.days) == (3, 3, 3, len(days))
    assert NOON.date() not in days
    assert got.bias == pytest.approx(pool[:, 0].mean() / pool[:, 1].mean())
    assert got.pool_rmse == pytest.approx(math.sqrt((pool[:, 0] ** 2).mean()) / pool[:, 1].mean())
    each = [np.array(list(one.values())) for one in own]
    homes = [math.sqrt((one[:, 0] ** 2).mean()) / one[:, 1].mean() for one in each]
    assert got.home_rmse == pytest.approx(np.mean(homes))


async def test_presets_are_ranked_by_the_error_of_all_together(world):
    vens = [await metered_ven(world, seed) for seed in (4, 5)]
    programme = await world.programme(*(ven for ven, _, _ in vens))
    found = await baseline_comparison.compare(world.db, programme.id, EVENING, world.now)
    assert {name for name, _ in found.ranked()} == set(PRESETS)
    ranked = [(name, one) for name, one in found.ranked() if one.is_known]
    told = [one.pool_rmse for _, one in ranked]
    assert told == sorted(told)
    assert all(one.days for _, one in ranked)
    bare = {name: found.why_unknown(name) for name, _ in found.ranked()[len(ranked) :]}
    assert bare == {
        "nominated": "nothing nominated for days past",
        "fixed-profile": "nothing agreed",
        "firm-level": "nothing agreed",
        "control-group": "no control group",
        "weather-5": "too few temperatures",
        "time-of-week-temperature": "too few temperatures",
    }
    assert found.presets["high3of10"].bias > found.presets["10of10-unadjusted"].bias


async def test_weekends_have_days_of_their_own(world):
    ven, _, wh = await metered_ven(world, 6, days=60)
    programme = await world.programme(ven)
    hours = Hours(EVENING.start, EVENING.duration, DayType.WEEKEND)
    found = await baseline_comparison.compare(world.db, programme.id, hours, world.now)
    weekends = {at.date() for at in wh if at.isoweekday() > 5}
    assert found.presets["10of10-unadjusted"].days == len(weekends) - 5


async def test_without_history_nothing_is_known(world):
    empty = await world.programme()
    found = await baseline_comparison.compare(world.db, empty.id, EVENING, world.now)
    assert (found.enrolled, found.vens) == (0, 0)
    mute = await world.programme(await world.ven())
    found = await baseline_comparison.compare(world.db, mute.id, EVENING, world.now)
    assert (found.enrolled, found.vens) == (1, 1)
    assert len(found.ranked()) == len(PRESETS)
    for _, one in found.ranked():
        assert (one.homes, one.days) == (0, 0)
        assert math.isnan(one.bias + one.pool_rmse + one.home_rmse)


async def test_a_home_without_history_does_not_spoil_the_others(world):
    ven, _, _ = await metered_ven(world, 7)
    programme = await world.programme(ven, await world.ven())
    got = (await baseline_comparison.compare(world.db, programme.id, EVENING, world.now)).presets["10of10"]
    assert got.homes == 1
    assert got.days > 5


async def test_of_many_homes_some_are_looked_at(world, monkeypatch):
    monkeypatch.setattr(baseline_comparison, "MOST_VENS", 3)
    programme = await world.programme(*await world.vens(4))
    found = await baseline_comparison.compare(world.db, programme.id, EVENING, world.now)
    assert (found.enrolled, found.vens) == (4, 3)


async def test_unknown_programmes_and_odd_lengths_are_refused(world):
    with pytest.raises(NotFoundError):
        await baseline_comparison.compare(world.db, "prg_nothing", EVENING, world.now)
    for length in (Duration(), Duration.of(days=2), Duration(months=1)):
        with pytest.raises(InvalidError, match="a day at most"):
            Hours(time(17), length)
