"""Decoding of EiEvent messages."""

from collections.abc import Mapping
from typing import Final

from lxml.etree import _Element

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus, ResponseRequired
from openadr.model.opt import OptType
from openadr.model.signal import Baseline, Interval, Signal
from openadr.v20b import names as n
from openadr.v20b.decode_parts import Reader, item_base, response, target
from openadr.v20b.messages import CreatedEvent, DistributeEvent, EventResponse, RequestEvent, UnreadableEvent
from openadr.v20b.reading import (
    duration,
    duration_or_zero,
    inner_duration,
    instant,
    number,
    optional,
    parts,
    string,
    token,
    whole,
)


def _distribute_event(element: _Element) -> DistributeEvent:
    of = parts(element)
    events: list[DeliveredEvent] = []
    unreadable: list[UnreadableEvent] = []
    for child in element.iterchildren(n.OADR_EVENT):
        try:
            events.append(_event(child))
        except (InvalidError, ValueError, OverflowError) as error:
            unreadable.append(_unreadable(child, str(error)))
    return DistributeEvent(
        vtn_id=string(of[n.VTN_ID]),
        request_id=string(of[n.REQUEST_ID]),
        events=tuple(events),
        response=response(of[n.EI_RESPONSE]) if n.EI_RESPONSE in of else None,
        unreadable=tuple(unreadable),
    )


def _unreadable(element: _Element, why: str) -> UnreadableEvent:
    """Return what an answer to an event needs. Raises InvalidError if not even that can be read."""
    ei_event, required = element
    about = parts(parts(ei_event)[n.EVENT_DESCRIPTOR])
    number = whole(about[n.MODIFICATION_NUMBER])
    return UnreadableEvent(string(about[n.EVENT_ID]), number, ResponseRequired(token(required)), why)


def _event(element: _Element) -> DeliveredEvent:
    ei_event, required = element
    of = parts(ei_event)
    about = parts(of[n.EVENT_DESCRIPTOR])
    status = EventStatus(token(about[n.EVENT_STATUS]))
    period = _period(of[n.ACTIVE_PERIOD][0])
    signals = of[n.EVENT_SIGNALS]
    baseline = next(signals.iterchildren(n.EVENT_BASELINE), None)
    modified = about.get(n.MODIFICATION_DATE_TIME)
    priority = about.get(n.PRIORITY)
    event = Event(
        event_id=string(about[n.EVENT_ID]),
        modification_number=whole(about[n.MODIFICATION_NUMBER]),
        market_context=token(about[n.EI_MARKET_CONTEXT][0]),
        created_at=instant(about[n.CREATED_DATE_TIME]),
        period=period,
        signals=tuple(_signal(child, period.duration) for child in signals.iterchildren(n.EVENT_SIGNAL)),
        target=target(of[n.TARGET]),
        response_required=ResponseRequired(token(required)),
        priority=whole(priority) if priority is not None else None,
        test_event=optional(about.get(n.TEST_EVENT)),
        vtn_comment=optional(about.get(n.VTN_COMMENT)),
        modification_reason=optional(about.get(n.MODIFICATION_REASON)),
        modified_at=instant(modified) if modified is not None else None,
        baseline=_baseline(baseline) if baseline is not None else None,
        cancelled=status is EventStatus.CANCELLED,
    )
    return DeliveredEvent(event, status)


def _period(properties: _Element) -> ActivePeriod:
    of = parts(properties)
    start_after = next((duration(leaf) for leaf in of[n.TOLERANCE][0]), None) if n.TOLERANCE in of else None
    return ActivePeriod(
        start=instant(of[n.DTSTART][0]),
        duration=duration_or_zero(of[n.DURATION]),
        notification=duration_or_zero(of.get(n.NOTIFICATION)),
        start_after=start_after,
        ramp_up=inner_duration(of.get(n.RAMP_UP)),
        recovery=inner_duration(of.get(n.RECOVERY)),
    )


def _signal(element: _Element, whole_period: Duration) -> Signal:
    of = parts(element)
    name = token(of[n.SIGNAL_NAME])
    current = of.get(n.CURRENT_VALUE)
    return Signal(
        name="SIMPLE" if name == "simple" else name,
        type=token(of[n.SIGNAL_TYPE]),
        signal_id=string(of[n.SIGNAL_ID]),
        intervals=_intervals(of[n.INTERVALS], whole_period),
        item_base=item_base(of),
        target=target(of.get(n.TARGET)),
        current_value=number(current[0][0]) if current is not None else None,
    )


def _baseline(element: _Element) -> Baseline:
    of = parts(element)
    lasts = duration_or_zero(of[n.DURATION])
    return Baseline(
        start=instant(of[n.DTSTART][0]),
        duration=lasts,
        intervals=_intervals(of[n.INTERVALS], lasts),
        baseline_id=string(of[n.BASELINE_ID]),
        name=string(of[n.BASELINE_NAME]),
        resource_ids=tuple(text for child in element.iterchildren(n.RESOURCE_ID) if (text := child.text)),
        item_base=item_base(of),
    )


def _intervals(element: _Element, whole_period: Duration) -> tuple[Interval, ...]:
    """Read intervals, by uid where all have one (EV-01). A lone interval without duration lasts the whole period."""
    rows: list[tuple[int, Interval]] = []
    for place, child in enumerate(element):
        of = parts(child)
        uid = of[n.UID][0].text if n.UID in of else None
        lasts = inner_duration(of.get(n.DURATION))
        if lasts is None and len(element) > 1:
            raise InvalidError(f"interval {place} has no duration")
        interval = Interval(lasts if lasts is not None else whole_period, _value(child, place))
        rows.append((int(uid) if uid and uid.strip().isdecimal() else place, interval))
    if len({uid for uid, _ in rows}) == len(rows):
        rows.sort(key=lambda row: row[0])
    return tuple(interval for _, interval in rows)


def _value(interval: _Element, place: int) -> float:
    """Read the one payloadFloat of an interval (EV-05)."""
    values = [
        value
        for payload in interval.iterchildren(n.SIGNAL_PAYLOAD)
        for content in payload.iterchildren(n.PAYLOAD_FLOAT)
        for value in content
    ]
    if len(values) != 1:
        raise InvalidError(f"interval {place} has {len(values)} signalPayloads with payloadFloat, not one")
    return number(values[0])


def _created_event(element: _Element) -> CreatedEvent:
    of = parts(element[0])
    responses = of.get(n.EVENT_RESPONSES)
    return CreatedEvent(
        ven_id=string(of[n.VEN_ID]),
        response=response(of[n.EI_RESPONSE]),
        event_responses=tuple(_event_response(child) for child in responses) if responses is not None else (),
    )


def _event_response(element: _Element) -> EventResponse:
    of = parts(element)
    event_id, modification_number = of[n.QUALIFIED_EVENT_ID]
    return EventResponse(
        event_id=string(event_id),
        modification_number=whole(modification_number),
        opt_type=OptType(token(of[n.OPT_TYPE])),
        request_id=string(of[n.REQUEST_ID]),
        code=whole(of[n.RESPONSE_CODE]),
        description=optional(of.get(n.RESPONSE_DESCRIPTION)),
    )


def _request_event(element: _Element) -> RequestEvent:
    of = parts(element[0])
    limit = of.get(n.REPLY_LIMIT)
    return RequestEvent(string(of[n.VEN_ID]), string(of[n.REQUEST_ID]), whole(limit) if limit is not None else None)


READERS: Final[Mapping[str, Reader]] = {
    n.clark("oadr:oadrDistributeEvent"): _distribute_event,
    n.clark("oadr:oadrCreatedEvent"): _created_event,
    n.clark("oadr:oadrRequestEvent"): _request_event,
}
