"""Baselines, performance and statistics: pure functions on numpy arrays. May import `core`."""

from core.direction import Direction
from metrics.day_matching import DayMatch
from metrics.days import DayMatrix, DayType, Series, day_matrix, series
from metrics.matching import Adjustment, Match, match
from metrics.method import (
    AdjustmentStatus,
    Baseline,
    BaselineMethod,
    Calendar,
    DayUse,
    NoBaselineError,
    NoTemperatureError,
    Verdict,
)
from metrics.participation import Answer, Participation, participation, percentiles
from metrics.performance import Performance, delivered, ordered_wh, performance, pooled
from metrics.placebo import Accuracy, Placebo, accuracy, nmbe, on_common_days, placebo, pool_placebo, rrmse
from metrics.presets import DEFAULT_PRESET, PRESETS
from metrics.regression import Regression
from metrics.rules import AdjustmentKind, Anchor, Keep, Rank, Rule, Window
from metrics.weather import Weather

__all__ = [
    "DEFAULT_PRESET",
    "PRESETS",
    "Accuracy",
    "Adjustment",
    "AdjustmentKind",
    "AdjustmentStatus",
    "Anchor",
    "Answer",
    "Baseline",
    "BaselineMethod",
    "Calendar",
    "DayMatch",
    "DayMatrix",
    "DayType",
    "DayUse",
    "Direction",
    "Keep",
    "Match",
    "NoBaselineError",
    "NoTemperatureError",
    "Participation",
    "Performance",
    "Placebo",
    "Rank",
    "Regression",
    "Rule",
    "Series",
    "Verdict",
    "Weather",
    "Window",
    "accuracy",
    "day_matrix",
    "delivered",
    "match",
    "nmbe",
    "on_common_days",
    "ordered_wh",
    "participation",
    "percentiles",
    "performance",
    "placebo",
    "pool_placebo",
    "pooled",
    "rrmse",
    "series",
]
