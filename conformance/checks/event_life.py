"""EV: how events change with time and by the operator, and in which order they come."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check, needed
from conformance.checks.event_content import deliveries, payloads
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.verdict import Failed, NotObservable

_PERIOD: Final = ".//ei:eiActivePeriod/xcal:properties"
_DESCRIPTOR: Final = ".//ei:eventDescriptor"
_SIGNAL: Final = ".//ei:eiEventSignals/ei:eiEventSignal"


def _status(event: Document) -> str:
    return event.text(f"{_DESCRIPTOR}/ei:eventStatus") or ""


def _start(event: Document) -> datetime:
    return judge.date_time(event.text(f"{_PERIOD}/xcal:dtstart/xcal:date-time"))


def _length(event: Document, path: str) -> timedelta:
    return timedelta(seconds=judge.duration_at(event, f"{_PERIOD}/{path}") or 0)


def _moments(transcript: Transcript, label: str) -> list[tuple[Exchange, Document | None]]:
    """Return what was seen of a VEN's only event, moment by moment; None where it was not listed."""
    moments: list[tuple[Exchange, Document | None]] = []
    for exchange in needed(transcript, f"moment:{label}"):
        listed = judge.accepted(exchange, "oadrDistributeEvent", "oadrResponse").events
        moments.append((exchange, listed[0] if listed else None))
    return moments


def _all_moments(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    needed(transcript, "moment")
    for label in ("ramped", "plain", "randomised", "open"):
        if transcript.steps(f"moment:{label}"):
            for exchange, event in _moments(transcript, label):
                if event is not None:
                    yield exchange, event


def _expected(event: Document, at: datetime, margin: timedelta) -> str | None:
    """Return the status that the event has to have at a time; None close to a boundary."""
    start, length = _start(event), _length(event, "xcal:duration/xcal:duration")
    near = start - _length(event, "ei:x-eiRampUp/xcal:duration")
    random = _length(event, "xcal:tolerance/xcal:tolerate/xcal:startafter")
    ends = [start + length, start + length + random] if length else []
    if any(abs(at - boundary) <= margin for boundary in (near, start, *ends)):
        return None
    if ends and ends[0] < at < ends[1]:
        return None
    if ends and at > ends[1]:
        return "completed"
    return "active" if at > start else "near" if at > near else "far"


def _margin(transcript: Transcript) -> timedelta:
    return timedelta(seconds=0.2 * float(transcript.facts.get("pace_s", 1)))


@check("EV-06", "changes")
def a_new_event_is_number_zero(transcript: Transcript) -> None:
    """The first delivery of an event has the modificationNumber 0."""
    exchange, event = _version(transcript, "version:new")
    if event.modification != 0:
        raise Failed(f"a new event has the modificationNumber {event.modification}", exchange)


def _version(transcript: Transcript, step: str) -> tuple[Exchange, Document]:
    """Return the only event of a step. Raises Failed if there is none."""
    (exchange, *_) = needed(transcript, step)
    listed = judge.accepted(exchange, "oadrDistributeEvent").events
    if not listed:
        raise Failed(f"{step}: the event is not there", exchange)
    return exchange, listed[0]


@check("EV-07", "changes", also="restart")
def each_change_counts_once(transcript: Transcript) -> None:
    """A change adds one to the modificationNumber, a cancellation too; without one it stays, also in a restart."""
    _, first = _version(transcript, "version:new")
    steps = {"unchanged": 0, "values": 1, "start": 2, "unchanged again": 2, "cancelled": 3}
    needed(transcript, "version:values")
    for name, more in steps.items():
        exchange, event = _version(transcript, f"version:{name}")
        if event.modification != first.modification + more:
            number = f"{event.modification} in place of {first.modification + more}"
            raise Failed(f"{name}: modificationNumber {number}", exchange)
    for exchange in transcript.steps("restarted:listed"):
        before, after = _numbers(needed(transcript, "before:listed")[0]), _numbers(exchange)
        if wrong := [event_id for event_id in before.keys() & after.keys() if before[event_id] != after[event_id]]:
            number = f"{after[wrong[0]]} in place of {before[wrong[0]]}"
            raise Failed(f"after a restart: modificationNumber {number}", exchange)


def _numbers(exchange: Exchange) -> dict[str, int]:
    """Return the modificationNumbers of a list by eventID; nothing for what is no list (EV-15)."""
    try:
        return {event.event_id: event.modification for event in judge.answer(exchange, "oadrDistributeEvent").events}
    except Failed:
        return {}


@check("EV-08", "life")
def time_is_no_modification(transcript: Transcript) -> None:
    """Far, near, active and completed leave the modificationNumber alone."""
    for exchange, event in _all_moments(transcript):
        if event.modification != 0:
            raise Failed(f"{_status(event)}: modificationNumber {event.modification}", exchange)


@check("EV-09", "life", feature="ramp_up")
def an_event_goes_from_far_to_active(transcript: Transcript) -> None:
    """Far, near from the ramp-up on, active, completed; without a ramp-up there is no near."""
    for label, wanted in (("ramped", ["far", "near", "active"]), ("plain", ["far", "active"])):
        moments = [(exchange, _status(event)) for exchange, event in _moments(transcript, label) if event is not None]
        seen = list(dict.fromkeys(status for _, status in moments))
        if [status for status in seen if status != "completed"] != wanted:
            raise Failed(f"{label}: {', '.join(seen)}", *(exchange for exchange, _ in moments))


@check("EV-10", "changes")
def a_cancelled_event_says_so(transcript: Transcript) -> None:
    """A cancellation is an event with the status cancelled."""
    exchange, event = _version(transcript, "version:cancelled")
    if _status(event) != "cancelled":
        raise Failed(f"the cancelled event is {_status(event)}", exchange)


def _rank(event: Document) -> tuple[int, int, datetime]:
    """Return by what an event is ordered: active first, by priority and start; then pending ones by start."""
    priority = int(event.text(f"{_DESCRIPTOR}/ei:priority") or 0)
    if _status(event) != "active":
        return 1, 0, _start(event)
    return 0, priority or 2**31, _start(event)


@check("EV-11", "order", feature="priority")
def no_priority_is_the_lowest(transcript: Transcript) -> None:
    """An active event with priority 0 comes after those with a priority."""
    for exchange in needed(transcript, "list"):
        active = [event for event in judge.accepted(exchange).events if _status(event) == "active"]
        priorities = [int(event.text(f"{_DESCRIPTOR}/ei:priority") or 0) for event in active]
        if 0 not in priorities or not any(priorities):
            raise NotObservable(f"the active events have the priorities {priorities}")
        if any(priorities[priorities.index(0) :]):
            raise Failed(f"the active events come with the priorities {priorities}", exchange)


@check("EV-12", "order")
def events_come_in_order(transcript: Transcript) -> None:
    """Active before pending; active by priority and start; pending by start."""
    for exchange in needed(transcript, "list"):
        ranks = [_rank(event) for event in judge.accepted(exchange, "oadrDistributeEvent").events]
        if len({rank[0] for rank in ranks}) < 2:  # noqa: PLR2004
            raise NotObservable("there were not both active and pending events")
        if ranks != sorted(ranks):
            raise Failed("the events are not in order", exchange)


@check("EV-13", "order")
def ties_stay_as_they_are(transcript: Transcript) -> None:
    """Where replyLimit cuts between equals, the next answer cuts at the same place."""
    (first, *_), (second, *_) = needed(transcript, "limited:6"), needed(transcript, "limited:6 again")
    lists = [[event.event_id for event in judge.accepted(exchange).events] for exchange in (first, second)]
    if lists[0] != lists[1]:
        raise Failed("equal events change places", first, second)


@check("EV-14", "order")
def a_cancelled_event_keeps_its_place(transcript: Transcript) -> None:
    """An event that was cancelled stands where it stood before."""
    (before, *_), (after, *_) = needed(transcript, "list"), needed(transcript, "one cancelled")
    old = [event.event_id for event in judge.accepted(before).events]
    new = [event.event_id for event in judge.accepted(after).events]
    if new != old:
        raise Failed("the order is another one after a cancellation", before, after)


@check("EV-15", "delivery", also="restart")
def every_delivery_lists_all_events(transcript: Transcript) -> None:
    """A poll and a request list the same events, also after a restart; without events the list is empty, but a list."""
    for exchange in needed(transcript, "listed:none"):
        judge.accepted(exchange, "oadrDistributeEvent")
    for step in ("new", "changed"):
        if not transcript.steps(f"listed:{step}"):
            continue
        (polled, *_), (asked, *_) = needed(transcript, step), needed(transcript, f"listed:{step}")
        first = [event.event_id for event in judge.accepted(polled, "oadrDistributeEvent").events]
        second = [event.event_id for event in judge.accepted(asked, "oadrDistributeEvent").events]
        if first != second:
            raise Failed(f"{step}: {len(first)} events by poll, {len(second)} on request", polled, asked)
    for exchange in transcript.steps("restarted:listed"):
        listed = needed(transcript, "before:listed")[0]
        if gone := _numbers(listed).keys() - _numbers(exchange).keys():
            raise Failed(f"after a restart of the VTN {len(gone)} events are gone", listed, exchange)


@check("EV-16", "changes")
def a_cancellation_is_repeated_until_it_is_answered(transcript: Transcript) -> None:
    """Cancelled events are listed until the VEN has answered, and no longer."""
    for exchange in needed(transcript, "withheld"):
        if "cancelled" not in [_status(event) for event in judge.accepted(exchange).events]:
            raise Failed("the cancelled event is gone before it was answered", exchange)
    for exchange in needed(transcript, "acknowledged"):
        if judge.accepted(exchange, "oadrDistributeEvent", "oadrResponse").events:
            raise Failed("the cancelled event is listed after it was answered", exchange)


@check("EV-17", "life", feature="start_after")
def a_randomised_event_stays_until_it_must_be_over(transcript: Transcript) -> None:
    """With startafter an event is listed until its latest end, also when it is complete."""
    moments = _moments(transcript, "randomised")
    event = next((event for _, event in moments if event is not None), None)
    if event is None:
        raise Failed("the event is never listed", *(exchange for exchange, _ in moments))
    random = _length(event, "xcal:tolerance/xcal:tolerate/xcal:startafter")
    if not random:
        raise Failed("the event has no startafter", moments[0][0])
    end = _start(event) + _length(event, "xcal:duration/xcal:duration")
    seen = False
    for exchange, listed in moments:
        if end < exchange.at < end + random - _margin(transcript):
            seen = True
            if listed is None:
                raise Failed("the event is gone although it may still run", exchange)
    if not seen:
        raise NotObservable("nobody looked between its end and its latest end")


@check("EV-18", "order")
def no_more_events_than_asked_for(transcript: Transcript) -> None:
    """ReplyLimit n gives the first n events of the order."""
    (everything, *_) = needed(transcript, "list")
    ids = [event.event_id for event in judge.accepted(everything).events]
    for exchange in needed(transcript, "limited"):
        limit = int(judge.request(exchange).text("pyld:eiRequestEvent/pyld:replyLimit") or 0)
        got = [event.event_id for event in judge.accepted(exchange, "oadrDistributeEvent").events]
        if got != ids[:limit]:
            raise Failed(f"replyLimit {limit} gives {len(got)} events, or other ones", exchange)


@check("EV-26", "life")
def simple_is_zero_unless_active(transcript: Transcript) -> None:
    """CurrentValue of SIMPLE is 0 unless the event is active."""
    for exchange, event in _all_moments(transcript):
        for text in event.texts(f"{_SIGNAL}[ei:signalName='SIMPLE']/ei:currentValue/ei:payloadFloat/ei:value"):
            if _status(event) != "active" and float(text) != 0:
                raise Failed(f"currentValue is {text} while {_status(event)}", exchange)


@check("EV-27", "life", feature="several_intervals")
def the_current_value_is_that_of_now(transcript: Transcript) -> None:
    """While active, currentValue is the value of the running interval."""
    looked = set()
    for exchange, event in _all_moments(transcript):
        if _status(event) != "active":
            continue
        for each in event.all(_SIGNAL):
            signal = Document(each)
            number = _running(signal, exchange.at - _start(event), _margin(transcript))
            current = signal.text("ei:currentValue/ei:payloadFloat/ei:value")
            if number is None:
                continue
            looked.add(number)
            if current is None or float(current) != payloads(signal)[number]:
                raise Failed(f"currentValue is {current} in interval {number}", exchange)
    if looked < {0, 1}:
        raise NotObservable("nobody looked in two intervals")


def _running(signal: Document, since: timedelta, margin: timedelta) -> int | None:
    """Return the number of the interval that runs so long after the start; None close to a boundary."""
    begin = timedelta()
    lengths = signal.texts("strm:intervals/ei:interval/xcal:duration/xcal:duration")
    for number, text in enumerate(lengths):
        end = begin + timedelta(seconds=judge.seconds(text))
        if begin + margin < since and (since < end - margin or begin == end):
            return number
        begin = end
    return None


@check("EV-32", "changes")
def the_stamp_is_renewed_with_each_change(transcript: Transcript) -> None:
    """CreatedDateTime is a new one when an event changes, and the same for all events of a message."""
    for exchange, document in deliveries(transcript):
        stamps = {event.text(f"{_DESCRIPTOR}/ei:createdDateTime") for event in document.events}
        if len(stamps) > 1:
            raise Failed("the events of a message have different createdDateTimes", exchange)
    last: datetime | None = None
    for name in ("new", "values", "start", "cancelled"):
        needed(transcript, f"version:{name}")
        exchange, event = _version(transcript, f"version:{name}")
        stamp = judge.date_time(event.text(f"{_DESCRIPTOR}/ei:createdDateTime"))
        if last is not None and stamp <= last:
            raise Failed(f"{name}: createdDateTime is not later than before the change", exchange)
        last = stamp


@check("EV-33", "life")
def the_status_is_that_of_now(transcript: Transcript) -> None:
    """OadrRequestEvent gets the status that the time makes it, without any change of the event."""
    judged = 0
    for exchange, event in _all_moments(transcript):
        wanted = _expected(event, exchange.at, _margin(transcript))
        judged += wanted is not None
        if wanted is not None and _status(event) != wanted:
            raise Failed(f"{_status(event)} in place of {wanted}", exchange)
    if not judged:
        raise NotObservable("nobody looked at a clear moment")


@check("EV-34", "past")
def what_is_past_does_not_change(transcript: Transcript) -> None:
    """The operator's interface refuses to change an interval that has gone by, and the event stays as it was."""
    refusal = transcript.facts.get("refused past")
    if refusal is None:
        raise NotObservable("nobody tried to change it")
    _, event = _version(transcript, "afterwards")
    values = payloads(Document(event.all(_SIGNAL)[0]))
    if not refusal and values[0] != 1:
        raise Failed("an interval that has gone by was changed", *needed(transcript, "afterwards"))


@check("EV-66", "life")
def an_event_without_end_stays_active(transcript: Transcript) -> None:
    """An event of no length is active until it is cancelled."""
    moments = _moments(transcript, "open")
    for exchange, event in moments:
        if event is None or _status(event) == "completed":
            raise Failed("the event without end is over", exchange)
    if "active" not in [_status(event) for _, event in moments if event is not None]:
        raise Failed("the event without end never was active", *(exchange for exchange, _ in moments))


@check("EV-72", EVERY)
def only_vens_ask_for_events(transcript: Transcript) -> None:
    """A VTN never sends oadrRequestEvent."""
    seen = False
    for exchange, document in judge.readable(transcript):
        seen = True
        if document.name == "oadrRequestEvent":
            raise Failed("the VTN sends oadrRequestEvent", exchange)
    if not seen:
        raise NotObservable("there was no answer")


CHECKS: Final[tuple[Check, ...]] = (
    a_new_event_is_number_zero,
    each_change_counts_once,
    time_is_no_modification,
    an_event_goes_from_far_to_active,
    a_cancelled_event_says_so,
    no_priority_is_the_lowest,
    events_come_in_order,
    ties_stay_as_they_are,
    a_cancelled_event_keeps_its_place,
    every_delivery_lists_all_events,
    a_cancellation_is_repeated_until_it_is_answered,
    a_randomised_event_stays_until_it_must_be_over,
    no_more_events_than_asked_for,
    simple_is_zero_unless_active,
    the_current_value_is_that_of_now,
    the_stamp_is_renewed_with_each_change,
    the_status_is_that_of_now,
    what_is_past_does_not_change,
    an_event_without_end_stays_active,
    only_vens_ask_for_events,
)
