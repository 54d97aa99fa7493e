from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from core.spans import Span
from metrics import (
    PRESETS,
    AdjustmentKind,
    AdjustmentStatus,
    Anchor,
    Baseline,
    Calendar,
    DayMatrix,
    NoBaselineError,
    NoBasisError,
    Verdict,
    Weather,
    Window,
    day_matrix,
    series,
)
from metrics.needs import Need

RULE = PRESETS["high5of10"]
PLAIN = replace(RULE, adjustment=None, windows=())
STEP_S = 1800
FIRST = datetime(2013, 1, 1, tzinfo=UTC)
EVENT = Span(datetime(2013, 2, 14, 17, tzinfo=UTC), datetime(2013, 2, 14, 19, tzinfo=UTC))  # a Thursday
DAYS = 50
SLOTS = 48


def loads(seed: int = 1, days: int = DAYS) -> np.ndarray:
    """Half-hourly Wh, (days, 48), from 2013-01-01."""
    return np.random.default_rng(seed).uniform(50, 900, (days, SLOTS))


def matrix_of(energy: np.ndarray, zone: str = "UTC") -> DayMatrix:
    starts = np.datetime64("2013-01-01T00:00", "s") + np.arange(energy.size) * np.timedelta64(STEP_S, "s")
    return day_matrix(series(starts, energy.ravel(), STEP_S), zone)


def row(day: date) -> int:
    return (day - FIRST.date()).days


def at(month: int, day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2013, month, day, hour, minute, tzinfo=UTC)


def verdicts(found: Baseline) -> dict[date, Verdict]:
    return {use.day: use.verdict for use in found.days}


def naive(energy: np.ndarray, today: int, first: int, last: int) -> np.ndarray:
    """High 5 of 10 with a ratio from -3 h to -1 h, written down directly."""
    days = [d for d in range(today - 1, -1, -1) if (FIRST + timedelta(days=d)).weekday() < 5][:10]
    best = sorted(days, key=lambda d: energy[d, first:last].sum(), reverse=True)[:5]
    usual = np.mean([energy[d] for d in best], axis=0)
    ratio = energy[today, first - 6 : first - 2].mean() / usual[first - 6 : first - 2].mean()
    return usual[first:last] * min(max(ratio, 0.8), 1.2)


@given(st.integers(0, 2**32 - 1), st.integers(0, 24), st.integers(6, 44), st.integers(1, 4))
def test_the_preset_agrees_with_a_naive_baseline(seed, later, first, length):
    day = EVENT.start.date() + timedelta(days=later)
    if day.isoweekday() > 5:
        return
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=30 * first)
    energy = loads(seed, 80)
    found = RULE.baseline(matrix_of(energy), Span(start, start + timedelta(minutes=30 * length)))
    assert found.baseline_wh == pytest.approx(naive(energy, row(day), first, first + length))
    assert found.actual_wh == pytest.approx(energy[row(day), first : first + length])


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50))
def test_scale_equivariance(seed, scale):
    energy = loads(seed)
    once = RULE.baseline(matrix_of(energy), EVENT)
    scaled = RULE.baseline(matrix_of(scale * energy), EVENT)
    assert scaled.baseline_wh == pytest.approx(scale * once.baseline_wh)


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_readings_means_nothing(seed):
    energy = loads(seed).ravel()
    starts = int(FIRST.timestamp()) + np.arange(energy.size) * STEP_S
    order = np.random.default_rng(seed).permutation(energy.size)
    shuffled = day_matrix(series(starts[order], energy[order], STEP_S), "UTC")
    assert np.array_equal(
        RULE.baseline(shuffled, EVENT).baseline_wh, RULE.baseline(matrix_of(loads(seed)), EVENT).baseline_wh
    )


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 30), min_size=1, max_size=12, unique=True))
def test_event_days_are_never_used(seed, back):
    energy = loads(seed)
    spans = tuple(Span(EVENT.start - timedelta(days=n), EVENT.start - timedelta(days=n, hours=-1)) for n in back)
    calm = RULE.baseline(matrix_of(energy), EVENT, Calendar(events=spans))
    for n in back:
        energy[row(EVENT.start.date()) - n] = 1e6
        assert verdicts(calm).get((EVENT.start - timedelta(days=n)).date()) in {Verdict.EVENT, Verdict.UNLIKE, None}
    wild = RULE.baseline(matrix_of(energy), EVENT, Calendar(events=spans))
    assert np.array_equal(calm.baseline_wh, wild.baseline_wh)


def test_nothing_after_the_event_or_before_the_ten_days_counts():
    energy = loads()
    once = RULE.baseline(matrix_of(energy), EVENT)
    today = row(EVENT.start.date())
    energy[today, 38:] = 1e6
    energy[today + 1 :] = 1e6
    energy[: row(min(verdicts(once)))] = 1e6
    assert np.array_equal(RULE.baseline(matrix_of(energy), EVENT).baseline_wh, once.baseline_wh)


def test_every_day_looked_at_has_its_reason():
    energy = loads()
    energy[row(date(2013, 2, 12)), 30] = np.nan  # in the adjustment window
    energy[row(date(2013, 2, 11)), 36] = np.nan  # in the event window
    energy[row(date(2013, 2, 8)), 2] = np.nan  # elsewhere: no matter
    calendar = Calendar(
        events=(Span(at(2, 13, 6), at(2, 13, 7)),),
        outages=(Span(at(2, 6, 22), at(2, 7, 3)),),
        holidays=frozenset({date(2013, 2, 5)}),
    )
    found = RULE.baseline(matrix_of(energy), EVENT, calendar)
    said = verdicts(found)
    assert list(said) == sorted(said, reverse=True)
    assert said[date(2013, 2, 13)] is Verdict.EVENT
    assert said[date(2013, 2, 12)] is said[date(2013, 2, 11)] is Verdict.MISSING
    assert said[date(2013, 2, 10)] is said[date(2013, 2, 5)] is Verdict.UNLIKE
    assert said[date(2013, 2, 7)] is said[date(2013, 2, 6)] is Verdict.OUTAGE
    assert said[date(2013, 2, 8)] in {Verdict.KEPT, Verdict.NOT_KEPT}
    assert list(said.values()).count(Verdict.KEPT) == 5
    assert list(said.values()).count(Verdict.NOT_KEPT) == 5


def test_ties_go_to_the_recent_days():
    found = RULE.baseline(matrix_of(np.full((DAYS, SLOTS), 400.0)), EVENT)
    kept = [use.day for use in found.days if use.verdict is Verdict.KEPT]
    assert kept == [date(2013, 2, 13), date(2013, 2, 12), date(2013, 2, 11), date(2013, 2, 8), date(2013, 2, 7)]


def test_a_weekend_event_uses_weekends_and_holidays():
    event = Span(at(2, 16, 17), at(2, 16, 19))
    found = RULE.baseline(matrix_of(loads()), event, Calendar(holidays=frozenset({date(2013, 1, 1)})))
    eligible = [day for day, verdict in verdicts(found).items() if verdict in {Verdict.KEPT, Verdict.NOT_KEPT}]
    assert len(eligible) == 10
    assert all(day.isoweekday() > 5 or day == date(2013, 1, 1) for day in eligible)


def test_too_few_days_say_which_and_why():
    with pytest.raises(NoBaselineError, match="found 4") as caught:
        RULE.baseline(matrix_of(loads()), Span(at(1, 7, 17), at(1, 7, 18)))
    assert len(caught.value.days) == RULE.lookback_days
    assert {use.verdict for use in caught.value.days} == {Verdict.MISSING, Verdict.UNLIKE, Verdict.NOT_KEPT}
    with pytest.raises(NoBaselineError):
        RULE.baseline(day_matrix(series([], [], 900), "Europe/London"), EVENT)


def test_fewer_than_ten_days_are_enough_from_five_on():
    found = PLAIN.baseline(matrix_of(loads()), Span(at(1, 8, 17), at(1, 8, 18)))
    assert [use.verdict for use in found.days if use.verdict is not Verdict.UNLIKE][:5] == [Verdict.KEPT] * 5


@pytest.mark.parametrize(
    "event", [Span(EVENT.start, None), Span(EVENT.start, EVENT.start), Span(at(1, 1, 0), at(3, 1, 0))]
)
def test_an_event_has_an_end(event):
    with pytest.raises(InvalidError, match="end"):
        RULE.baseline(matrix_of(loads()), event)


def test_the_window_moves_before_the_notice():
    energy = loads()
    today = row(EVENT.start.date())
    early = RULE.baseline(matrix_of(energy), EVENT, notified_at=at(2, 14, 9, 20))
    assert early.status is AdjustmentStatus.MOVED
    assert early.windows == (Span(at(2, 14, 7, 20), at(2, 14, 9, 20)),)
    assert early.adjustment.actual == pytest.approx(energy[today, 15:18].mean() * 2)  # whole half hours inside
    in_time = RULE.baseline(matrix_of(energy), EVENT, notified_at=at(2, 14, 16))
    assert in_time.status is AdjustmentStatus.APPLIED
    assert in_time.windows == (Span(at(2, 14, 14), at(2, 14, 16)),)


def test_a_notice_days_ahead_leaves_no_window():
    found = RULE.baseline(matrix_of(loads()), EVENT, notified_at=at(2, 12, 9))
    assert found.status is AdjustmentStatus.NO_WINDOW
    assert found.windows == ()
    assert np.array_equal(found.baseline_wh, found.unadjusted_wh)


def test_a_window_shorter_than_the_step_is_no_window():
    found = replace(RULE, windows=(Window(-1500, -300),)).baseline(matrix_of(loads()), EVENT)
    assert found.status is AdjustmentStatus.NO_WINDOW


def test_a_window_after_the_event():
    energy = loads()
    rule = replace(
        RULE, windows=(Window(-7200, -3600), Window(3600, 7200, Anchor.END)), adjustment=AdjustmentKind.ADDITIVE
    )
    found = rule.baseline(matrix_of(energy), EVENT, notified_at=at(2, 14, 16))
    today = energy[row(EVENT.start.date())]
    assert found.windows == (Span(at(2, 14, 15), at(2, 14, 16)), Span(at(2, 14, 20), at(2, 14, 21)))
    assert found.adjustment.actual == pytest.approx(today[[30, 31, 40, 41]].mean() * 2)
    assert found.baseline_wh == pytest.approx(found.unadjusted_wh + found.adjustment.shift / 2)


def test_missing_readings_on_the_day_leave_it_unadjusted():
    energy = loads()
    energy[row(EVENT.start.date()), 29] = np.nan
    found = RULE.baseline(matrix_of(energy), EVENT)
    assert found.status is AdjustmentStatus.MISSING_DATA
    assert np.array_equal(found.baseline_wh, found.unadjusted_wh)


def test_an_earlier_event_of_the_day_disturbs_the_window():
    calendar = Calendar(events=(Span(at(2, 14, 13), at(2, 14, 14, 10)), EVENT))
    assert RULE.baseline(matrix_of(loads()), EVENT, calendar).status is AdjustmentStatus.MISSING_DATA
    running = Calendar(events=(Span(at(2, 14, 13), None),))
    assert RULE.baseline(matrix_of(loads()), EVENT, running).status is AdjustmentStatus.MISSING_DATA


def test_an_event_off_the_grid_counts_whole_intervals():
    found = PLAIN.baseline(matrix_of(loads()), Span(at(2, 14, 17, 10), at(2, 14, 18, 15)))
    assert found.overlap_s.tolist() == [1200.0, 1800.0, 900.0]
    assert found.starts_s.tolist() == [int(at(2, 14, 17, n).timestamp()) for n in (0, 30)] + [
        int(at(2, 14, 18).timestamp())
    ]
    assert found.status is AdjustmentStatus.NONE


def test_intervals_beyond_the_event_use_the_same_days():
    inside = RULE.baseline(matrix_of(loads()), EVENT)
    found = RULE.baseline(matrix_of(loads()), EVENT, show=Span(at(2, 14, 12), at(2, 14, 22)))
    assert found.in_event.sum() == 4
    assert len(found.starts_s) == 20
    assert np.array_equal(found.baseline_wh[found.in_event], inside.baseline_wh)
    assert np.isfinite(found.baseline_wh).all()


def test_an_event_over_midnight():
    energy = loads()
    event = Span(at(2, 14, 23), at(2, 15, 1))
    found = replace(PLAIN, x=10).baseline(matrix_of(energy), event)
    days = [row(use.day) for use in found.days if use.verdict is Verdict.KEPT]
    usual = [np.mean([energy.ravel()[d * SLOTS + slot] for d in days]) for slot in range(46, 50)]
    assert found.baseline_wh == pytest.approx(usual)
    calendar = Calendar(events=(Span(at(2, 13, 3), at(2, 13, 4)),))
    touched = verdicts(PLAIN.baseline(matrix_of(energy), event, calendar))
    assert touched[date(2013, 2, 13)] is touched[date(2013, 2, 12)] is Verdict.EVENT


def test_days_match_by_wall_clock_when_the_clocks_change():
    """A load that follows the wall clock has an exact baseline on both sides of the change."""
    starts = int(FIRST.timestamp()) + np.arange(120 * SLOTS) * STEP_S
    utc = day_matrix(series(starts, np.zeros(starts.size), STEP_S), "Europe/London")
    clock = (utc.offsets(starts, 0) % SLOTS).astype(float) + 100
    matrix = day_matrix(series(starts, clock, STEP_S), "Europe/London")
    event = Span(at(4, 2, 16), at(4, 2, 18))  # 17:00 to 19:00 on the wall, two days after the change
    found = RULE.baseline(matrix, event)
    assert found.baseline_wh.tolist() == found.actual_wh.tolist() == [134.0, 135.0, 136.0, 137.0]


def test_a_day_that_lacks_the_hour_is_not_used_for_it():
    rule = replace(PLAIN, y=3, x=3, min_days=1)
    matrix = matrix_of(loads(days=120), "Europe/London")
    found = rule.baseline(matrix, Span(at(4, 7, 0), at(4, 7, 1)))  # 01:00 to 02:00 on a Sunday
    assert verdicts(found)[date(2013, 3, 31)] is Verdict.MISSING
    wider = rule.baseline(matrix, Span(at(4, 6, 23), at(4, 7, 2)))  # 00:00 to 03:00: the missing hour is no gap
    assert verdicts(wider)[date(2013, 3, 31)] is Verdict.KEPT


def test_an_event_in_the_doubled_hour_has_an_interval_for_each():
    energy = loads(days=320)
    found = PLAIN.baseline(matrix_of(energy, "Europe/London"), Span(at(10, 27, 0), at(10, 27, 2)))
    assert len(found.baseline_wh) == 4
    assert found.baseline_wh[:2].tolist() == found.baseline_wh[2:].tolist()
    assert found.actual_wh.tolist() == energy[row(date(2013, 10, 27)), :4].tolist()


def test_a_day_that_runs_into_the_event_is_not_used():
    long = Span(at(2, 14, 12), at(2, 15, 14))
    said = verdicts(PLAIN.baseline(matrix_of(loads()), long))
    assert said[date(2013, 2, 13)] is Verdict.EVENT  # its window would reach into the event itself
    assert said[date(2013, 2, 12)] in {Verdict.KEPT, Verdict.NOT_KEPT}


def test_an_event_until_midnight_leaves_the_next_day_alone():
    calendar = Calendar(events=(Span(at(2, 11, 22), at(2, 12, 0)),))
    said = verdicts(RULE.baseline(matrix_of(loads()), EVENT, calendar))
    assert said[date(2013, 2, 11)] is Verdict.EVENT
    assert said[date(2013, 2, 12)] in {Verdict.KEPT, Verdict.NOT_KEPT}


@pytest.mark.parametrize("more_w", [300.0, -300.0])
@pytest.mark.parametrize("usual_w", [1500.0, 200.0, -500.0])
@pytest.mark.parametrize("preset", ["10of10", "high5of10", "high15of20", "mid8of10"])
def test_a_ratio_never_works_across_zero(preset, usual_w, more_w):
    """A solar home that uses 300 W more than usual all day and does not react has delivered nothing."""
    power_w = np.full((DAYS, SLOTS), usual_w)
    power_w[:, 34:38] = -1740.0 - more_w  # the event's hours, 17:00 to 19:00
    power_w[row(EVENT.start.date())] += more_w
    found = PRESETS[preset].baseline(matrix_of(power_w / 2), EVENT)
    assert found.adjustment.kind is AdjustmentKind.ADDITIVE
    np.testing.assert_allclose(found.actual_wh[found.in_event], -1740 / 2)
    np.testing.assert_allclose((found.baseline_wh - found.actual_wh)[found.in_event], 0, atol=1e-9)


def like_days(count):
    """Return the rows of the latest weekdays before the event, newest first."""
    today = row(EVENT.start.date())
    return [day for day in range(today - 1, -1, -1) if (FIRST + timedelta(days=day)).weekday() < 5][:count]


def test_days_are_ranked_by_what_was_used_on_the_whole_of_them():
    """The days with the highest evenings are not those with the highest consumption."""
    energy = np.full((DAYS, SLOTS), 100.0)
    busy, evenings = like_days(10)[:5], like_days(10)[5:]
    energy[busy] = 200.0
    for number, day in enumerate(busy):
        energy[day, 34:38] = 110.0 + number
    energy[evenings, 34:38] = 900.0
    found = PRESETS["high5of10-day"].baseline(matrix_of(energy), EVENT)
    assert {use.day for use in found.days if use.verdict is Verdict.KEPT} == {
        (FIRST + timedelta(days=day)).date() for day in busy
    }
    np.testing.assert_allclose(found.unadjusted_wh[found.in_event], 112.0)
    np.testing.assert_allclose(found.baseline_wh[found.in_event], 112.0 - 100.0)  # 200 W before on those, 100 today


def test_the_days_most_like_the_events_other_hours_are_taken():
    energy = np.full((DAYS, SLOTS), 300.0)
    today, days = row(EVENT.start.date()), like_days(20)
    for number, day in enumerate(days):
        energy[day] = 300.0 + 10 * (number + 1)
    near = [days[4], days[9], days[14]]
    for number, day in enumerate(near):
        energy[day] = 300.0 + number
        energy[day, 34:38] = 500.0 + 10 * number
    energy[today, 32:40] = 9_000.0  # the event and the hour on either side are not compared
    found = PRESETS["match-day-3"].baseline(matrix_of(energy), EVENT)
    assert {use.day for use in found.days if use.verdict is Verdict.KEPT} == {
        (FIRST + timedelta(days=day)).date() for day in near
    }
    np.testing.assert_allclose(found.baseline_wh[found.in_event], 510.0)
    assert found.status is AdjustmentStatus.NONE


def test_a_day_that_was_hardly_measured_is_like_no_other():
    energy = np.full((DAYS, SLOTS), 300.0)
    energy[row(EVENT.start.date()), :30] = np.nan
    energy[row(EVENT.start.date()), 38:] = np.nan
    with pytest.raises(NoBaselineError, match="hardly measured"):
        PRESETS["match-day-3"].baseline(matrix_of(energy), EVENT)


def test_what_lies_in_an_outage_or_another_event_is_not_compared():
    energy = np.full((DAYS, SLOTS), 300.0)
    today, days = row(EVENT.start.date()), like_days(20)
    for day in days[3:]:
        energy[day] = 400.0
    energy[today, 2:6] = 9_000.0
    calendar = Calendar(outages=(Span(at(2, 14, 1), at(2, 14, 3)),))
    found = PRESETS["match-day-3"].baseline(matrix_of(energy), EVENT, calendar)
    np.testing.assert_allclose(found.baseline_wh[found.in_event], 300.0)


def test_an_export_of_one_interval_of_the_window_is_enough_to_shift():
    energy = np.full((DAYS, SLOTS), 500.0)
    energy[:, 29] = -100.0
    energy[row(EVENT.start.date())] += 50.0
    found = RULE.baseline(matrix_of(energy), EVENT)
    assert found.adjustment.kind is AdjustmentKind.ADDITIVE
    np.testing.assert_allclose(found.baseline_wh[found.in_event], 550)


# -- ranked by temperature

WARM = PRESETS["weather-5"]


def weather_of(by_row, *, known=None):
    """Return the temperatures of days (rows of the readings), each the same all day, hourly; `known`: which rows."""
    rows = [row_ for row_ in range(len(by_row)) if known is None or row_ in known]
    hours = np.concatenate([24 * row_ + np.arange(24) for row_ in rows]) if rows else np.zeros(0, np.int64)
    return Weather(int(FIRST.timestamp()) + 3600 * hours + 1800, np.repeat(np.asarray(by_row, float)[rows], 24))


def kept(found):
    return {row(use.day) for use in found.days if use.verdict is Verdict.KEPT}


def test_the_days_nearest_in_temperature_are_taken_worked_by_hand():
    """The event is at 30 degrees. Of the weekdays before it, five lay at 29, 31.5, 28, 33 and 26.5 degrees.

    They are 1, 1.5, 2, 3 and 3.5 K away, all others 4 K or more (26, 34, 20): the mean of 500, 520, 540, 560 and 580 Wh
    in half an hour is 540 Wh. A Saturday at 30 degrees is no like day.
    """
    celsius, energy = np.full(DAYS, 20.0), np.full((DAYS, SLOTS), 100.0)
    today, days = row(EVENT.start.date()), like_days(30)
    celsius[today] = 30.0
    near = [days[2], days[7], days[11], days[16], days[23]]
    for day, warmth, wh in zip(near, (29.0, 31.5, 28.0, 33.0, 26.5), (500.0, 520.0, 540.0, 560.0, 580.0), strict=True):
        celsius[day], energy[day, 34:38] = warmth, wh
    celsius[days[0]], celsius[days[1]] = 26.0, 34.0
    celsius[today - 5], energy[today - 5] = 30.0, 9_000.0  # a Saturday
    found = WARM.baseline(matrix_of(energy), EVENT, Calendar(weather=weather_of(celsius)))
    assert kept(found) == set(near)
    np.testing.assert_allclose(found.baseline_wh[found.in_event], 540.0)
    assert (found.celsius, found.status) == (30.0, AdjustmentStatus.NONE)
    assert {use.celsius for use in found.days if row(use.day) in near} == {29.0, 31.5, 28.0, 33.0, 26.5}


def test_the_temperature_is_that_of_the_events_hours():
    """A morning as warm as the event's says nothing of an afternoon."""
    today, days = row(EVENT.start.date()), like_days(30)
    celsius = np.full((DAYS, 24), 10.0)
    celsius[days[:5], :12], celsius[days[5:10], 12:], celsius[today] = 30.0, 29.0, 30.0
    hourly = Weather(int(FIRST.timestamp()) + 3600 * np.arange(24 * DAYS) + 1800, celsius.ravel())
    assert kept(WARM.baseline(matrix_of(loads()), EVENT, Calendar(weather=hourly))) == set(days[5:10])


def test_days_without_temperature_are_not_ranked_and_say_so():
    today, days = row(EVENT.start.date()), like_days(30)
    celsius = np.full(DAYS, 20.0)
    lacking = set(days[:3])
    found = WARM.baseline(
        matrix_of(loads()), EVENT, Calendar(weather=weather_of(celsius, known=set(range(DAYS)) - lacking))
    )
    said = {row(day): verdict for day, verdict in verdicts(found).items()}
    assert {said[day] for day in lacking} == {Verdict.NO_TEMPERATURE}
    assert kept(found) == set(days[3:8]), "of equals the more recent"
    assert today not in said


def test_without_the_events_temperature_or_those_of_enough_days_there_is_no_baseline():
    """No other days stand in: what they would have used in other weather might pay too much."""
    matrix, celsius = matrix_of(loads()), np.full(DAYS, 20.0)
    today, days = row(EVENT.start.date()), like_days(30)
    for weather in (None, weather_of(celsius, known=())):
        with pytest.raises(NoBasisError, match="that of the event is not known"):
            WARM.baseline(matrix, EVENT, Calendar(weather=weather))
    with pytest.raises(NoBasisError, match="that of the event"):
        WARM.baseline(matrix, EVENT, Calendar(weather=weather_of(celsius, known=set(range(DAYS)) - {today})))
    few = {today, *days[:4]}
    with pytest.raises(NoBasisError, match="not known of 28 of 32 days") as caught:
        WARM.baseline(matrix, EVENT, Calendar(weather=weather_of(celsius, known=few)))
    assert caught.value.days[0].verdict is Verdict.NOT_KEPT
    with pytest.raises(NoBaselineError, match="needs 5 eligible days") as caught:
        WARM.baseline(matrix_of(np.full((DAYS, SLOTS), np.nan)), EVENT, Calendar(weather=weather_of(celsius)))
    assert not isinstance(caught.value, NoBasisError)


def test_a_rule_that_asks_for_no_temperature_is_not_changed_by_any():
    assert {rule.id for rule in PRESETS.values() if Need.TEMPERATURE in rule.needs} == {
        "weather-5",
        "time-of-week-temperature",
    }
    energy, celsius = loads(), np.random.default_rng(1).uniform(-10, 30, DAYS)
    for rule in (one for one in PRESETS.values() if not one.needs):
        plain = rule.baseline(matrix_of(energy), EVENT)
        warm = rule.baseline(matrix_of(energy), EVENT, Calendar(weather=weather_of(celsius)))
        assert np.array_equal(plain.baseline_wh, warm.baseline_wh, equal_nan=True)
        assert np.isnan(warm.celsius)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 50), st.floats(-20, 20))
def test_nearness_in_temperature_is_that_of_a_naive_baseline_whatever_the_scale(seed, scale, warmer):
    """Loads may be scaled and all temperatures shifted: the days are the same, and their mean is scaled."""
    energy, celsius = loads(seed), np.random.default_rng(seed).integers(0, 12, DAYS).astype(float)
    today, days = row(EVENT.start.date()), like_days(30)
    nearest = sorted(days, key=lambda day: abs(celsius[day] - celsius[today]))[:5]  # stable: of equals the more recent
    found = WARM.baseline(matrix_of(energy), EVENT, Calendar(weather=weather_of(celsius)))
    assert kept(found) == set(nearest)
    assert found.baseline_wh == pytest.approx(energy[nearest, 34:38].mean(axis=0))
    again = WARM.baseline(matrix_of(scale * energy), EVENT, Calendar(weather=weather_of(celsius + warmer)))
    assert kept(again) == set(nearest)
    assert again.baseline_wh == pytest.approx(scale * found.baseline_wh)


@given(st.integers(0, 2**32 - 1), st.lists(st.integers(1, 30), min_size=1, max_size=12, unique=True))
def test_days_of_events_are_never_used_however_near_their_temperature(seed, back):
    energy, celsius = loads(seed), np.random.default_rng(seed).uniform(0, 30, DAYS)
    today = row(EVENT.start.date())
    celsius[[today - n for n in back]] = celsius[today]
    spans = tuple(Span(EVENT.start - timedelta(days=n), EVENT.start - timedelta(days=n, hours=-1)) for n in back)
    calendar = Calendar(events=spans, weather=weather_of(celsius))
    calm = WARM.baseline(matrix_of(energy), EVENT, calendar)
    energy[[today - n for n in back]] = 1e6
    assert not kept(calm) & {today - n for n in back}
    assert np.array_equal(calm.baseline_wh, WARM.baseline(matrix_of(energy), EVENT, calendar).baseline_wh)
