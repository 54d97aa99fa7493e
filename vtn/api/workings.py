"""How the result of one VEN came about, in the operator API: from its figures down to the readings."""

import math
from typing import Literal

from metrics.gaming import LoadBefore
from metrics.method import AdjustmentStatus, Verdict
from vtn.api.desk import DESK
from vtn.api.signals import SignalIn, shown
from vtn.services import evaluation_view
from vtn.services.evaluation_view import Workings
from web.api import Context
from web.model import Day, Model, UtcTime
from web.operation import operation


class ReadingsUsed(Model):
    """A series that readings are taken from; `GET /v1/vens/{ven_id}/readings` has them."""

    series_id: int
    resource_id: str
    source: str
    """As the intervals of the result name it; values that are estimates count as `estimate`, after all others."""
    sign: Literal[-1, 1]
    """-1: it is taken off, as an export is."""


class BaselineDay(Model):
    """A local day that was looked at for the baseline."""

    day: Day
    verdict: Verdict
    """kept: the baseline is made of it."""
    coverage: float
    """Which part of the hours looked at was measured, 0 to 1."""
    mean_w: float | None
    """Mean power in the hours of the event; null: not known."""
    celsius: float | None = None
    """Mean outdoor temperature in these hours; null: not known, or the baseline asks for none."""


class BaselineWindow(Model):
    """Hours that the same-day adjustment is made from."""

    start: UtcTime
    end: UtcTime | None


class BaselineAdjustment(Model):
    """The same-day adjustment: baseline = mean of the days used, or of the control group, x `factor` + `shift_w`."""

    status: AdjustmentStatus
    factor: float
    shift_w: float
    usual_w: float | None
    """Mean power of the days used in the windows, or of the control group; null: there is no adjustment."""
    today_w: float | None
    """Mean power of the event's own day in them."""
    windows: list[BaselineWindow]


class VenWorkings(Model):
    """How the result of one VEN comes about, with the readings of now; an older version may have used others."""

    ven_id: str
    event_id: str
    method: str
    citation: str
    starts_at: UtcTime
    ends_at: UtcTime | None
    """When its event came to its end: nominal, or by cancellation."""
    signals: list[SignalIn]
    """What was ordered of it, as far as it ran."""
    notified_at: UtcTime | None
    """When the event first went out; what was used from then on adjusts no baseline."""
    left_at: UtcTime | None
    """When it opted out after the start; intervals that were not over by then earn nothing."""
    series: list[ReadingsUsed]
    """The source that goes before the others first: of each interval, the first that covers all of it counts."""
    days: list[BaselineDay]
    """Newest first."""
    celsius: float | None = None
    """Mean outdoor temperature in the event; null: not known, or the baseline asks for none."""
    adjustment: BaselineAdjustment | None
    """null: there is no baseline."""
    before: LoadBefore | None
    """How its load before the event compares with that of like days, whether it took part or not; null: not known."""
    why_not: str | None
    """Why there is no baseline."""


@operation(
    "GET",
    "/v1/dispatches/{dispatch_id}/result/vens/{ven_id}",
    summary="Read how the result of one VEN comes about: its order, readings, days used and adjustment",
    role="viewer",
    tags=["results"],
    errors=[404],
)
async def read_workings(context: Context, dispatch_id: str, ven_id: str) -> VenWorkings:
    async with context.service(DESK).db.read() as conn:
        return _shown(ven_id, await evaluation_view.workings(conn, dispatch_id, ven_id))


def _shown(ven_id: str, how: Workings) -> VenWorkings:
    period = how.ordered.period
    return VenWorkings(
        ven_id=ven_id,
        event_id=how.ordered.event_id,
        method=how.rule,
        citation=how.citation,
        starts_at=period.start,
        ends_at=period.end,
        signals=shown(how.ordered.signals),
        notified_at=how.notified_at,
        left_at=how.left_at,
        series=[
            ReadingsUsed(
                series_id=one.number,
                resource_id=one.key.resource_id,
                source=one.source,
                sign=-1 if one.sign < 0 else 1,
            )
            for one in how.series
        ],
        days=[
            BaselineDay(
                day=one.day.isoformat(),
                verdict=one.verdict,
                coverage=one.coverage,
                mean_w=one.mean_w if math.isfinite(one.mean_w) else None,
                celsius=one.celsius if math.isfinite(one.celsius) else None,
            )
            for one in how.days
        ],
        celsius=how.celsius,
        adjustment=_adjustment(how),
        before=how.before,
        why_not=how.why_not,
    )


def _adjustment(how: Workings) -> BaselineAdjustment | None:
    if how.status is None:
        return None
    return BaselineAdjustment(
        status=how.status,
        factor=how.factor,
        shift_w=how.shift_w,
        usual_w=how.usual_w,
        today_w=how.today_w,
        windows=[BaselineWindow(start=one.start, end=one.end) for one in how.windows],
    )


OPERATIONS = (read_workings,)
