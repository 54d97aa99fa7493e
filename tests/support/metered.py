"""VENs with a meter that has told of many days."""

from datetime import datetime, timedelta

import numpy as np

from core.spans import Duration
from openadr.model.report import ReportRequest
from support.vtn_world import NOON, Ven, World, data, usage
from vtn.services import report

HALF = Duration.of(minutes=30)


async def metered_ven(world: World, seed: int, *, days: int = 30) -> tuple[Ven, ReportRequest, dict[datetime, float]]:
    """Return a VEN with random half hours of so many days before noon, as a dict from start to Wh, and a request."""
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest(f"w{seed}", "usage", ("meter",), HALF, HALF, NOON, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
    await ven.drain()
    starts = [NOON - timedelta(days=days) + n * timedelta(minutes=30) for n in range(48 * days)]
    wh = np.random.default_rng(seed).uniform(100, 900, len(starts)).round(3)
    await send(ven, wish, starts[0], *wh)
    return ven, wish, dict(zip(starts, wh, strict=True))


async def send(ven: Ven, wish: ReportRequest, start: datetime, *values: float) -> None:
    """Report half hours (Wh) from a start on."""
    answer = await ven.report(data(wish, start, *(float(value) for value in values), step=HALF))
    assert answer.response.code == 200
