"""When a participant will have a baseline."""

from datetime import date

import pytest

from metrics.days import DayType, to_days
from metrics.learning import ready_on
from metrics.presets import PRESETS

MONDAY = to_days(date(2026, 1, 12))


@pytest.mark.parametrize(
    ("have", "kind", "ready"),
    [
        (0, DayType.WEEKDAY, date(2026, 1, 19)),
        (4, DayType.WEEKDAY, date(2026, 1, 13)),
        (5, DayType.WEEKDAY, date(2026, 1, 12)),
        (0, DayType.WEEKEND, date(2026, 2, 1)),
        (3, DayType.WEEKEND, date(2026, 1, 24)),
    ],
)
def test_the_first_day_that_can_be_measured_has_enough_like_days_before_it(have, kind, ready):
    assert ready_on(PRESETS["10of10"], have, MONDAY, kind) == ready


def test_holidays_are_no_weekdays():
    holiday = frozenset({date(2026, 1, 13)})
    assert ready_on(PRESETS["10of10"], 4, MONDAY, DayType.WEEKDAY, holiday) == date(2026, 1, 14)
