"""Encoding of EiEvent messages."""

from collections.abc import Sequence

from core.errors import InvalidError
from openadr.model.event import ActivePeriod, DeliveredEvent, Event
from openadr.model.signal import Baseline, Interval, Signal
from openadr.v20b.encode_parts import item_base, optional_target, response, response_parts, target
from openadr.v20b.messages import CreatedEvent, DistributeEvent, EventResponse, RequestEvent
from openadr.v20b.writing import dtstart, duration_text, escape, instant, lasting, leaf, leaves, number, optional, whole


def distribute_event(message: DistributeEvent) -> str:
    """Write the content of an oadrDistributeEvent."""
    return (
        f"{response(message.response) if message.response is not None else ''}"
        f"<pyld:requestID>{escape(message.request_id)}</pyld:requestID>"
        f"<ei:vtnID>{escape(message.vtn_id)}</ei:vtnID>"
        f"{''.join(_event(one) for one in message.events)}"
    )


def _event(delivered_event: DeliveredEvent) -> str:
    event = delivered_event.event
    if not event.signals:
        raise InvalidError(f"Event {event.event_id} has no signals.")
    return (
        f"<oadr:oadrEvent><ei:eiEvent>{_descriptor(event, delivered_event.status)}{_period(event.period)}"
        f"<ei:eiEventSignals>{''.join(_signal(one) for one in event.signals)}"
        f"{_baseline(event.baseline) if event.baseline is not None else ''}</ei:eiEventSignals>"
        f"{target('ei:eiTarget', event.target)}</ei:eiEvent>"
        f"<oadr:oadrResponseRequired>{event.response_required}</oadr:oadrResponseRequired></oadr:oadrEvent>"
    )


def _descriptor(event: Event, status: str) -> str:
    modified = leaf("ei:modificationDateTime", instant(event.modified_at)) if event.modified_at is not None else ""
    priority = leaf("ei:priority", whole(event.priority)) if event.priority is not None else ""
    return (
        f"<ei:eventDescriptor><ei:eventID>{escape(event.event_id)}</ei:eventID>"
        f"<ei:modificationNumber>{whole(event.modification_number)}</ei:modificationNumber>{modified}"
        f"{optional('ei:modificationReason', event.modification_reason)}{priority}"
        f"<ei:eiMarketContext><emix:marketContext>{escape(event.market_context)}</emix:marketContext>"
        f"</ei:eiMarketContext><ei:createdDateTime>{instant(event.created_at)}</ei:createdDateTime>"
        f"<ei:eventStatus>{status}</ei:eventStatus>{optional('ei:testEvent', event.test_event)}"
        f"{optional('ei:vtnComment', event.vtn_comment)}</ei:eventDescriptor>"
    )


def _period(period: ActivePeriod) -> str:
    after = period.start_after
    tolerance = (
        f"<xcal:tolerance><xcal:tolerate><xcal:startafter>{duration_text(after)}</xcal:startafter></xcal:tolerate></xcal:tolerance>"
        if after is not None
        else ""
    )
    return (
        f"<ei:eiActivePeriod><xcal:properties>{dtstart(period.start)}{lasting('xcal:duration', period.duration)}"
        f"{tolerance}{lasting('ei:x-eiNotification', period.notification)}"
        f"{lasting('ei:x-eiRampUp', period.ramp_up) if period.ramp_up is not None else ''}"
        f"{lasting('ei:x-eiRecovery', period.recovery) if period.recovery is not None else ''}"
        f"</xcal:properties><xcal:components/></ei:eiActivePeriod>"
    )


def _signal(signal: Signal) -> str:
    current = signal.current_value
    return (
        f"<ei:eiEventSignal>{_intervals(signal.intervals, signal.name)}{optional_target('ei:eiTarget', signal.target)}"
        f"<ei:signalName>{escape(signal.name)}</ei:signalName><ei:signalType>{escape(signal.type)}</ei:signalType>"
        f"<ei:signalID>{escape(signal.signal_id)}</ei:signalID>{item_base(signal.item_base)}"
        f"{f'<ei:currentValue>{_float(current)}</ei:currentValue>' if current is not None else ''}</ei:eiEventSignal>"
    )


def _baseline(baseline: Baseline) -> str:
    return (
        f"<ei:eiEventBaseline>{dtstart(baseline.start)}{lasting('xcal:duration', baseline.duration)}"
        f"{_intervals(baseline.intervals, 'a baseline')}<ei:baselineID>{escape(baseline.baseline_id)}</ei:baselineID>"
        f"{leaves('ei:resourceID', baseline.resource_ids)}<ei:baselineName>{escape(baseline.name)}</ei:baselineName>"
        f"{item_base(baseline.item_base)}</ei:eiEventBaseline>"
    )


def _intervals(intervals: Sequence[Interval], whose: str) -> str:
    if not intervals:
        raise InvalidError(f"The signal {whose} has no intervals.")
    rows = "".join(
        f"<ei:interval>{lasting('xcal:duration', interval.duration)}<xcal:uid><xcal:text>{uid}</xcal:text></xcal:uid>"
        f"<ei:signalPayload>{_float(interval.value)}</ei:signalPayload></ei:interval>"
        for uid, interval in enumerate(intervals)
    )
    return f"<strm:intervals>{rows}</strm:intervals>"


def _float(value: float) -> str:
    return f"<ei:payloadFloat><ei:value>{number(value)}</ei:value></ei:payloadFloat>"


def created_event(message: CreatedEvent) -> str:
    """Write the content of an oadrCreatedEvent. eventResponses is left out only beside an error (EV-43)."""
    answers = ""
    if message.event_responses or message.response.ok:
        answers = f"<ei:eventResponses>{''.join(_answer(one) for one in message.event_responses)}</ei:eventResponses>"
    return (
        f"<pyld:eiCreatedEvent>{response(message.response)}{answers}"
        f"<ei:venID>{escape(message.ven_id)}</ei:venID></pyld:eiCreatedEvent>"
    )


def _answer(message: EventResponse) -> str:
    return (
        f"<ei:eventResponse>{response_parts(message.code, message.description, message.request_id)}"
        f"{qualified_event_id(message.event_id, message.modification_number)}"
        f"<ei:optType>{message.opt_type}</ei:optType>"
        f"</ei:eventResponse>"
    )


def qualified_event_id(event_id: str, modification_number: int) -> str:
    """Write a qualifiedEventID."""
    return (
        f"<ei:qualifiedEventID><ei:eventID>{escape(event_id)}</ei:eventID>"
        f"<ei:modificationNumber>{whole(modification_number)}</ei:modificationNumber></ei:qualifiedEventID>"
    )


def request_event(message: RequestEvent) -> str:
    """Write the content of an oadrRequestEvent."""
    limit = leaf("pyld:replyLimit", whole(message.reply_limit)) if message.reply_limit is not None else ""
    return (
        f"<pyld:eiRequestEvent>{leaf('pyld:requestID', message.request_id)}{leaf('ei:venID', message.ven_id)}{limit}"
        f"</pyld:eiRequestEvent>"
    )
