"""Seasons of a programme, in the operator API: events as JSON or CSV, and what each VEN did."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from aggregator.trade import season
from aggregator.trade.season import Season, SeasonVen
from vtn.api.desk import DESK
from web.api import Context
from web.csv_answer import CSV, csv_answer, wants_csv
from web.model import Day
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_VEN = Keyset("season-vens", str)
_Id = Annotated[str, Field(min_length=1, max_length=80)]
_CSV_EXAMPLE = (
    "programme_id,dispatch_id,starts_at,direction,version,final,called,opted_in,opted_out,ordered_wh,delivered_wh,"
    "ratio,participation_rate,uncertainty_wh\r\n"
    "prg_01k8x5m3e5t8n4r9w2z7h6c1qd,dsp_01k8x5m3e5t8n4r9w2z7h6c1qd,2026-01-31T17:00:00Z,reduce,2,true,64,58,4,83200.0,"
    "84200.0,1.012,0.906,4100.0\r\n"
)


@operation(
    "GET",
    "/v1/programmes/{programme_id}/season",
    summary="Read what a programme's events of some months brought",
    role="viewer",
    tags=["results"],
    errors=[404],
    media_type=CSV,
    media_example=_CSV_EXAMPLE,
)
async def read_season(
    context: Context, programme_id: _Id, first: Day | None = None, until: Day | None = None
) -> Season | web.Response:
    """Return the events that start on the days from `first` to the one before `until`, of the programme's time zone.

    By default the 90 days up to today. At most 366 days and 400 events. The figures are those of the newest stored
    results, the uncertainty that of the reports to BRPs. `Accept: text/csv` gets a line for each event.
    """
    desk = context.service(DESK)
    days = season.read_day(first, "first"), season.read_day(until, "until")
    async with desk.db.read() as conn:
        found = await season.of_programme(conn, programme_id, desk.clock.now(), *days)
    return csv_answer(context, season.to_csv(found), f"season-{programme_id}.csv") if wants_csv(context) else found


@operation(
    "GET",
    "/v1/programmes/{programme_id}/season/vens",
    summary="List what each VEN did in the events of some months",
    role="viewer",
    tags=["results"],
    errors=[404],
)
async def list_season_vens(
    context: Context,
    programme_id: _Id,
    first: Day | None = None,
    until: Day | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[SeasonVen]:
    """Return calls, opt-outs and energy of the VENs that were called in a season, in the order of their venIDs."""
    desk, after = context.service(DESK), _BY_VEN.decode(cursor)
    days = season.read_day(first, "first"), season.read_day(until, "until")
    async with desk.db.read() as conn:
        found = await season.of_programme(conn, programme_id, desk.clock.now(), *days)
        rows = await season.vens(conn, found, after=after[0] if after else None, limit=limit + 1)
    return _BY_VEN.page(rows, limit, key=lambda row: (row.ven_id,))


OPERATIONS = (read_season, list_season_vens)
