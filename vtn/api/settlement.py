"""What is settled of a VEN, in the operator API."""

from typing import Annotated, Literal

from pydantic import Field

from vtn.api.desk import DESK
from vtn.api.reports import Description, Series, description, shown_series
from vtn.services import settlement_series, site, ven_view
from vtn.services.settlement_series import Basis
from vtn.store.readings import SeriesKey, numbered
from web.api import Context
from web.model import Model
from web.operation import operation


class SettlementSeries(Model):
    """A series of the VEN, and whether it is settled."""

    series: Series
    point: Description
    settled: bool
    stands_in: bool
    """It is not settled itself, but counts in those intervals of which the settled ones say nothing."""
    sign: Literal[-1, 1]
    """-1: it is taken off, as an export is."""


class SettlementBasis(Model):
    """What counts as a VEN's consumption: for results, baselines, derived potential and the live view."""

    flow: Literal["gross", "net", "none"]
    """gross: consumption alone. net: export is taken off. none: nothing is settled."""
    chosen_by: str
    """meaning: what the descriptions say; else who chose."""
    notes: list[str]
    connection_w: float
    """What the connection can carry; readings above it are doubtful and never settled."""
    connection_is_known: bool
    """false: nobody has said, so it is that of a home."""
    series: list[SettlementSeries]


class SettlementChoice(Model):
    """The series to settle, and what the connection can carry."""

    series: Annotated[list[int], Field(default_factory=list, max_length=200)]
    """Their series_id; none at all: by meaning again. An export among them is taken off."""
    connection_w: Annotated[int, Field(ge=site.LEAST_W, le=site.MOST_W)] | None = None
    """What fuses or contract let through, W; readings above it are doubtful. null: a home's, 43470."""


def _shown(basis: Basis, keys: dict[int, SeriesKey]) -> SettlementBasis:
    signs = {number: part.sign for part in basis.everything for number in part.numbers}
    settled = {number for part in basis.parts for number in part.numbers}
    return SettlementBasis(
        flow=basis.flow,
        chosen_by=basis.chosen_by,
        notes=list(basis.notes),
        connection_w=basis.connection_w,
        connection_is_known=basis.connection_is_known,
        series=[
            SettlementSeries(
                series=shown_series(key),
                point=description(number, key),
                settled=number in settled,
                stands_in=number in signs and number not in settled,
                sign=-1 if signs.get(number) == -1 else 1,
            )
            for number, key in keys.items()
        ],
    )


@operation(
    "GET",
    "/v1/vens/{ven_id}/settlement-series",
    summary="Read a VEN's settlement series",
    role="viewer",
    tags=["readings"],
    errors=[404],
)
async def read_settlement(context: Context, ven_id: str) -> SettlementBasis:
    async with context.service(DESK).db.read() as conn:
        await ven_view.get(conn, ven_id)
        basis = (await settlement_series.of(conn, [ven_id]))[ven_id]
        return _shown(basis, await numbered(conn, [ven_id]))


@operation(
    "PUT",
    "/v1/vens/{ven_id}/settlement-series",
    summary="Choose a VEN's settlement series, or let the meaning of its data points decide",
    role="admin",
    tags=["readings"],
    errors=[404],
)
async def choose_settlement(context: Context, ven_id: str, body: SettlementChoice) -> SettlementBasis:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        who, now, zone = context.principal.name, desk.clock.now(), desk.settings.time_zone
        await site.set_connection(tx, ven_id, body.connection_w, now, time_zone=zone, who=who)
        basis = await settlement_series.choose(tx, ven_id, body.series, now, who=who)
        return _shown(basis, await numbered(tx.conn, [ven_id]))


OPERATIONS = (read_settlement, choose_settlement)
