"""How far the delivered energy of an activation is known: what the same baseline errs on days without an event."""

from typing import Final

import numpy as np

from aggregator.trade import members
from aggregator.trade.activations import Activation
from core.direction import Direction
from core.spans import Span
from metrics.days import Series, day_matrix
from metrics.method import BaselineMethod, Calendar
from metrics.placebo import placebo, pool_placebo
from metrics.presets import PRESETS
from openadr.model.opt import OptType
from vtn.services import dispatch, load_profile, programme
from vtn.store.database import Connection

MOST_VENS: Final = 30
"""For larger pools it would take too long."""
_LOOKBACK_DAYS: Final = 75
_LEAST_DAYS: Final = 8
_Z90: Final = 1.645
"""Half the width of a 90 % interval, in standard deviations of a normal distribution."""


async def inputs(conn: Connection, activation: Activation) -> tuple[list[Series], Span, BaselineMethod, str] | None:
    """Read what `half_width_wh` works on: the readings of the VENs that stayed in; None where nothing can be said."""
    if activation.dispatch_id is None:
        return None
    called = await members.read(conn, activation.dispatch_id)
    counted = [
        it.ven_id
        for it in called.members
        if it.opt is OptType.IN and it.cancelled_at in (None, activation.cancelled_at)
    ]
    whole = await dispatch.get(conn, activation.dispatch_id)
    rules = (await programme.get(conn, whole.programme_id, whole.programme_version)).parameters
    method = PRESETS.get(rules.baseline)
    end = whole.shared.period.end if activation.cancelled_at is None else activation.cancelled_at
    if method is None or end is None or end <= whole.shared.period.start or not 0 < len(counted) <= MOST_VENS:
        return None
    span_s = int(whole.shared.period.start.timestamp()) - _LOOKBACK_DAYS * 86400, int(end.timestamp())
    readings = await load_profile.energy_of_each(conn, dict.fromkeys(counted, span_s), rules.interval_s)
    return list(readings.values()), Span(whole.shared.period.start, end), method, rules.time_zone


def half_width_wh(
    readings: list[Series], span: Span, method: BaselineMethod, zone: str, direction: str
) -> float | None:
    """Return half the width (Wh) of the 90 % interval of the delivered energy; None with too few days. Takes CPU.

    Other events of the days before are not known here and count as error: the interval is rather too wide.
    """
    homes = [
        placebo(
            day_matrix(one, zone),
            span,
            method,
            Calendar(),
            direction=Direction(direction),
            lookback_days=_LOOKBACK_DAYS,
        )
        for one in readings
    ]
    pool = pool_placebo(homes)
    return _Z90 * pool.sd_wh if len(pool.dates) >= _LEAST_DAYS and np.isfinite(pool.sd_wh) else None
