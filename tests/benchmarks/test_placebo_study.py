"""The placebo study: its population is the same each time, its figures are those of errors that are known."""

import numpy as np
import pytest

from benchmarks.placebo_study import meters, outdoors, placebos, population, study
from metrics import Calendar, Placebo
from metrics.days import from_days


def test_a_population_is_the_same_each_time():
    (first,), (again,) = list(population(1)), list(population(1))
    assert np.array_equal(first.energy_wh, again.energy_wh)
    assert first.energy_wh.shape == (365 * 96,)
    assert first.energy_wh.min() > 0


def test_what_compares_temperatures_has_those_of_the_population_and_none_where_there_are_none():
    (home,) = population(1)
    weather = outdoors()
    assert np.array_equal(weather.celsius, outdoors().celsius)
    assert weather.celsius.min() < 5
    assert weather.celsius.max() > 15
    for method in ("weather-5", "time-of-week-temperature"):
        assert len(placebos(home, method, Calendar(weather=weather)).dates) > 40
        assert placebos(home, method).dates == ()
        assert study("x", [placebos(one, method) for one in meters()], method) == []


def test_errors_that_are_alike_do_not_cancel_and_others_do():
    """Every home errs by the same normal error of the day: a pool on the same date errs as one home, shuffled less."""
    rng = np.random.default_rng(1)
    error = rng.normal(50, 100, 60)
    days = tuple(from_days(20_000 + number) for number in range(60))
    homes = [Placebo(days, error, np.full(60, 1000.0)) for _ in range(5)]
    rows = {(row.pool, row.drawn): row for row in study("x", homes, "10of10")}
    for row in rows.values():
        assert row.bias_percent == pytest.approx(error.mean() / 10, abs=1.5)
        assert 80 <= row.coverage_percent <= 97
    alone, together, apart = rows[1, "same date"], rows[1000, "same date"], rows[1000, "shuffled"]
    assert together.cvrmse_percent == pytest.approx(alone.cvrmse_percent)
    assert apart.cvrmse_percent == pytest.approx(abs(error.mean()) / 10, rel=0.1)
