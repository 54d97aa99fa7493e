"""Dispatches, their events and results, in the operator API."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from core.direction import Direction
from openadr.model.event import EventStatus, status_at
from vtn.api.desk import DESK
from vtn.api.fields import Number, Printable
from vtn.api.signals import BaselineIn, SignalIn, shown, whole
from vtn.api.targets import EventTarget, Ids
from vtn.services import dispatch as dispatches
from vtn.services import dispatch_view, evaluation, order_check, result_due, self_assessment
from vtn.services.dispatch import Order
from vtn.services.dispatch_view import CalledVen
from vtn.services.evaluation_result import Result
from vtn.services.self_assessment import SelfAssessments
from vtn.store.database import Connection
from vtn.transport.v20b.check import check_event
from web.api import Context
from web.model import IsoDuration, Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_ID = Keyset("dispatches", str)
OwnValues = dict[str, Annotated[list[Number], Field(min_length=1, max_length=3000)]]
"""signal id, or the baseline's -> one value an interval."""


class NewDispatch(Model):
    """A dispatch: what is ordered, of whom, and when."""

    programme_id: str
    start: UtcTime
    signals: Annotated[list[SignalIn], Field(min_length=1, max_length=10)]
    """The signals; the event lasts as long as the intervals of the first one together. One interval of PT0S: until it
    is cancelled."""
    ven_ids: list[str] = Field(default_factory=list, max_length=100_000)
    """Whom to call; with groups and areas: those in them, too. Everybody enrolled if nobody is named. Who is in the
    programme's control group is called only if named here."""
    group_ids: list[str] = Field(default_factory=list, max_length=100)
    """Call the VENs in these groups of the fleet."""
    areas: list[Annotated[Printable, Field(max_length=200)]] = Field(default_factory=list, max_length=100)
    """Call the VENs that stand in these areas of the fleet."""
    resource_ids: Ids = Field(default_factory=list)
    """Only for these resources of each VEN."""
    target: EventTarget = Field(default_factory=EventTarget)
    """What else the event names that it is for. Without this and resources it is for all of each VEN."""
    own_values: dict[str, OwnValues] = Field(default_factory=dict)
    """venID -> id of a signal or the baseline -> values of that VEN where they differ from those above."""
    baseline: BaselineIn | None = None
    direction: Direction | None = None
    """What is ordered of consumption; where it is left out, what SIMPLE and LOAD_DISPATCH/delta signals say."""
    priority: Annotated[int, Field(ge=0, le=1000)] | None = None
    test_event: bool = False
    comment: Annotated[Printable, Field(max_length=2000)] | None = None
    """Shown to the household."""


class DispatchChange(Model):
    """What to change in all events of a dispatch; what is left out stays."""

    start: UtcTime | None = None
    signals: Annotated[list[SignalIn], Field(min_length=1, max_length=10)] | None = None
    baseline: BaselineIn | None = None


class Event(Model):
    """One VEN's event."""

    id: str
    ven_id: str
    ven_name: str
    modification_number: int
    status: EventStatus
    opt: Literal["optIn", "optOut"] | None
    """The opt that counts; null: no answer."""
    reason: str | None
    queued_at: UtcTime | None
    first_sent_at: UtcTime | None
    answered_at: UtcTime | None


class Dispatch(Model):
    """A dispatch."""

    id: str
    programme_id: str
    programme_version: int
    start: UtcTime
    duration: IsoDuration
    end: UtcTime | None
    """null: open-ended."""
    signals: list[SignalIn]
    baseline: BaselineIn | None
    resource_ids: list[str]
    target: EventTarget
    """What the events name that they are for, beside resources; empty without resources: the VEN that gets it."""
    direction: Direction | None
    status: EventStatus
    created_at: UtcTime
    created_by: str
    cancelled_at: UtcTime | None


class DispatchDetail(Model):
    """A dispatch with the events of its VENs."""

    dispatch: Dispatch
    events: list[Event]


class CreatedDispatch(DispatchDetail):
    """A dispatch that has just gone out, and what spoke against it."""

    warnings: list[str]
    """What a person should look at: it contradicts another dispatch, orders more than a VEN can, or does not reach
    one. `POST /v1/dispatches/check` says so before anything goes out."""


class Warnings(Model):
    """What speaks against an order."""

    warnings: list[str]


def _shown(dispatch: dispatches.Dispatch, now: datetime) -> Dispatch:
    period = dispatch.shared.period
    status = EventStatus.CANCELLED if dispatch.cancelled_at is not None else status_at(dispatch.shared, now)
    return Dispatch(
        id=dispatch.id,
        programme_id=dispatch.programme_id,
        programme_version=dispatch.programme_version,
        start=period.start,
        duration=period.duration,
        end=period.end,
        signals=shown(dispatch.shared.signals),
        baseline=BaselineIn.shown(dispatch.shared.baseline) if dispatch.shared.baseline else None,
        resource_ids=list(dispatch.shared.target.resource_ids),
        target=EventTarget.shown(dispatch.shared.target),
        direction=dispatch.direction,
        status=status,
        created_at=dispatch.created_at,
        created_by=dispatch.created_by,
        cancelled_at=dispatch.cancelled_at,
    )


@operation("GET", "/v1/dispatches", summary="List dispatches, oldest first", role="viewer", tags=["dispatches"])
async def list_dispatches(context: Context, limit: Limit = 50, cursor: Cursor | None = None) -> Page[Dispatch]:
    desk = context.service(DESK)
    after = _BY_ID.decode(cursor)
    async with desk.db.read() as conn:
        rows = await dispatches.listed(conn, after=after[0] if after else None, limit=limit + 1)
    now = desk.clock.now()
    return _BY_ID.page([_shown(row, now) for row in rows], limit, key=lambda row: (row.id,))


@operation(
    "POST",
    "/v1/dispatches",
    summary="Create a dispatch: one event per VEN",
    role="dispatcher",
    tags=["dispatches"],
    status=201,
    errors=[404],
)
async def create_dispatch(context: Context, body: NewDispatch) -> CreatedDispatch:
    desk = context.service(DESK)
    order = await _order(body, desk.clock.now())
    async with desk.db.read() as conn:
        warnings = await _warnings(conn, order, desk.clock.now())
    async with desk.db.write() as tx:
        dispatch_id = await dispatches.create(tx, order, desk.clock.now(), who=context.principal.name)
    made = await read_dispatch(context, dispatch_id)
    return CreatedDispatch(dispatch=made.dispatch, events=made.events, warnings=warnings)


@operation(
    "POST",
    "/v1/dispatches/check",
    summary="Check a dispatch without creating it",
    role="dispatcher",
    tags=["dispatches"],
    errors=[404],
)
async def check_dispatch(context: Context, body: NewDispatch) -> Warnings:
    desk = context.service(DESK)
    order = await _order(body, desk.clock.now())
    async with desk.db.read() as conn:
        warnings = await _warnings(conn, order, desk.clock.now())
    return Warnings(warnings=warnings)


async def _warnings(conn: Connection, order: Order, now: datetime) -> list[str]:
    return [*await order_check.against_length(conn, order), *await order_check.warnings(conn, order, now)]


async def _order(body: NewDispatch, now: datetime) -> Order:
    """Return what is ordered, as the wire can carry it."""
    signals = tuple(one.value() for one in body.signals)
    order = Order(
        programme_id=body.programme_id,
        start=body.start,
        duration=whole(signals),
        signals=signals,
        ven_ids=tuple(body.ven_ids),
        own_values=body.own_values,
        baseline=body.baseline.value(body.start) if body.baseline else None,
        group_ids=tuple(body.group_ids),
        areas=tuple(body.areas),
        target=body.target.value(body.resource_ids),
        direction=body.direction or order_check.direction_of(signals),
        priority=body.priority,
        test_event=body.test_event,
        comment=body.comment,
    )
    await check_event(order_check.trial(order, now))
    return order


@operation(
    "GET",
    "/v1/dispatches/{dispatch_id}",
    summary="Read a dispatch with its events",
    role="viewer",
    tags=["dispatches"],
    errors=[404],
)
async def read_dispatch(context: Context, dispatch_id: str) -> DispatchDetail:
    desk = context.service(DESK)
    now = desk.clock.now()
    async with desk.db.read() as conn:
        dispatch = await dispatches.get(conn, dispatch_id)
        vens = await dispatch_view.vens(conn, dispatch_id)
    return DispatchDetail(dispatch=_shown(dispatch, now), events=[_event(ven, now) for ven in vens])


def _event(called: CalledVen, now: datetime) -> Event:
    return Event(
        id=called.event.event_id,
        ven_id=called.ven_id,
        ven_name=called.name,
        modification_number=called.event.modification_number,
        status=status_at(called.event, now),
        opt=called.opt.value if called.opt else None,
        reason=called.reason,
        queued_at=called.queued_at,
        first_sent_at=called.sent_at,
        answered_at=called.answered_at,
    )


@operation(
    "PATCH",
    "/v1/dispatches/{dispatch_id}",
    summary="Change what all events of a dispatch have in common",
    role="dispatcher",
    tags=["dispatches"],
    errors=[404, 409],
)
async def change_dispatch(context: Context, dispatch_id: str, body: DispatchChange) -> DispatchDetail:
    desk = context.service(DESK)
    signals = tuple(one.value() for one in body.signals) if body.signals else None
    async with desk.db.read() as conn:
        old = await dispatches.get(conn, dispatch_id)
    period = replace(
        old.shared.period,
        start=body.start or old.shared.period.start,
        duration=whole(signals) if signals else old.shared.period.duration,
    )
    baseline = body.baseline.value(period.start) if body.baseline else None
    changed = replace(
        old.shared, period=period, signals=signals or old.shared.signals, baseline=baseline or old.shared.baseline
    )
    await check_event(changed)
    async with desk.db.write() as tx:
        await dispatches.change(
            tx,
            dispatch_id,
            desk.clock.now(),
            who=context.principal.name,
            start=body.start,
            duration=whole(signals) if signals else None,
            signals=signals,
            baseline=baseline,
        )
    return await read_dispatch(context, dispatch_id)


@operation(
    "POST",
    "/v1/dispatches/{dispatch_id}/cancellation",
    summary="Cancel a dispatch",
    role="dispatcher",
    tags=["dispatches"],
    errors=[404, 409],
)
async def cancel_dispatch(context: Context, dispatch_id: str) -> DispatchDetail:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await dispatches.cancel(tx, dispatch_id, desk.clock.now(), who=context.principal.name)
    return await read_dispatch(context, dispatch_id)


@operation(
    "PUT",
    "/v1/events/{event_id}/values",
    summary="Give one VEN's event its own values",
    role="dispatcher",
    tags=["events"],
    errors=[404, 409],
)
async def change_event_values(context: Context, event_id: str, body: OwnValues) -> DispatchDetail:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await dispatches.change_values(tx, event_id, body, desk.clock.now(), who=context.principal.name)
    return await read_event(context, event_id)


@operation("GET", "/v1/events/{event_id}", summary="Read one VEN's event", role="viewer", tags=["events"], errors=[404])
async def read_event(context: Context, event_id: str) -> DispatchDetail:
    async with context.service(DESK).db.read() as conn:
        dispatch_id = await dispatch_view.dispatch_of(conn, event_id)
    detail = await read_dispatch(context, dispatch_id)
    return DispatchDetail(dispatch=detail.dispatch, events=[event for event in detail.events if event.id == event_id])


@operation(
    "POST",
    "/v1/events/{event_id}/cancellation",
    summary="Cancel one VEN's event",
    role="dispatcher",
    tags=["events"],
    errors=[404, 409],
)
async def cancel_event(context: Context, event_id: str) -> DispatchDetail:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await dispatches.cancel_event(tx, event_id, desk.clock.now(), who=context.principal.name)
    return await read_event(context, event_id)


@operation(
    "POST",
    "/v1/dispatches/{dispatch_id}/evaluation",
    summary="Compute the result of a dispatch; new data makes a new version",
    role="dispatcher",
    tags=["results"],
    errors=[404, 409],
)
async def evaluate_dispatch(context: Context, dispatch_id: str) -> Result:
    desk = context.service(DESK)
    now = desk.clock.now()
    found = await evaluation.compute(desk.db, dispatch_id, now)
    async with desk.db.write() as tx:
        await result_due.keep(tx, found, now, who=context.principal.name)
        return await evaluation.stored(tx.conn, dispatch_id)


class Dispute(Model):
    """Why a final result is disputed."""

    reason: Annotated[Printable, Field(min_length=1, max_length=2_000, examples=["The settlement meter shows less."])]


@operation(
    "POST",
    "/v1/dispatches/{dispatch_id}/dispute",
    summary="Dispute a final result: it is computed anew with the data of now, and may change again",
    role="dispatcher",
    tags=["results"],
    status=204,
    errors=[404, 409],
)
async def dispute_result(context: Context, dispatch_id: str, body: Dispute) -> None:
    desk = context.service(DESK)
    async with desk.db.write() as tx:
        await result_due.reopen(tx, dispatch_id, body.reason, desk.clock.now(), who=context.principal.name)


@operation(
    "GET",
    "/v1/dispatches/{dispatch_id}/result",
    summary="Read the result of a dispatch; it is computed after the end, and again for late readings",
    role="viewer",
    tags=["results"],
    errors=[404],
)
async def read_result(
    context: Context, dispatch_id: str, version: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
) -> Result:
    async with context.service(DESK).db.read() as conn:
        return await evaluation.stored(conn, dispatch_id, version)


@operation(
    "GET",
    "/v1/dispatches/{dispatch_id}/self-assessments",
    summary="Read what the VENs themselves say that a dispatch brought, and whether the result agrees",
    role="viewer",
    tags=["results"],
    errors=[404],
)
async def read_self_assessments(
    context: Context, dispatch_id: str, version: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
) -> SelfAssessments:
    async with context.service(DESK).db.read() as conn:
        whole = await dispatches.get(conn, dispatch_id)
        result = await evaluation.stored(conn, dispatch_id, version)
        return await self_assessment.of_result(conn, result, Direction(whole.direction or Direction.REDUCE))


OPERATIONS = (
    list_dispatches,
    create_dispatch,
    check_dispatch,
    read_dispatch,
    change_dispatch,
    cancel_dispatch,
    read_event,
    change_event_values,
    cancel_event,
    evaluate_dispatch,
    dispute_result,
    read_result,
    read_self_assessments,
)
