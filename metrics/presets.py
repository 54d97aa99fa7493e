"""The published baselines, one row of parameters each; a new preset is a new row."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from metrics.day_matching import DayMatch
from metrics.method import BaselineMethod
from metrics.rules import AdjustmentKind, Keep, Rank, Window

_HOUR = 3600

PRESETS: Mapping[str, BaselineMethod] = MappingProxyType(
    {
        method.id: method
        for method in (
            DayMatch(
                id="10of10",
                version=2,
                citation=(
                    "Mean of the 10 latest like days without events, adjusted by the day's own load: the frame of "
                    "California ISO's PDR/RDRR baseline (Baseline Accuracy Work Group Proposal, 2017, section 1), "
                    "which AEMO's Baseline Methodology Register builds on, too. Ratio within 20 % as there; window "
                    "from 4 h to 1 h before the event: ours."
                ),
                y=10,
                x=10,
                keep=Keep.ALL,
                adjustment=AdjustmentKind.RATIO,
                windows=(Window(-4 * _HOUR, -1 * _HOUR),),
                cap=(0.8, 1.2),
            ),
            DayMatch(
                id="10of10-unadjusted",
                version=1,
                citation=(
                    "Mean of the 10 latest like days without events, as it is. For hours of which the hours before "
                    "say nothing, mornings above all. Ours."
                ),
                y=10,
                x=10,
                keep=Keep.ALL,
            ),
            DayMatch(
                id="mid8of10",
                version=1,
                citation=(
                    "Mean of the 10 latest like days without events, the highest and the lowest left out: the Middle "
                    "8-of-10 of ERCOT's Demand Response Baseline Methodologies (version 19.0, 2019), which has an "
                    "adjustment by the event day, too. Ours: it shifts by the mean difference from 3 h to 1 h before "
                    "the event."
                ),
                y=10,
                x=8,
                keep=Keep.MID,
                adjustment=AdjustmentKind.ADDITIVE,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
            ),
            DayMatch(
                id="high5of10",
                version=2,
                citation=(
                    "Mean of the 5 highest of the 10 latest like days without events, adjusted by the day's own load: "
                    "the rule that PG&E Power Saver Rewards publishes for weekdays (powersaver.pge.com/faq). Ratio "
                    "within 20 % as in California ISO's PDR/RDRR baseline (Baseline Accuracy Work Group Proposal, "
                    "2017, section 1); window from 3 h to 1 h before the event: ours."
                ),
                y=10,
                x=5,
                adjustment=AdjustmentKind.RATIO,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
                cap=(0.8, 1.2),
            ),
            DayMatch(
                id="high3of10",
                version=1,
                citation=(
                    "Mean of the 3 highest of the 10 latest like days without events, adjusted on the day: as Enel X "
                    "describes Tampa Electric's rule for business days (enelx.com, FAQ of the TECO program). Ours: it "
                    "shifts by the mean difference from 3 h to 1 h before the event."
                ),
                y=10,
                x=3,
                adjustment=AdjustmentKind.ADDITIVE,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
            ),
            DayMatch(
                id="high15of20",
                version=2,
                citation=(
                    "Each interval's mean of its own 15 highest in the 20 latest like days without events, adjusted by "
                    "the load from 4 h to 1 h before the event within 20 %: as Enel X describes the rule of Ontario's "
                    "IESO for business days (enelx.com, FAQ of the IESO program). An adjustment by ratio is our "
                    "reading."
                ),
                y=20,
                x=15,
                rank=Rank.INTERVAL,
                lookback_days=60,
                adjustment=AdjustmentKind.RATIO,
                windows=(Window(-4 * _HOUR, -1 * _HOUR),),
                cap=(0.8, 1.2),
            ),
        )
    }
)
"""The published methods by id. What we have not checked against a market's manual does not carry the market's name."""

DEFAULT_PRESET: Final = "10of10"
"""The preset of a programme that names none: on days without events it errs least to one side."""
