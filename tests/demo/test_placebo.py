"""The plan's promise: the order stands out of the baseline's own error, and what is measured is near the truth."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from core.spans import Span
from evenload.demo.model import HALF_HOUR, House, Switch, make_houses
from evenload.demo.placebo import placebo_of
from evenload.demo.plan import DemoPlan
from metrics.days import day_matrix, series
from metrics.performance import delivered
from metrics.presets import PRESETS

RULE = PRESETS[DemoPlan().baseline]
_OUT = (5, 10)
"""Homes that do not take part."""


def delivered_wh(plan: DemoPlan, house: House, event: Span, log: list[Switch]) -> float:
    """What the VTN would credit: from the history that it asks for, in half hours."""
    starts = np.arange((event.end - plan.world_start) // HALF_HOUR + 48 * plan.history_days) * 1800
    first = plan.world_start - timedelta(days=plan.history_days)
    times = [first + timedelta(seconds=int(start)) for start in starts]
    energies = [house.natural_wh(at, at + HALF_HOUR) - house.true_wh(log, at, at + HALF_HOUR) for at in times]
    found = RULE.baseline(day_matrix(series([at.timestamp() for at in times], energies, 1800), "UTC"), event)
    return float(delivered(found.baseline_wh, found.actual_wh).sum())


@pytest.mark.parametrize(("seed", "hour"), [(1, 18.5), (2, 17.0), (5, 20.5)])
def test_the_order_is_far_above_the_placebo_spread_and_the_truth_is_within_it(series, seed, hour):
    plan = DemoPlan(seed=seed)
    start = datetime(2013, 11, 20, tzinfo=UTC) + timedelta(hours=hour)
    event = Span(start, start + plan.event_duration)
    houses = make_houses(plan.seed, plan.homes, series)
    sd_wh = placebo_of([(house, event) for house in houses], RULE).sd_wh
    assert plan.ordered_wh >= 7 * sd_wh

    shed = [Switch(start + timedelta(seconds=20), on=False), Switch(event.end + timedelta(seconds=20), on=True)]
    logs = {house: [] if house.home.index in _OUT else shed for house in houses}
    true_wh = sum(house.true_wh(log, start, event.end) for house, log in logs.items())
    ordered_of_those_in_wh = plan.ordered_wh * sum(map(bool, logs.values())) / plan.homes
    assert 0.9 <= true_wh / ordered_of_those_in_wh <= 1.2
    assert abs(sum(delivered_wh(plan, house, event, log) for house, log in logs.items()) - true_wh) <= 2.5 * sd_wh


def test_placebo_events_are_working_days_before_the_event_and_forty_of_them(series):
    event = Span(datetime(2013, 11, 20, 18, tzinfo=UTC), datetime(2013, 11, 20, 19, tzinfo=UTC))
    found = placebo_of([(house, event) for house in make_houses(1, 2, series)], RULE)
    assert len(found.dates) >= 40
    assert all(day.weekday() < 5 for day in found.dates)
    assert max(found.dates) < event.start.date()
