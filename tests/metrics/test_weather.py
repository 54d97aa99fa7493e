"""Temperatures between the moments at which they are known."""

import numpy as np
import pytest

from core.errors import InvalidError
from metrics import Weather

HOUR = 3600


def test_between_moments_it_changes_evenly_and_far_from_them_it_is_not_known():
    weather = Weather(np.array([0, 4 * HOUR, 20 * HOUR]), np.array([0.0, 8.0, 16.0]))
    found = weather.at(np.array([-4, -3, 0, 1, 4, 7, 8, 17, 20, 24]) * HOUR)
    np.testing.assert_allclose(found, [np.nan, 0, 0, 2, 8, 9.5, np.nan, 14.5, 16, np.nan])


def test_of_nowhere_nothing_is_known():
    assert np.isnan(Weather(np.zeros(0, np.int64), np.zeros(0)).at(np.arange(3))).all()


@pytest.mark.parametrize(
    ("times", "celsius"), [([0, 1], [1.0]), ([1, 0], [1.0, 1.0]), ([0, 0], [1.0, 1.0]), ([0], [np.nan]), ([0], [273.2])]
)
def test_what_is_no_temperature_is_refused(times, celsius):
    with pytest.raises(InvalidError):
        Weather(np.array(times), np.array(celsius))
