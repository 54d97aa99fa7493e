"""A VEN's usual power, against which the loop and the live page hold what it draws now."""

import math
from datetime import timedelta

import pytest

from aggregator.trade import telemetry
from core.spans import Duration
from openadr.model.signal import Signal
from openadr.model.units import currency_per_kwh
from support.vtn_world import NOON, intervals, power

START = NOON + timedelta(hours=6)
MINUTES = 60


async def metered(trade, home, dispatch_id="dsp_none", *, first=timedelta(), minutes=10):
    """Return the usual power before START and the minutes from `first` after it."""
    shown = int((START + first).timestamp()), minutes
    async with trade.world.db.read() as conn:
        found = await telemetry.metered(conn, [home.ven_id], dispatch_id, START, shown)
    return found.get(home.ven_id)


@pytest.fixture
async def home(trade):
    """A home that draws 1 kW for three hours, 4 kW in the hour before the start, and 100 W from then on."""
    (one,) = await trade.join(1)
    hours = [1000.0] * 3 * MINUTES + [4000.0] * MINUTES + [100.0] * MINUTES
    await trade.consume(one.ven_id, START - telemetry.BEFORE, hours)
    return one


async def test_it_is_the_mean_of_the_last_hour(trade, home):
    found = await metered(trade, home)
    assert found.usual_w == pytest.approx(4000)
    assert found.minutes.tolist() == pytest.approx([100.0] * 10)
    assert (await metered(trade, home, first=timedelta(minutes=-2), minutes=4)).minutes.tolist() == pytest.approx(
        [4000.0, 4000.0, 100.0, 100.0]
    )


async def test_it_is_known_in_the_middle_of_a_long_dispatch(trade, home):
    found = await metered(trade, home, first=timedelta(minutes=30), minutes=2)
    assert (found.usual_w, found.minutes.tolist()) == (pytest.approx(4000), pytest.approx([100.0, 100.0]))


@pytest.mark.parametrize(
    ("before", "minutes", "usual_w"),
    [
        (80, 20, 1000.0),  # what it pays back lasts until the start: its own is what came before
        (150, 60, (30 * 4000 + 30 * 1000) / 60),  # until half an hour before the start
        (290, 30, 4000.0),  # long ago
        (240, 240, math.nan),  # nothing is its own
    ],
)
async def test_times_of_other_calls_are_left_out(trade, home, before, minutes, usual_w):
    other = await call(trade, home, before, power(-500.0, each=Duration.of(minutes=minutes)))
    assert (await metered(trade, home)).usual_w == pytest.approx(usual_w, nan_ok=True)
    assert (await metered(trade, home, other)).usual_w == pytest.approx(4000), "a call is not in its own way"


async def test_prices_are_no_calls(trade, home):
    prices = Signal(
        "ELECTRICITY_PRICE", "price", "p", intervals(0.3, each=Duration.of(hours=5)), currency_per_kwh("EUR")
    )
    await call(trade, home, 300, prices, direction=None)
    assert (await metered(trade, home)).usual_w == pytest.approx(4000)


async def call(trade, home, before, signal, **order):
    """Order something that begins so many minutes before START; return the dispatch's id."""
    starts_in = START - timedelta(minutes=before) - NOON
    return await trade.world.dispatch(home, starts_in=starts_in, signals=(signal,), **order)
