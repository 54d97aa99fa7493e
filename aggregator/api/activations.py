"""Activations, reports, settlements and nominations, in the operator API."""

from datetime import datetime
from typing import Any, Self

from aggregator.brp_api.activations import EXAMPLE as BRP_EXAMPLE
from aggregator.brp_api.activations import LIVE_EXAMPLE, Activation, Live
from aggregator.brp_api.portfolio import (
    NOMINATION_EXAMPLE,
    NOMINATIONS,
    NewNomination,
    Nomination,
    nomination_key,
)
from aggregator.brp_api.reports import EXAMPLE as REPORT_EXAMPLE
from aggregator.brp_api.reports import ActivationReport, Version
from aggregator.brp_api.settlements import EXAMPLE as SETTLEMENT_EXAMPLE
from aggregator.brp_api.settlements import Settlement
from aggregator.brp_api.values import ULID, Cancellation, Id, shown
from aggregator.trade import activation_changes, activations, live_view, nominations, reports, settlements
from vtn.api.desk import DESK
from web.api import Context
from web.model import Day
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_ACTIVATIONS = Keyset("operator-activations", str)
_SETTLEMENTS = Keyset("operator-settlements", str)


class MarketActivation(Activation):
    """An activation, with whose it is and what it set in motion."""

    brp_id: str
    created_by: str
    dispatch_id: str | None
    """null: nobody was called yet."""
    selection_id: str | None
    """Whom, and why: the selection behind the call."""

    @classmethod
    def of(cls, activation: activations.Activation, now: datetime) -> Self:
        """Return an activation as operators see it at a time."""
        return cls(
            **dict(Activation.of(activation, now)),
            brp_id=activation.party_id,
            created_by=activation.created_by,
            dispatch_id=activation.dispatch_id,
            selection_id=activation.selection_id,
        )


_EXAMPLE: dict[str, Any] = {
    **BRP_EXAMPLE,
    "brp_id": f"pty_{ULID}",
    "created_by": f"brp:cli_{ULID}",
    "dispatch_id": f"dsp_{ULID}",
    "selection_id": f"sel_{ULID}",
}


class MarketReport(ActivationReport):
    """A report, with what it was made from."""

    dispatch_id: str | None
    """null: nobody was called."""
    result_version: int | None
    """The version of that dispatch's result: `GET /v1/dispatches/{dispatch_id}/result?version=`."""


@operation(
    "GET",
    "/v1/activations",
    summary="List activations, newest first",
    role="viewer",
    tags=["market"],
    answer_example={"items": [_EXAMPLE], "next": None},
)
async def list_activations(
    context: Context,
    brp_id: Id | None = None,
    contract_id: Id | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[MarketActivation]:
    """Return what BRPs bought."""
    desk, after = context.service(DESK), _ACTIVATIONS.decode(cursor)
    before = after[0] if after else None
    async with desk.db.read() as conn:
        rows = await activations.listed(conn, party_id=brp_id, contract_id=contract_id, before=before, limit=limit + 1)
    now = desk.clock.now()
    return _ACTIVATIONS.page([MarketActivation.of(one, now) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    "/v1/activations/{activation_id}",
    summary="Read an activation",
    role="viewer",
    tags=["market"],
    errors=[404],
    answer_example=_EXAMPLE,
)
async def read_activation(context: Context, activation_id: str) -> MarketActivation:
    """Return one activation."""
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        return MarketActivation.of(await activations.get(conn, activation_id), desk.clock.now())


@operation(
    "GET",
    "/v1/activations/{activation_id}/live",
    summary="Read the progress of an activation",
    role="viewer",
    tags=["market"],
    errors=[404],
    answer_example=LIVE_EXAMPLE,
)
async def read_activation_live(context: Context, activation_id: str) -> Live:
    """Return the figures of this moment."""
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        found = await live_view.live(conn, activation_id, desk.clock.now(), stale_after_s=desk.stale_after_s)
    return shown(Live, found)


@operation(
    "POST",
    "/v1/activations/{activation_id}/cancellation",
    summary="End an activation now",
    role="dispatcher",
    tags=["market"],
    errors=[404, 409],
    example={"reason": "feeder fault"},
    answer_example=_EXAMPLE | {"status": "cancelled", "cancelled_at": "2026-01-31T17:20:00Z"},
)
async def cancel_activation(context: Context, activation_id: str, body: Cancellation) -> MarketActivation:
    """End it for all homes; what ran until now is reported and settled, and the BRP is told."""
    desk = context.service(DESK)
    now = desk.clock.now()
    async with desk.db.write() as tx:
        await activation_changes.cancel(tx, activation_id, now, who=context.principal.name, reason=body.reason)
        return MarketActivation.of(await activations.get(tx.conn, activation_id), now)


@operation(
    "GET",
    "/v1/activations/{activation_id}/report",
    summary="Read what an activation delivered",
    role="viewer",
    tags=["market"],
    errors=[404],
    answer_example=REPORT_EXAMPLE | {"dispatch_id": f"dsp_{ULID}", "result_version": 1},
)
async def read_activation_report(context: Context, activation_id: str, version: Version | None = None) -> MarketReport:
    """Return the newest version, or the one named, as the BRP sees it, and the result that it was made from."""
    async with context.service(DESK).db.read() as conn:
        found = await reports.get(conn, activation_id, version=version)
        made_from = await reports.result_version(conn, found)
        dispatch_id = (await activations.get(conn, activation_id)).dispatch_id
    return MarketReport(**dict(shown(ActivationReport, found)), dispatch_id=dispatch_id, result_version=made_from)


@operation(
    "GET",
    "/v1/settlements",
    summary="List settlements, newest first",
    role="viewer",
    tags=["market"],
    answer_example={"items": [SETTLEMENT_EXAMPLE], "next": None},
)
async def list_settlements(
    context: Context,
    brp_id: Id | None = None,
    activation_id: Id | None = None,
    limit: Limit = 50,
    cursor: Cursor | None = None,
) -> Page[Settlement]:
    """Return every version, with what BRPs dispute."""
    after = _SETTLEMENTS.decode(cursor)
    before = after[0] if after else None
    async with context.service(DESK).db.read() as conn:
        rows = await settlements.listed(
            conn, party_id=brp_id, activation_id=activation_id, before=before, limit=limit + 1
        )
    return _SETTLEMENTS.page([shown(Settlement, one) for one in rows], limit, key=lambda row: (row.id,))


@operation(
    "GET",
    "/v1/nominations",
    summary="Read what was nominated for a day",
    role="viewer",
    tags=["market"],
    errors=[404],
    answer_example={"items": [NOMINATION_EXAMPLE], "next": None},
)
async def list_nominations(
    context: Context, contract_id: Id, day: Day, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[Nomination]:
    """Return every revision of both sides, oldest first."""
    async with context.service(DESK).db.read() as conn:
        rows = await nominations.revisions(conn, contract_id, day)
    return NOMINATIONS.part([shown(Nomination, row) for row in rows], limit, cursor, key=nomination_key)


@operation(
    "PUT",
    "/v1/nominations",
    summary="Nominate a day's baseline as the aggregator",
    role="dispatcher",
    tags=["market"],
    errors=[404, 409],
    example={"contract_id": f"ctr_{ULID}", "day": "2026-02-01", "step_s": 3600, "power_w": [120_000] * 24},
    answer_example=NOMINATION_EXAMPLE | {"declared_by": "aggregator"},
)
async def put_nomination(context: Context, body: NewNomination) -> Nomination:
    """Say what the portfolio will consume; until the day begins (UTC)."""
    desk, who = context.service(DESK), context.principal.name
    async with desk.db.write() as tx:
        made = await nominations.declare(
            tx, body.contract_id, body.day, "aggregator", body.step_s, body.power_w, desk.clock.now(), who=who
        )
    return shown(Nomination, made)


OPERATIONS = (
    list_activations,
    read_activation,
    read_activation_live,
    cancel_activation,
    read_activation_report,
    list_settlements,
    list_nominations,
    put_nomination,
)
