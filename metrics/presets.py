"""The published baselines, one row of parameters each; a new preset is a new row."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from metrics.agreed import Agreed
from metrics.control_group import ControlGroup
from metrics.day_matching import DayMatch
from metrics.method import BaselineMethod
from metrics.nominated import Nominated
from metrics.regression import Regression
from metrics.rules import AdjustmentKind, Anchor, Keep, Rank, Window
from metrics.same_day import SameDay

_HOUR = 3600
_10_OF_10 = DayMatch(
    id="10of10-unadjusted",
    version=1,
    citation=(
        "Mean of the 10 latest like days without events, as it is. For hours of which the hours before "
        "say nothing, mornings above all. Ours."
    ),
    y=10,
    x=10,
    keep=Keep.ALL,
)

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
            _10_OF_10,
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
            DayMatch(
                id="high5of10-day",
                version=1,
                citation=(
                    "Mean of the 5 days with the highest consumption of the whole day among the 10 latest like days "
                    "without events. That days are chosen out of qualified ones by their load is what Oracle's "
                    "Baseline Calculation Rule lets a utility set; numbers and the shift by the mean difference from "
                    "3 h to 1 h before the event: ours."
                ),
                y=10,
                x=5,
                rank=Rank.DAY_WH,
                adjustment=AdjustmentKind.ADDITIVE,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
            ),
            DayMatch(
                id="high3of5",
                version=1,
                citation=(
                    "Mean of the 3 highest of the 5 latest like days without events: what PG&E Power Saver Rewards "
                    "publishes for weekends and holidays (powersaver.pge.com/faq), there with weights. Ratio within "
                    "40 %, window from 3 h to 1 h before the event: ours."
                ),
                y=5,
                x=3,
                adjustment=AdjustmentKind.RATIO,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
                cap=(0.6, 1.4),
            ),
            DayMatch(
                id="high4of5",
                version=1,
                citation=(
                    "Mean of the 4 highest of the 5 latest like days without events, shifted by the mean difference "
                    "in the three hours that end one hour before the event. Of a kind that markets of the United "
                    "States use; not checked against a manual."
                ),
                y=5,
                x=4,
                adjustment=AdjustmentKind.ADDITIVE,
                windows=(Window(-4 * _HOUR, -1 * _HOUR),),
            ),
            DayMatch(
                id="10of10-upward",
                version=1,
                citation=(
                    "Mean of the 10 latest like days without events, raised by the day's own load and never lowered: "
                    "the upward-only clause whose numbers (500 as usual and 600 today add 100; 400 today add nothing) "
                    "markettransfer.info gives. Window from 3 h to 1 h before the event: ours."
                ),
                y=10,
                x=10,
                keep=Keep.ALL,
                adjustment=AdjustmentKind.ADDITIVE,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
                upward_only=True,
            ),
            DayMatch(
                id="20of20",
                version=1,
                citation=(
                    "Mean of the 20 latest like days without events, shifted by the event day: the Nearest 20 Like "
                    "Days of ERCOT's Demand Response Baseline Methodologies (version 19.0, 2019) in outline. Window "
                    "from 3 h to 1 h before the event: ours."
                ),
                y=20,
                x=20,
                keep=Keep.ALL,
                lookback_days=60,
                adjustment=AdjustmentKind.ADDITIVE,
                windows=(Window(-3 * _HOUR, -1 * _HOUR),),
            ),
            DayMatch(
                id="match-day-3",
                version=1,
                citation=(
                    "Mean of the 3 like days without events whose other hours were most like the event day's, the "
                    "hour on either side of the event left aside: PJM's Match Day as its stakeholder process "
                    "describes it (rtowww.com, 23098). Among the 20 latest, by the mean of squared differences: ours."
                ),
                y=20,
                x=3,
                keep=Keep.LOW,
                rank=Rank.UNLIKENESS,
                lookback_days=60,
            ),
            DayMatch(
                id="weather-5",
                version=1,
                citation=(
                    "Mean of the 5 like days without events on which the hours of the event were most nearly as warm "
                    "as the event was: matching days by the weather, as markets of the United States do for homes. "
                    "Among the 30 latest whose outdoor temperatures are known, by the mean of these hours: ours; not "
                    "checked against a manual."
                ),
                y=30,
                x=5,
                keep=Keep.LOW,
                rank=Rank.TEMPERATURE,
                lookback_days=60,
            ),
            SameDay(
                id="same-day-3plus2",
                version=1,
                citation=(
                    "Mean load of the event's own day in the three hours that end one hour before the event and in "
                    "the two hours that begin one hour after it: PJM's Same Day (3+2), by which hours ending 9 to 11 "
                    "and 19 to 20 stand for an event in hours ending 13 to 17 (rtowww.com, 23098)."
                ),
                windows=(Window(-4 * _HOUR, -1 * _HOUR), Window(_HOUR, 3 * _HOUR, Anchor.END)),
            ),
            SameDay(
                id="meter-before",
                version=1,
                citation=(
                    "Mean load of the hour before the event, or before its notice: the family Meter Before / Meter "
                    "After of NAESB's demand response measurement and verification standards. For orders that come "
                    "without much notice and do not last. The hour: ours."
                ),
                windows=(Window(-1 * _HOUR, 0),),
            ),
            ControlGroup(
                id="control-group",
                version=1,
                citation=(
                    "Mean load of a control group, shifted by how much the home differed from it before the event "
                    "(difference in differences): randomised control and that difference are what SEE Action's guide "
                    "for behaviour-based programmes recommends (Evaluation, Measurement, and Verification (EM&V) of "
                    "Residential Behavior-Based Energy Efficiency Programs, 2012). For single events, with a window "
                    "from 4 h to 1 h before them: ours."
                ),
                windows=(Window(-4 * _HOUR, -1 * _HOUR),),
            ),
            Regression(
                id="time-of-week",
                version=1,
                citation=(
                    "Least squares on the time of the week, over like days without events: the regression of Mathieu, "
                    "Price, Kiliccote and Piette (IEEE Transactions on Smart Grid 2, 2011) without its temperatures. "
                    "Ten weeks back, of which a day two weeks older weighs half, and a weekday drawn to the mean "
                    "of all like days: ours."
                ),
            ),
            Regression(
                id="time-of-week-temperature",
                version=1,
                citation=(
                    "Least squares on the time of the week and, in pieces, the outdoor temperature, over like days "
                    "without events: the regression of Mathieu, Price, Kiliccote and Piette (IEEE Transactions on "
                    "Smart Grid 2, 2011). Ten weeks back, of which a day two weeks older weighs half, a weekday drawn "
                    "to the mean of all like days, pieces between fifths of the temperatures, one effect for all "
                    "hours: ours."
                ),
                uses_temperature=True,
            ),
            Nominated(
                id="nominated",
                version=1,
                citation=(
                    "What the BRP nominated for the portfolio before the day began: a baseline by prognosis, as the "
                    "D-prognosis of the Universal Smart Energy Framework. Shared out among the homes so that each has "
                    "its mean of the 10 latest like days and the same part of the rest: ours."
                ),
                usual=_10_OF_10,
            ),
            Agreed(
                id="fixed-profile",
                version=1,
                citation=(
                    "Power by time of day that was agreed beforehand, whatever the home used: the fixed reference "
                    "that network operators of Great Britain take for domestic flexibility, a half-hourly value of an "
                    "asset times the number of assets (help.electron.net). Weekends of their own: ours."
                ),
            ),
            Agreed(
                id="firm-level",
                version=1,
                citation=(
                    "One agreed power: what is used below it counts as delivered. The idea of a firm service level, "
                    "that is counted from a site's peak load and not from a baseline of its days (PJM's capacity "
                    "market and PG&E's Base Interruptible Program, as enelx.com describes them). Losses of the grid "
                    "are left out."
                ),
                level=True,
            ),
        )
    }
)
"""The published methods by id. What we have not checked against a market's manual does not carry the market's name."""

DEFAULT_PRESET: Final = "10of10"
"""The preset of a programme that names none: on days without events it errs least to one side."""
