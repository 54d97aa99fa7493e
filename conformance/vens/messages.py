"""What a VTN says: written by hand and valid as it stands, like `conformance.templates`."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from conformance.templates import (
    Message,
    duration_part,
    element,
    end_device,
    message_of,
    properties_part,
    response_part,
)

VTN_ID: Final = "Conformance-VTN"
_WATTS: Final = (
    "<power:powerReal><power:itemDescription>RealPower</power:itemDescription><power:itemUnits>W</power:itemUnits>"
    "<scale:siScaleCode>none</scale:siScaleCode><power:powerAttributes><power:hertz>50</power:hertz>"
    "<power:voltage>230</power:voltage><power:ac>true</power:ac></power:powerAttributes></power:powerReal>"
)
_PRICE: Final = (
    "<oadr:currencyPerKWh><oadr:itemDescription>currencyPerKWh</oadr:itemDescription>"
    "<oadr:itemUnits>EUR</oadr:itemUnits><scale:siScaleCode>none</scale:siScaleCode></oadr:currencyPerKWh>"
)
_ITEM_BASES: Final = {"LOAD_DISPATCH": _WATTS, "ELECTRICITY_PRICE": _PRICE}


def stamp(when: datetime) -> str:
    """Return a time as messages have it (GN-04)."""
    return f"{when.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()}Z"


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: `values` are (seconds, value) of its intervals; `device_classes` are the mrids of endDeviceAssets.

    `length` is that of each interval as ISO 8601, in place of seconds; `current` is its currentValue, if it has one.
    """

    name: str = "SIMPLE"
    type: str = "level"
    values: tuple[tuple[int, float], ...] = ((3600, 1.0),)
    device_classes: tuple[str, ...] = ()
    length: str = ""
    current: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is delivered. `length` and `start_text` replace what follows from signals and start.

    `target` is the content of eiTarget, `extra` goes behind the duration (tolerance, notification, ramp-up ...).
    """

    id: str
    start: datetime
    market_context: str
    modification: int = 0
    status: str = "far"
    always: bool = True
    signals: tuple[Signal, ...] = field(default_factory=lambda: (Signal(),))
    target: str = ""
    length: str = ""
    start_text: str = ""
    extra: str = ""
    comment: str | None = None
    test: str | None = None

    @property
    def lasts(self) -> timedelta:
        """The length of its first signal."""
        return timedelta(seconds=sum(seconds for seconds, _ in self.signals[0].values))


def _event(event: Event, vtn_created: str) -> str:
    length = event.length or f"PT{int(event.lasts.total_seconds())}S"
    signals = "".join(_signal(signal, number) for number, signal in enumerate(event.signals))
    return (
        "<oadr:oadrEvent><ei:eiEvent><ei:eventDescriptor>"
        f"{element('ei:eventID', event.id)}<ei:modificationNumber>{event.modification}</ei:modificationNumber>"
        f"<ei:priority>0</ei:priority><ei:eiMarketContext>{element('emix:marketContext', event.market_context)}"
        f"</ei:eiMarketContext><ei:createdDateTime>{vtn_created}</ei:createdDateTime>"
        f"<ei:eventStatus>{event.status}</ei:eventStatus>{element('ei:testEvent', event.test)}"
        f"{element('ei:vtnComment', event.comment)}</ei:eventDescriptor><ei:eiActivePeriod>"
        f"{properties_part(event.start_text or stamp(event.start), length, event.extra)}<xcal:components/>"
        f"</ei:eiActivePeriod><ei:eiEventSignals>{signals}</ei:eiEventSignals>"
        f"<ei:eiTarget>{event.target}</ei:eiTarget></ei:eiEvent>"
        f"<oadr:oadrResponseRequired>{'always' if event.always else 'never'}</oadr:oadrResponseRequired>"
        "</oadr:oadrEvent>"
    )


def _signal(signal: Signal, number: int) -> str:
    intervals = "".join(
        f"<ei:interval>{duration_part(signal.length or f'PT{seconds}S')}"
        f"<xcal:uid><xcal:text>{uid}</xcal:text></xcal:uid>"
        f"<ei:signalPayload><ei:payloadFloat><ei:value>{value}</ei:value></ei:payloadFloat></ei:signalPayload>"
        "</ei:interval>"
        for uid, (seconds, value) in enumerate(signal.values)
    )
    devices = "".join(end_device(name) for name in signal.device_classes)
    current = (
        ""
        if signal.current is None
        else "<ei:currentValue><ei:payloadFloat>"
        f"<ei:value>{signal.current}</ei:value></ei:payloadFloat></ei:currentValue>"
    )
    return (
        f"<ei:eiEventSignal><strm:intervals>{intervals}</strm:intervals>"
        f"{f'<ei:eiTarget>{devices}</ei:eiTarget>' if devices else ''}"
        f"{element('ei:signalName', signal.name)}{element('ei:signalType', signal.type)}"
        f"<ei:signalID>signal {number}</ei:signalID>{_ITEM_BASES.get(signal.name, '')}{current}</ei:eiEventSignal>"
    )


def startafter(length: str) -> str:
    """Return a tolerance: the start may be that much later (EV-61)."""
    return (
        f"<xcal:tolerance><xcal:tolerate><xcal:startafter>{length}</xcal:startafter></xcal:tolerate></xcal:tolerance>"
    )


def notification(length: str) -> str:
    """Return how long before its start an event is told of."""
    return duration_part(length, "ei:x-eiNotification")


def ramp_up(length: str) -> str:
    """Return the ramp-up period of an event."""
    return duration_part(length, "ei:x-eiRampUp")


def distribute_event(
    events: Sequence[Event], request_id: str, created: datetime, *, vtn_id: str = VTN_ID, answers: bool = False
) -> Message:
    """Return oadrDistributeEvent; with `answers` it is the answer to an oadrRequestEvent."""
    return message_of(
        "oadrDistributeEvent",
        "EiEvent",
        response_part(200, request_id) if answers else "",
        element("pyld:requestID", request_id),
        element("ei:vtnID", vtn_id),
        *(_event(event, stamp(created)) for event in events),
    )


# -- EiRegisterParty


def created_registration(
    request_id: str,
    poll_s: int | None,
    ven_id: str | None = None,
    registration_id: str | None = None,
    *,
    code: int = 200,
    vtn_id: str = VTN_ID,
) -> Message:
    """Return oadrCreatedPartyRegistration: 2.0b over simple HTTP."""
    transport = "<oadr:oadrTransport><oadr:oadrTransportName>simpleHttp</oadr:oadrTransportName></oadr:oadrTransport>"
    every = "" if poll_s is None else duration_part(f"PT{poll_s}S", "oadr:oadrRequestedOadrPollFreq")
    return message_of(
        "oadrCreatedPartyRegistration",
        "EiRegisterParty",
        response_part(code, request_id),
        element("ei:registrationID", registration_id),
        element("ei:venID", ven_id),
        element("ei:vtnID", vtn_id),
        "<oadr:oadrProfiles><oadr:oadrProfile><oadr:oadrProfileName>2.0b</oadr:oadrProfileName>"
        f"<oadr:oadrTransports>{transport}</oadr:oadrTransports></oadr:oadrProfile></oadr:oadrProfiles>",
        every,
    )


def response(request_id: str, ven_id: str | None, code: int = 200) -> Message:
    """Return oadrResponse."""
    return message_of("oadrResponse", "", response_part(code, request_id), element("ei:venID", ven_id))


# -- EiReport


@dataclass(frozen=True, slots=True)
class Want:
    """A report request: one data point or several of one reportSpecifierID, lengths as ISO 8601."""

    id: str
    specifier: str
    r_ids: tuple[str, ...]
    granularity: str = "PT0S"
    back: str = "PT0S"
    start: datetime | None = None
    lasts: str = "PT0S"


def _want(want: Want) -> str:
    span = (
        ""
        if want.start is None
        else f"<ei:reportInterval>{properties_part(stamp(want.start), want.lasts)}</ei:reportInterval>"
    )
    points = "".join(
        f"<ei:specifierPayload>{element('ei:rID', r_id)}<ei:readingType>x-notApplicable</ei:readingType>"
        "</ei:specifierPayload>"
        for r_id in want.r_ids
    )
    return (
        f"<oadr:oadrReportRequest>{element('ei:reportRequestID', want.id)}<ei:reportSpecifier>"
        f"{element('ei:reportSpecifierID', want.specifier)}{duration_part(want.granularity, 'xcal:granularity')}"
        f"{duration_part(want.back, 'ei:reportBackDuration')}{span}{points}</ei:reportSpecifier>"
        "</oadr:oadrReportRequest>"
    )


def create_report(ven_id: str, wants: Sequence[Want], request_id: str) -> Message:
    """Return oadrCreateReport."""
    parts = element("pyld:requestID", request_id), *map(_want, wants), element("ei:venID", ven_id)
    return message_of("oadrCreateReport", "EiReport", *parts)


def registered_report(ven_id: str, request_id: str, wants: Sequence[Want] = ()) -> Message:
    """Return oadrRegisteredReport, perhaps with requests (RP-13)."""
    parts = response_part(200, request_id), *map(_want, wants), element("ei:venID", ven_id)
    return message_of("oadrRegisteredReport", "EiReport", *parts)


def updated_report(ven_id: str, request_id: str, cancelled: str | None = None) -> Message:
    """Return oadrUpdatedReport, perhaps with the cancellation of a report that goes on (RP-62)."""
    cancel = (
        ""
        if cancelled is None
        else f'<oadr:oadrCancelReport ei:schemaVersion="2.0b"><pyld:requestID>{request_id}</pyld:requestID>'
        f"{element('ei:reportRequestID', cancelled)}<pyld:reportToFollow>false</pyld:reportToFollow>"
        f"{element('ei:venID', ven_id)}</oadr:oadrCancelReport>"
    )
    parts = response_part(200, request_id), cancel, element("ei:venID", ven_id)
    return message_of("oadrUpdatedReport", "EiReport", *parts)


def created_opt(request_id: str, opt_id: str) -> Message:
    """Return oadrCreatedOpt."""
    return message_of("oadrCreatedOpt", "EiOpt", response_part(200, request_id), element("ei:optID", opt_id))


def canceled_opt(request_id: str, opt_id: str) -> Message:
    """Return oadrCanceledOpt."""
    return message_of("oadrCanceledOpt", "EiOpt", response_part(200, request_id), element("ei:optID", opt_id))
