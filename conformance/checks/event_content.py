"""EV: what an event holds. These rules are judged in all deliveries of all dialogues."""

from collections.abc import Iterator
from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check, needed
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.verdict import Failed, NotObservable
from conformance.vocabulary import DEVICE_CLASSES, SIGNALS

_OK: Final = 200
_PERIOD: Final = ".//ei:eiActivePeriod/xcal:properties"
_SIGNALS: Final = ".//ei:eiEventSignals/ei:eiEventSignal"
_BASELINES: Final = ".//ei:eiEventSignals/ei:eiEventBaseline"
_INTERVALS: Final = "strm:intervals/ei:interval"
_LENGTH: Final = "xcal:duration/xcal:duration"
_SHARES: Final = frozenset({("CHARGE_STATE", "multiplier"), ("LOAD_CONTROL", "x-loadControlCapacity")})
_UNITS: Final = frozenset(unit for signal in SIGNALS for unit in signal.units)
_LEVELS: Final = range(-10, 11)


def deliveries(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    """Yield every oadrDistributeEvent of a transcript. Raises NotObservable without any event."""
    seen = False
    for exchange, document in judge.readable(transcript):
        if document.name == "oadrDistributeEvent":
            seen = seen or bool(document.events)
            yield exchange, document
    if not seen:
        raise NotObservable("no event was delivered")


def events(transcript: Transcript) -> Iterator[tuple[Exchange, Document]]:
    """Yield every event of every delivery."""
    for exchange, document in deliveries(transcript):
        for event in document.events:
            yield exchange, event


def signals(transcript: Transcript, path: str = _SIGNALS) -> Iterator[tuple[Exchange, Document, Document]]:
    """Yield every signal (or baseline) with its event."""
    for exchange, event in events(transcript):
        for signal in event.all(path):
            yield exchange, event, Document(signal)


def payloads(signal: Document) -> list[float]:
    """Return the values of a signal's intervals. Raises Failed for what is no number."""
    texts = signal.texts(f"{_INTERVALS}/ei:signalPayload/ei:payloadFloat/ei:value")
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise Failed(f"a value is no number: {error}") from error


def _numbered(exchange: Exchange, signal: Document) -> None:
    uids = signal.texts(f"{_INTERVALS}/xcal:uid/xcal:text")
    if uids != [str(number) for number in range(len(signal.all(_INTERVALS)))]:
        raise Failed(f"the intervals have the uids {', '.join(uids) or 'none'}", exchange)


def _lengths(signal: Document) -> list[int]:
    return [judge.seconds(text) for text in signal.texts(f"{_INTERVALS}/{_LENGTH}")]


def _refused(transcript: Transcript, *names: str) -> None:
    """Raise Failed if the operator's interface took an order that it has to refuse; where nobody tried, it is well."""
    taken = [name for name in names if transcript.facts.get(f"refused {name}") == ""]
    if taken:
        raise Failed(f"the operator's interface takes {', '.join(taken)}", *transcript.steps("afterwards"))


@check("EV-01", EVERY)
def intervals_are_numbered(transcript: Transcript) -> None:
    """The uids of a signal's intervals are 0, 1, 2 ..."""
    for exchange, _, signal in signals(transcript):
        _numbered(exchange, signal)


@check("EV-02", EVERY)
def intervals_of_baselines_are_numbered(transcript: Transcript) -> None:
    """The uids of a baseline's intervals are 0, 1, 2 ..."""
    baselines = list(signals(transcript, _BASELINES))
    if not baselines:
        raise NotObservable("no event had a baseline")
    for exchange, _, baseline in baselines:
        _numbered(exchange, baseline)


@check("EV-03", EVERY)
def intervals_have_a_duration_and_no_start(transcript: Transcript) -> None:
    """Each interval says how long it lasts, none says when it begins."""
    for path in (_SIGNALS, _BASELINES):
        for exchange, _, signal in signals(transcript, path):
            intervals = len(signal.all(_INTERVALS))
            if signal.all(f"{_INTERVALS}/xcal:dtstart") or len(_lengths(signal)) != intervals:
                raise Failed("an interval without duration, or with dtstart", exchange)


@check("EV-04", EVERY)
def intervals_fill_the_event(transcript: Transcript) -> None:
    """A signal's intervals together last as long as the event, a baseline's as long as the baseline.

    The operator's interface refuses others.
    """
    _refused(transcript, "unequal lengths")
    for exchange, event, signal in signals(transcript):
        length = judge.duration_at(event, f"{_PERIOD}/{_LENGTH}")
        if sum(_lengths(signal)) != length:
            raise Failed(f"the intervals last {sum(_lengths(signal))} s, the event {length} s", exchange)
    for exchange, _, baseline in signals(transcript, _BASELINES):
        length = judge.duration_at(baseline, _LENGTH)
        if sum(_lengths(baseline)) != length:
            raise Failed(f"a baseline's intervals last {sum(_lengths(baseline))} s, the baseline {length} s", exchange)


@check("EV-05", EVERY)
def intervals_have_one_value(transcript: Transcript) -> None:
    """Each interval has exactly one signalPayload with a payloadFloat."""
    for exchange, _, signal in signals(transcript):
        for interval in signal.all(_INTERVALS):
            parts = Document(interval)
            if len(parts.all("ei:signalPayload")) != 1 or len(parts.all("ei:signalPayload/ei:payloadFloat")) != 1:
                raise Failed("an interval without exactly one value", exchange)


@check("EV-19", EVERY)
def a_delivery_that_was_asked_for_has_a_response(transcript: Transcript) -> None:
    """EiResponse is there in what answers oadrRequestEvent and oadrPoll; what is pushed may lack it."""
    for exchange, document in deliveries(transcript):
        if document.code is None and not exchange.is_push:
            raise Failed(f"{exchange.step}: oadrDistributeEvent without eiResponse", exchange)


@check("EV-20", EVERY)
def a_delivery_has_a_request_id(transcript: Transcript) -> None:
    """The delivery's own requestID is never empty."""
    for exchange, document in deliveries(transcript):
        if (document.code == _OK or exchange.is_push) and not document.text("pyld:requestID"):
            raise Failed(f"{exchange.step}: oadrDistributeEvent without requestID", exchange)


@check("EV-21", EVERY)
def event_ids_are_unique(transcript: Transcript) -> None:
    """A delivery names each event once."""
    for exchange, document in deliveries(transcript):
        ids = [event.event_id for event in document.events]
        if len(set(ids)) != len(ids):
            raise Failed("an eventID occurs twice", exchange)


@check("EV-22", EVERY)
def an_event_is_for_one_ven(transcript: Transcript) -> None:
    """EiTarget names at most one VEN."""
    for exchange, event in events(transcript):
        if len(event.all("ei:eiEvent/ei:eiTarget/ei:venID")) > 1:
            raise Failed("an event's target names several VENs", exchange)


@check("EV-23", EVERY)
def the_notice_is_said(transcript: Transcript) -> None:
    """The active period has an x-eiNotification."""
    for exchange, event in events(transcript):
        if not event.all(f"{_PERIOD}/ei:x-eiNotification"):
            raise Failed("an event without x-eiNotification", exchange)


@check("EV-25", EVERY)
def simple_is_a_level_without_unit(transcript: Transcript) -> None:
    """SIMPLE has the type level and no unit."""
    for exchange, _, signal in signals(transcript):
        if signal.text("ei:signalName") == "SIMPLE" and (signal.text("ei:signalType") != "level" or _unit(signal)):
            raise Failed(f"SIMPLE is {signal.text('ei:signalType')} in '{_unit(signal)}'", exchange)


def _unit(signal: Document) -> str:
    """Return the name of a signal's unit, "" without any."""
    names = [Document(each).name for each in signal.all("*")]
    return next((name for name in names if name in _UNITS), "")


def _fits(name: str, kind: str, unit: str) -> bool:
    """Whether the table has this signal. A level is no power, so it may leave the unit out."""
    rows = [signal for signal in SIGNALS if signal.name == name and kind in signal.types]
    return any(unit in signal.units or (not unit and (not signal.units or kind == "level")) for signal in rows)


@check("EV-29", EVERY)
def signals_are_those_of_the_table(transcript: Transcript) -> None:
    """Well-known signals have a type, a unit and values of the table; the operator's interface refuses others."""
    _refused(transcript, "price in W", "SIMPLE setpoint")
    names = {signal.name for signal in SIGNALS}
    for exchange, _, signal in signals(transcript):
        name, kind = signal.text("ei:signalName") or "", signal.text("ei:signalType") or ""
        if name in names and not _fits(name, kind, _unit(signal)):
            raise Failed(f"{name} {kind} in '{_unit(signal)}' is not in the table", exchange)
        if (name, kind) == ("LOAD_DISPATCH", "level") and any(value not in _LEVELS for value in payloads(signal)):
            raise Failed(f"{name} {kind} has the values {payloads(signal)}", exchange)
        if (name, kind) in _SHARES and any(not 0 <= value <= 1 for value in payloads(signal)):
            raise Failed(f"{name} {kind} has the values {payloads(signal)}", exchange)


@check("EV-24", EVERY)
def simple_is_zero_to_three(transcript: Transcript) -> None:
    """SIMPLE's values are 0, 1, 2 or 3; the operator's interface refuses others."""
    _refused(transcript, "SIMPLE 4", "SIMPLE -1", "SIMPLE 1.5")
    for exchange, _, signal in signals(transcript):
        if signal.text("ei:signalName") == "SIMPLE" and any(value not in range(4) for value in payloads(signal)):
            raise Failed(f"SIMPLE has the values {payloads(signal)}", exchange)


@check("EV-30", "contents")
def signal_ids_differ(transcript: Transcript) -> None:
    """Several signals of an event have different signalIDs."""
    several = False
    for exchange, event in events(transcript):
        ids = event.texts(f"{_SIGNALS}/ei:signalID")
        several = several or len(ids) > 1
        if len(set(ids)) != len(ids):
            raise Failed("two signals of an event have the same signalID", exchange)
    if not several:
        raise NotObservable("no event had several signals")


@check("EV-31", "contents", feature="targets")
def signals_target_device_classes_alone(transcript: Transcript) -> None:
    """A signal's target holds device classes of the list or x- ones, or it is left out."""
    seen = False
    for exchange, _, signal in signals(transcript):
        for target in signal.all("ei:eiTarget"):
            seen = True
            if any(Document(each).name != "endDeviceAsset" for each in target) or not len(target):
                raise Failed("a signal's target holds something other than device classes", exchange)
            for name in Document(target).texts("power:endDeviceAsset/power:mrid"):
                if name not in DEVICE_CLASSES and not name.startswith("x-"):
                    raise Failed(f"there is no device class {name}", exchange)
    if not seen:
        raise NotObservable("no signal had a target")


@check("EV-35", "contents")
def the_usual_events_can_be_sent(transcript: Transcript) -> None:
    """SIMPLE, ELECTRICITY_PRICE with price and LOAD_DISPATCH with setpoint go out, and a resource can be targeted."""
    seen = {(signal.text("ei:signalName"), signal.text("ei:signalType")) for _, _, signal in signals(transcript)}
    for wanted in (("SIMPLE", "level"), ("ELECTRICITY_PRICE", "price"), ("LOAD_DISPATCH", "setpoint")):
        needed(transcript, f"kind:{wanted[0]}")
        if wanted not in seen:
            raise Failed(f"{' '.join(wanted)} never came", *needed(transcript, "kind")[-1:])
    needed(transcript, "kind:resource")
    resources = [
        text for _, event in events(transcript) for text in event.texts("ei:eiEvent/ei:eiTarget/ei:resourceID")
    ]
    if "load1" not in resources:
        raise Failed("the event for the resource load1 does not name it", *needed(transcript, "kind")[-1:])


@check("EV-36", "contents")
def simple_may_accompany_other_signals(transcript: Transcript) -> None:
    """An event can have SIMPLE and another signal."""
    needed(transcript, "kind:several")
    names = [set(event.texts(f"{_SIGNALS}/ei:signalName")) for _, event in events(transcript)]
    if not any("SIMPLE" in each and len(each) > 1 for each in names):
        raise Failed("no event has SIMPLE beside another signal", *needed(transcript, "kind")[-1:])


CHECKS: Final[tuple[Check, ...]] = (
    intervals_are_numbered,
    intervals_of_baselines_are_numbered,
    intervals_have_a_duration_and_no_start,
    intervals_fill_the_event,
    intervals_have_one_value,
    a_delivery_that_was_asked_for_has_a_response,
    a_delivery_has_a_request_id,
    event_ids_are_unique,
    an_event_is_for_one_ven,
    the_notice_is_said,
    simple_is_zero_to_three,
    simple_is_a_level_without_unit,
    signals_are_those_of_the_table,
    signal_ids_differ,
    signals_target_device_classes_alone,
    the_usual_events_can_be_sent,
    simple_may_accompany_other_signals,
)
