"""What earns, and what of it counts (metrics.earnings)."""

import math

import numpy as np
import pytest

from metrics import earnings

NAN = math.nan


def test_a_power_earns_where_it_was_ordered_and_a_plain_signal_wherever_one_takes_part():
    ordered, takes_part = np.array([100.0, 0.0, 100.0]), np.array([True, True, False])
    assert earnings.earning(ordered, takes_part, names_power=True).tolist() == [True, False, False]
    assert earnings.earning(np.zeros(3), takes_part, names_power=False).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("delivered", "earns", "total", "coverage"),
    [
        ([50.0, -20.0], [True, True], 30.0, 1.0),
        ([50.0, 70.0], [True, False], 50.0, 1.0),
        ([50.0, NAN], [True, True], 50.0, 0.5),
        ([50.0, NAN], [True, False], 50.0, 1.0),
        ([NAN, 70.0], [True, False], NAN, 0.0),
        ([NAN, NAN], [False, False], 0.0, NAN),
    ],
    ids=[
        "a loss in one interval is taken off the gain of another",
        "what was not ordered earns nothing",
        "a gap costs its own interval",
        "a gap where nothing is to be earned costs nothing",
        "not known where it is to be earned",
        "nothing was to be earned",
    ],
)
def test_what_counts_is_summed_over_what_earns(delivered, earns, total, coverage):
    due = np.array(earns)
    credited = earnings.credited(np.array(delivered), due)
    assert earnings.total(credited, due) == pytest.approx(total, nan_ok=True)
    assert earnings.coverage(credited, due) == pytest.approx(coverage, nan_ok=True)


def test_a_long_reading_delivers_where_it_was_ordered_and_its_sum_stays():
    starts_s = np.arange(6) * 900
    delivered = np.array([10.0, 10.0, 10.0, 10.0, 7.0, NAN])
    spans_s = np.array([[0, 3600], [3600, 5400]])
    weights = np.array([0.0, -100.0, -300.0, 0.0, 50.0, 50.0])
    moved = earnings.by_order(delivered, starts_s, 900, weights, spans_s)
    np.testing.assert_allclose(moved, [0, 10, 30, 0, 7, NAN])  # a span that is not all known stays as it is
    np.testing.assert_allclose(earnings.by_order(delivered, starts_s, 900, np.zeros(6), spans_s), delivered)
