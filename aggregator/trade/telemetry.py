"""What called VENs consume just now, and what they deliver by a quick estimate: for steering, never for money.

The estimate's baseline is the VEN's own mean power in the last hour before the start that was its own: known at once,
right for loads that go on evenly, wrong where the load would have changed by itself. The report uses the programme's
baseline (`vtn.services.evaluation`) instead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from aggregator.flexibility.fleet import Floats
from aggregator.grid import Grid
from core.direction import Direction
from core.spans import Span
from metrics.days import Bools
from vtn.services import event_days
from vtn.services.load_profile import energies
from vtn.store.database import Connection

BEFORE: Final = timedelta(hours=4)
"""How far before the start the VEN's usual power is looked for."""
_PAYS_BACK: Final = timedelta(hours=1)
"""How long after a call devices still make up for it."""
_USUAL: Final = 60
_LEAST_USUAL: Final = 30
"""Minutes that make the usual power: the newest ones, and at least so many."""
MINUTE_S: Final = 60
_RECENT: Final = 20
_FEW: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What VENs deliver by a quick estimate, W, positive = as ordered.

    `minutes`: venID -> mean of each minute since the start of `grid`, NaN where not known; VENs without any metered
    resource are left out.
    """

    grid: Grid
    minutes: Mapping[str, Floats]

    def by_step(self, ven_id: str) -> Floats:
        """Return the mean of each step of the grid (T), NaN where it is not wholly measured."""
        a_step = self.grid.step_s // MINUTE_S
        padded = np.full(self.grid.count * a_step, np.nan)
        known = self.minutes.get(ven_id, padded)[: padded.size]
        padded[: known.size] = known
        means: Floats = padded.reshape(self.grid.count, a_step).mean(axis=1)
        return means

    def latest(self, ven_id: str, since: datetime) -> tuple[float, Floats]:
        """Return the mean of the newest measured minutes after a time, five at most, and which minutes those are.

        NaN where none of the last 20 minutes is measured.
        """
        minutes = self.minutes.get(ven_id, np.zeros(0))
        first = max(math.ceil((since - self.grid.start).total_seconds() / MINUTE_S), minutes.size - _RECENT, 0)
        places = first + np.flatnonzero(np.isfinite(minutes[first:]))[-_FEW:]
        return (float(minutes[places].mean()) if places.size else float("nan")), places.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Metered:
    """A VEN's power, W: its usual one (NaN: not known), and the means of minutes, NaN where not known."""

    usual_w: float
    minutes: Floats


async def estimate(
    conn: Connection, ven_ids: Sequence[str], grid: Grid, dispatch_id: str, direction: str, now: datetime
) -> Estimate:
    """Estimate what VENs delivered on a grid, in a dispatch, until now."""
    cells = max((min(int(grid.end.timestamp()), int(now.timestamp())) - grid.start_s) // MINUTE_S, 0)
    sign = -Direction(direction).sign
    found = await metered(conn, ven_ids, dispatch_id, grid.start, (grid.start_s, cells))
    return Estimate(grid, {ven_id: sign * (one.usual_w - one.minutes) for ven_id, one in found.items()})


async def metered(
    conn: Connection, ven_ids: Sequence[str], dispatch_id: str, start: datetime, shown: tuple[int, int]
) -> dict[str, Metered]:
    """Return venID -> power, of those with a metered resource, for a dispatch that starts at a whole minute.

    `shown`: first second and number of the minutes wanted. The usual power is the mean of the newest 60 measured
    minutes of the four hours before the start, without those of other calls and of the hour after each; not known with
    fewer than 30.
    """
    before = Span(start - BEFORE, start)
    begins_s, past = int(before.start.timestamp()), BEFORE // timedelta(seconds=MINUTE_S)
    first_s, cells = shown
    whole = begins_s <= first_s <= begins_s + past * MINUTE_S  # else there is a gap that nobody needs
    called = await event_days.others(conn, ven_ids, dispatch_id, Span(before.start - _PAYS_BACK, start))
    skipped = (first_s - begins_s) // MINUTE_S
    powers_w = await powers(conn, ven_ids, begins_s, max(past, skipped + cells) if whole else past)
    later_w = {} if whole else await powers(conn, ven_ids, first_s, cells)
    found: dict[str, Metered] = {}
    for ven_id, power_w in powers_w.items():
        own_w = np.where(_called(called.get(ven_id, ()), begins_s, past), np.nan, power_w[:past])
        minutes = power_w[skipped : skipped + cells] if whole else later_w[ven_id]
        found[ven_id] = Metered(_usual_w(own_w), minutes)
    return found


def _called(spans: Sequence[Span], begins_s: int, cells: int) -> Bools:
    """Return which minutes (cells,) are not the VEN's own."""
    taken = np.zeros(cells, dtype=np.bool_)
    for one in spans:
        first = max(math.floor((one.start.timestamp() - begins_s) / MINUTE_S), 0)
        last = cells if one.end is None else math.ceil(((one.end + _PAYS_BACK).timestamp() - begins_s) / MINUTE_S)
        taken[first : max(last, 0)] = True
    return taken


def _usual_w(power_w: Floats) -> float:
    known = power_w[np.isfinite(power_w)][-_USUAL:]
    return float(known.mean()) if known.size >= _LEAST_USUAL else math.nan


async def powers(conn: Connection, ven_ids: Sequence[str], first_s: int, cells: int) -> dict[str, Floats]:
    """Return venID -> mean power (W) of each minute, of what is settled of it, for those that have any of that."""
    found = await energies(conn, dict.fromkeys(ven_ids, (first_s, cells)), MINUTE_S)
    return {ven_id: found.pop(ven_id) * (3600 / MINUTE_S) for ven_id in list(found)}
