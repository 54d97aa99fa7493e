"""The seam behind which every baseline stands: a method of one's own is asked like the published ones."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np

from core.direction import Direction
from core.spans import Span
from metrics import PRESETS, Baseline, BaselineMethod, DayType, accuracy, day_matrix, placebo, series
from metrics.learning import ready_on
from metrics.matching import NO_ADJUSTMENT
from metrics.method import ORDINARY, AdjustmentStatus

STEP_S = 900
START = datetime(2013, 3, 4, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A load that was agreed on, whatever the readings say."""

    power_w: float
    id: str = "fixed"
    version: int = 1
    citation: str = "A contract."
    lookback_days: int = 0
    min_days: int = 0
    coverage: float = 0.0
    reach_s: int = 0
    uses_temperature: bool = False

    def alike(self, kind):
        return (kind,)

    def baseline(self, matrix, event, calendar=ORDINARY, *, notified_at=None, show=None):  # noqa: ARG002
        starts_s = matrix.series.grid(event.start.timestamp(), event.end.timestamp())
        agreed_wh = np.full(len(starts_s), self.power_w * STEP_S / 3600)
        actual_wh = matrix.series.at(starts_s)
        inside_s = np.full(len(starts_s), float(STEP_S))
        how = (NO_ADJUSTMENT, AdjustmentStatus.NONE, (), ())
        return Baseline(self, STEP_S, starts_s, inside_s, agreed_wh, agreed_wh, actual_wh, *how)


def test_a_method_of_ones_own_goes_wherever_the_presets_go():
    agreed: BaselineMethod = Fixed(1000.0)
    times = [START + n * timedelta(seconds=STEP_S) for n in range(96 * 10)]
    matrix = day_matrix(series([one.timestamp() for one in times], [200.0] * len(times), STEP_S), "UTC")
    event = Span(START + timedelta(days=8, hours=17), START + timedelta(days=8, hours=18))
    found = placebo(matrix, event, agreed, direction=Direction.REDUCE)
    assert found.dates == tuple(date(2013, 3, day) for day in (4, 5, 6, 7, 8, 11))
    assert found.delivered_wh.tolist() == [200.0] * 6
    assert accuracy([found]).bias == 0.25
    assert ready_on(agreed, 0, 15_800, DayType.WEEKDAY) == date(2013, 4, 5)


def test_every_preset_is_a_method_whose_text_holds_all_that_decides_its_outcome():
    methods: list[BaselineMethod] = list(PRESETS.values())
    assert len({repr(one) for one in methods}) == len(methods)
    assert all(one.lookback_days >= one.min_days >= 0 and one.lookback_days > 0 for one in methods)
