"""The homes' model: determinism, bookkeeping of energy, sheds and paybacks."""

import random
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError, NotFoundError
from evenload.demo.model import (
    HALF_HOUR,
    MINUTE,
    PAYBACK_SHARE,
    Heater,
    House,
    Meter,
    Switch,
    make_home,
    make_houses,
)
from evenload.demo.plan import DemoPlan

PLAN = DemoPlan()
START = datetime(2013, 11, 20, 18, 30, tzinfo=UTC)
END = START + PLAN.event_duration
SHED = (Switch(START + timedelta(seconds=20), on=False), Switch(END + timedelta(seconds=35), on=True))
MIDNIGHT = datetime(2013, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def houses(series):
    return make_houses(1, 12, series)


def test_the_world_starts_on_a_weekday_with_all_its_history_in_winter_time(series):
    assert PLAN.world_start.weekday() < 5
    assert PLAN.register_start.date() > date(2013, 10, 27)
    days = [PLAN.register_start.date() + timedelta(days=n) for n in range(PLAN.history_days + 2)]
    assert all(day in home.days for day in days for home in series[:2])


def test_half_the_homes_speak_each_dialect_and_heaters_have_2_to_3_kw():
    homes = [make_home(7, index) for index in range(1, 13)]
    assert sum(home.dialect == "iflex" for home in homes) == 6
    assert all(2000 <= home.heater_w <= 3000 and 0.6 <= home.duty <= 0.85 for home in homes)
    assert [home.series for home in homes[:3]] == [0, 1, 2]
    assert len({home.register_wh for home in homes}) == 12


def test_the_same_seed_gives_the_same_numbers_in_any_order(series):
    times = [START + n * 7 * MINUTE for n in range(200)]
    forward, backward = make_houses(3, 4, series), make_houses(3, 12, series)[:4]
    seen = {(n, at): house.natural(at) for n, house in enumerate(forward) for at in times}
    assert seen == {(n, at): backward[n].natural(at) for n in (3, 1, 0, 2) for at in reversed(times)}
    assert seen != {(n, at): house.natural(at) for n, house in enumerate(make_houses(4, 4, series)) for at in times}


def test_known_numbers_pin_the_generator(houses):
    """They change only if the model changes: no other Python, no other machine, no other day may change them."""
    day = datetime(2013, 11, 20, tzinfo=UTC)
    energies = [round(house.natural_wh(day, day + timedelta(days=1))) for house in houses[:4]]
    assert energies == [42054, 56299, 25952, 35727]


def test_base_energies_are_the_real_ones_half_hour_by_half_hour(houses, series):
    for number, house in enumerate(houses[:2]):
        for slot in range(48):
            start = datetime(2013, 11, 20, tzinfo=UTC) + slot * HALF_HOUR
            minutes = list(house.simulate((), start, start + HALF_HOUR))
            base_wh = sum(minute.base_w for minute in minutes) / 60
            assert base_wh == pytest.approx(series[number].days[date(2013, 11, 20)][slot], abs=1e-6)
            devices_wh = sum(minute.plug_w + minute.heater_w for minute in minutes) / 60
            assert house.natural_wh(start, start + HALF_HOUR) == pytest.approx(base_wh + devices_wh, abs=1e-6)


def test_resampled_days_are_whole_real_days_of_the_same_type_and_season(houses, series):
    for house in houses[2:]:
        real = {day: when for when, day in series[house.home.series].days.items()}
        for day in (date(2013, 11, 16), date(2013, 11, 20)):
            found = real[house._base(day)]
            assert (found.weekday() >= 5) == (day.weekday() >= 5)
            assert abs((found.replace(year=2013) - day).days) <= 42


def test_a_real_gap_is_an_error_and_not_a_zero(houses):
    with pytest.raises(NotFoundError, match="2013-03-26"):
        houses[1].natural(datetime(2013, 3, 26, 12, tzinfo=UTC))


@given(
    natural=st.lists(st.floats(0, 2000), min_size=1, max_size=200),
    flips=st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1, exclude_max=True), st.booleans()), max_size=20),
)
def test_a_heater_never_exceeds_its_rating_and_pays_back_no_more_than_it_owes(natural, flips):
    heater, drawn_wmin, withheld_wmin, on = Heater(), 0.0, 0.0, True
    for n, watt in enumerate(natural):
        here = [(share, word) for minute, share, word in sorted(flips) if minute == n]
        result = heater.minute(START + n * MINUTE, watt, 2000, [Switch(START + (n + s) * MINUTE, w) for s, w in here])
        heater = result.after
        assert -1e-6 <= result.drawn_w <= 2000 + 1e-6
        drawn_wmin += result.drawn_w
        for (since, word), (until, _) in pairwise([(0.0, on), *here, (1.0, on)]):
            withheld_wmin += 0 if word else watt * (until - since)
        on = here[-1][1] if here else on
    paid_wmin = drawn_wmin - (sum(natural) - withheld_wmin)
    assert -0.1 <= paid_wmin <= PAYBACK_SHARE * withheld_wmin + 0.1
    assert heater.owed_wmin == pytest.approx(PAYBACK_SHARE * withheld_wmin - paid_wmin, abs=0.1)


def test_a_shed_removes_only_what_the_heater_would_draw_and_part_of_it_returns(houses):
    for house in houses:
        minutes = list(house.simulate(SHED, START, MIDNIGHT))
        off = [minute for minute in minutes if START + MINUTE <= minute.start < END]
        assert all(minute.heater_w == 0 for minute in off)
        assert all(minute.base_w == house.natural(minute.start).base_w for minute in off)
        shed_wh = sum(minute.natural_w - minute.heater_w for minute in minutes if minute.start <= END) / 60
        back_wh = sum(minute.heater_w - minute.natural_w for minute in minutes if minute.start > END) / 60
        assert 0 < shed_wh <= house.home.heater_w * 1.6
        assert back_wh == pytest.approx(PAYBACK_SHARE * shed_wh, rel=0.02)
        assert house.true_wh(SHED, START, END) == pytest.approx(shed_wh, rel=0.03)
        assert house.true_wh(SHED, START, MIDNIGHT) == pytest.approx(shed_wh - back_wh)


def test_true_energy_is_the_run_without_minus_the_run_with(houses):
    for house in houses[:3]:
        without, with_ = Meter(house, PLAN.register_start, START), Meter(house, PLAN.register_start, START)
        for flip in SHED:
            with_.switch(flip)
        for meter in (without, with_):
            assert len(list(meter.advance(END))) == 90
        difference_wh = without.register_at(END) - with_.register_at(END)
        assert house.true_wh(SHED, START, END) == pytest.approx(difference_wh, abs=1e-6)
        assert house.true_wh((), START, END) == 0
        assert house.true_wh(SHED, START - timedelta(hours=2), START) == 0


def test_the_register_is_the_integral_of_the_power_and_never_falls(houses):
    meter = Meter(houses[3], PLAN.register_start, START - timedelta(hours=1))
    before = meter.register_at(meter.at)
    for flip in SHED:
        meter.switch(flip)
    for minute in meter.advance(MIDNIGHT):
        now = meter.register_at(minute.start + MINUTE)
        assert now - before == pytest.approx(minute.total_w / 60, abs=1e-6)
        assert now > before
        before = now


def test_history_and_live_values_are_one_series(houses):
    """Asked later for a time that it has lived through, a meter answers what it said then, shed or not."""
    meter = Meter(houses[4], PLAN.register_start, PLAN.world_start)
    seam = meter.register_at(PLAN.world_start)
    other = Meter(houses[4], PLAN.register_start, PLAN.world_start - timedelta(hours=5))
    list(other.advance(PLAN.world_start))
    assert other.register_at(PLAN.world_start) == seam
    for flip in SHED:
        meter.switch(flip)
    said = {minute.start + MINUTE: meter.register_at(minute.start + MINUTE) for minute in meter.advance(MIDNIGHT)}
    assert {at: meter.register_at(at) for at in said} == said
    assert meter.register_at(PLAN.world_start) == seam


@pytest.mark.parametrize("at", [START, START + 10 * MINUTE, END, MIDNIGHT - MINUTE])
def test_a_meter_that_restarts_from_its_log_goes_on_as_if_nothing_had_happened(houses, at):
    steady = Meter(houses[5], PLAN.register_start, PLAN.world_start)
    for flip in SHED:
        steady.switch(flip)
    list(steady.advance(MIDNIGHT))
    log = [flip for flip in SHED if flip.at < at + MINUTE]  # also what was switched in the minute of the restart
    fresh = Meter(houses[5], PLAN.register_start, at, random.sample(log, len(log)))
    assert fresh.on == (len(log) != 1)
    for flip in SHED[len(log) :]:
        fresh.switch(flip)
    list(fresh.advance(MIDNIGHT))
    assert fresh.register_at(MIDNIGHT) == pytest.approx(steady.register_at(MIDNIGHT), abs=1e-6)


def test_a_switch_cannot_change_the_past(houses):
    meter = Meter(houses[0], PLAN.register_start, START)
    assert meter.switch(Switch(START - timedelta(hours=1), on=False)) == Switch(START, on=False)
    assert not meter.on


@pytest.mark.parametrize(
    "ask",
    [
        lambda house: house.natural_wh(START, END + timedelta(seconds=1)),
        lambda house: house.true_wh((), START.replace(microsecond=1), END),
        lambda house: house.natural(START.replace(tzinfo=None)),
        lambda house: Meter(house, PLAN.register_start, START).register_at(END),
        lambda _: make_home(1, 0),
        lambda _: DemoPlan(homes=0),
    ],
    ids=["seconds", "microseconds", "no zone", "future", "home 0", "no homes"],
)
def test_what_makes_no_sense_is_refused(houses: list[House], ask):
    with pytest.raises(InvalidError):
        ask(houses[0])
