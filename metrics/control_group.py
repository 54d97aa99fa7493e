"""Baselines out of a control group: what homes used meanwhile that nobody called."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from core.errors import InvalidError
from core.spans import Span
from metrics.control import Control
from metrics.days import DayMatrix, Floats, Ints, LikeDays, from_days, from_epoch_s
from metrics.event_frame import event_frame, undisturbed
from metrics.matching import Adjustment, average, never_exports
from metrics.method import (
    ORDINARY,
    AdjustmentStatus,
    Baseline,
    Calendar,
    DayUse,
    NoBaselineError,
    NoBasisError,
    Verdict,
)
from metrics.needs import Need
from metrics.rules import AdjustmentKind, Window, reach_s

_LACKS: Final = "a control group to be held against"
LEAST_HOMES: Final = 10
"""The mean of fewer homes is a single home's chance above all."""


@dataclass(frozen=True, slots=True)
class ControlGroup(LikeDays):
    """The mean load C(t) of a control group, fitted to a home by the hours before the event; a BaselineMethod.

    With the means of home and control in the windows, `T` and `C`: additive `C(t) + (T - C)`, which is the difference
    in differences, or by ratio `C(t) * T / C`. Below `ratio_floor_w`, and as soon as any of these loads is an export, a
    ratio means nothing, and the additive form stands in. It needs no history.

    `min_homes`: so many control homes must be known in an interval. `coverage`: least share of the windows' intervals
    that must be measured of the home and of the control, 0 to 1. `id`, `version`, `citation`: what a stored result
    names as its method.
    """

    id: str
    version: int
    citation: str
    windows: tuple[Window, ...]
    adjustment: AdjustmentKind = AdjustmentKind.ADDITIVE
    min_homes: int = LEAST_HOMES
    coverage: float = 0.9
    ratio_floor_w: float = 1.0
    lookback_days: int = 1
    min_days: int = 0

    def __post_init__(self) -> None:
        if not self.windows or not 0 < self.coverage <= 1:
            raise InvalidError(f"{self.id}: there are windows, and coverage is a share above 0.")
        if self.min_homes < 1 or self.ratio_floor_w < 0:
            raise InvalidError(f"{self.id}: a control group has a home at least, and the floor is a power.")

    @property
    def needs(self) -> frozenset[Need]:
        """What it asks of the calendar: the load of a control group."""
        return frozenset({Need.CONTROL})

    @property
    def reach_s(self) -> int:
        """How many seconds after an event's end it looks at."""
        return reach_s(self.windows)

    def baseline(
        self,
        matrix: DayMatrix,
        event: Span,
        calendar: Calendar = ORDINARY,
        *,
        notified_at: datetime | None = None,
        show: Span | None = None,
    ) -> Baseline:
        """Return the baseline of a participant for an event; NaN in intervals with fewer control homes than needed.

        A window that ends after `notified_at` moves before it. `unadjusted_wh` is the control's mean. Raises
        NoBasisError where there is no control group, or too little is known of it; NoBaselineError where the home's
        own windows were not measured, or other events and outages lie in them; and like `BaselineMethod.baseline`.
        """
        frame = event_frame(matrix, event, self.windows, notified_at, show)
        control, step_s, phase_s = calendar.control, matrix.series.step_s, matrix.series.phase_s
        if control is None:
            raise NoBasisError(f"{self.id} needs a control group, and there is none.", (), _LACKS)
        if control.series.step_s != step_s or (control.series.starts_s.size and control.series.phase_s != phase_s):
            raise InvalidError("The control group's intervals are not those of the participant.")
        usual_wh, usual_before_wh = (
            control.at(frame.starts_s, self.min_homes),
            control.at(frame.before_s, self.min_homes),
        )
        own_before_wh = matrix.series.at(frame.before_s)
        free = undisturbed(matrix, frame.before_s, (*calendar.events, *calendar.outages))
        known = np.isfinite(usual_before_wh)
        heard = np.isfinite(own_before_wh) & free & known
        has_windows = frame.before_s.size > 0 and len(frame.windows) == len(self.windows)
        share = float(heard.mean()) if has_windows else 0.0
        use = DayUse(
            from_days(frame.today),
            Verdict.KEPT if share >= self.coverage else Verdict.MISSING,
            share,
            average(usual_wh[frame.in_event]) * 3600 / step_s,
        )
        if not np.isfinite(usual_wh[frame.in_event]).any():
            raise self._too_few(control, frame.starts_s[frame.in_event], "of the event")
        if has_windows and known.mean() < self.coverage:
            raise self._too_few(control, frame.before_s, "before it")
        if share < self.coverage and has_windows and (np.isfinite(own_before_wh) & known).mean() >= self.coverage:
            raise NoBasisError(
                f"{self.id} needs the hours before the event, and another event or an outage lies in them.",
                (use,),
                "undisturbed hours before the event",
            )
        if share < self.coverage:
            raise NoBaselineError(
                f"{self.id} needs the hours before the event, and too few of them were measured.", (use,)
            )
        change = self._change(
            usual_wh[frame.in_event], usual_before_wh[heard], own_before_wh[heard], to_w=3600 / step_s
        )
        return Baseline(
            method=self,
            step_s=step_s,
            starts_s=frame.starts_s,
            overlap_s=frame.overlap_s,
            baseline_wh=usual_wh * change.factor + change.shift * step_s / 3600,
            unadjusted_wh=usual_wh,
            actual_wh=matrix.series.at(frame.starts_s),
            adjustment=change,
            status=AdjustmentStatus.MOVED if frame.moved else AdjustmentStatus.APPLIED,
            windows=tuple(Span(from_epoch_s(first), from_epoch_s(last)) for first, last in frame.windows),
            days=(use,),
        )

    def _too_few(self, control: Control, starts_s: Ints, hours: str) -> NoBasisError:
        """Return why the control group does not do: how many of its homes are known at most in those hours."""
        most = int(control.homes_at(starts_s).max(initial=0))
        return NoBasisError(
            f"{self.id} needs {self.min_homes} homes of the control group in the hours {hours}, and {most} are known "
            "at most.",
            (),
            _LACKS,
        )

    def _change(self, usual_wh: Floats, usual_before_wh: Floats, own_before_wh: Floats, *, to_w: float) -> Adjustment:
        """Return how the control's load becomes that of the home, in W."""
        usual_w, own_w = float(usual_before_wh.mean()) * to_w, float(own_before_wh.mean()) * to_w
        scales = usual_w > 0 and usual_w >= self.ratio_floor_w
        if (
            self.adjustment is AdjustmentKind.RATIO
            and scales
            and never_exports(usual_wh, usual_before_wh, own_before_wh)
        ):
            factor = own_w / usual_w
            return Adjustment(AdjustmentKind.RATIO, factor=factor, raw_factor=factor, baseline=usual_w, actual=own_w)
        return Adjustment(AdjustmentKind.ADDITIVE, shift=own_w - usual_w, baseline=usual_w, actual=own_w)
