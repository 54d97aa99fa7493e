"""The kit's own messages: each valid as it stands, with its parts to be overridden.

They are written by hand and share nothing with a codec, so that a fault of the product's is not repeated here. How a
message is spoiled on purpose is said in `conformance.damage`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

NAMESPACES: Final = {
    "oadr": "http://openadr.org/oadr-2.0b/2012/07",
    "ei": "http://docs.oasis-open.org/ns/energyinterop/201110",
    "pyld": "http://docs.oasis-open.org/ns/energyinterop/201110/payloads",
    "emix": "http://docs.oasis-open.org/ns/emix/2011/06",
    "power": "http://docs.oasis-open.org/ns/emix/2011/06/power",
    "scale": "http://docs.oasis-open.org/ns/emix/2011/06/siscale",
    "strm": "urn:ietf:params:xml:ns:icalendar-2.0:stream",
    "xcal": "urn:ietf:params:xml:ns:icalendar-2.0",
    "gml": "http://www.opengis.net/gml/3.2",
    "ds": "http://www.w3.org/2000/09/xmldsig#",
}
_DECLARED: Final = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if prefix != "ds")
_STAMP: Final = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a VEN posts: its name, the service it goes to, and its bytes."""

    name: str
    service: str
    body: bytes


ANSWERS: Final = {
    "oadrQueryRegistration": "oadrCreatedPartyRegistration",
    "oadrCreatePartyRegistration": "oadrCreatedPartyRegistration",
    "oadrCancelPartyRegistration": "oadrCanceledPartyRegistration",
    "oadrPoll": "oadrResponse",
    "oadrRequestEvent": "oadrDistributeEvent",
    "oadrCreatedEvent": "oadrResponse",
    "oadrRegisterReport": "oadrRegisteredReport",
    "oadrCreateReport": "oadrCreatedReport",
    "oadrUpdateReport": "oadrUpdatedReport",
    "oadrCancelReport": "oadrCanceledReport",
    "oadrCreateOpt": "oadrCreatedOpt",
    "oadrCancelOpt": "oadrCanceledOpt",
    "oadrRegisteredReport": "oadrResponse",
    "oadrCreatedReport": "oadrResponse",
    "oadrCanceledReport": "oadrResponse",
    "oadrUpdatedReport": "oadrResponse",
    "oadrCanceledPartyRegistration": "oadrResponse",
    "oadrResponse": "oadrResponse",
}
"""What a VEN sends -> the message that answers it, also where the answer is an error."""


def payload(name: str, content: str) -> bytes:
    """Return a message in its envelope."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<oadr:oadrPayload {_DECLARED}><oadr:oadrSignedObject>'
        f'<oadr:{name} ei:schemaVersion="2.0b">{content}</oadr:{name}>'
        "</oadr:oadrSignedObject></oadr:oadrPayload>"
    ).encode()


def _message(name: str, service: str, *parts: str) -> Message:
    return Message(name, service, payload(name, "".join(parts)))


def _element(tag: str, value: str | None) -> str:
    return "" if value is None else f"<{tag}>{escape(value)}</{tag}>"


def _response(code: int, request_id: str) -> str:
    return (
        f"<ei:eiResponse><ei:responseCode>{code}</ei:responseCode>"
        f"<ei:responseDescription>{'OK' if code == 200 else 'Refused'}</ei:responseDescription>"  # noqa: PLR2004
        f"{_element('pyld:requestID', request_id)}</ei:eiResponse>"
    )


def _duration(value: str, tag: str = "xcal:duration") -> str:
    return f"<{tag}><xcal:duration>{value}</xcal:duration></{tag}>"


def _properties(start: str, duration: str, extra: str = "") -> str:
    began = f"<xcal:dtstart><xcal:date-time>{start}</xcal:date-time></xcal:dtstart>"
    return f"<xcal:properties>{began}{_duration(duration)}{extra}</xcal:properties>"


# -- EiRegisterParty


def query(request_id: str = "q") -> Message:
    """Return oadrQueryRegistration."""
    return _message("oadrQueryRegistration", "EiRegisterParty", _element("pyld:requestID", request_id))


def register(
    request_id: str = "r",
    *,
    ven_id: str | None = None,
    registration_id: str | None = None,
    name: str = "conformance",
    pull: bool = True,
    address: str | None = None,
) -> Message:
    """Return oadrCreatePartyRegistration of a 2.0b VEN over simple HTTP."""
    return _message(
        "oadrCreatePartyRegistration",
        "EiRegisterParty",
        _element("pyld:requestID", request_id),
        _element("ei:registrationID", registration_id),
        _element("ei:venID", ven_id),
        "<oadr:oadrProfileName>2.0b</oadr:oadrProfileName><oadr:oadrTransportName>simpleHttp</oadr:oadrTransportName>",
        _element("oadr:oadrTransportAddress", address),
        "<oadr:oadrReportOnly>false</oadr:oadrReportOnly><oadr:oadrXmlSignature>false</oadr:oadrXmlSignature>",
        _element("oadr:oadrVenName", name),
        _element("oadr:oadrHttpPullModel", str(pull).lower()),
    )


def cancel_registration(ven_id: str, registration_id: str, request_id: str = "c") -> Message:
    """Return oadrCancelPartyRegistration."""
    return _message(
        "oadrCancelPartyRegistration",
        "EiRegisterParty",
        _element("pyld:requestID", request_id),
        _element("ei:registrationID", registration_id),
        _element("ei:venID", ven_id),
    )


def canceled_registration(ven_id: str, registration_id: str, request_id: str, code: int = 200) -> Message:
    """Return oadrCanceledPartyRegistration."""
    ids = _element("ei:registrationID", registration_id), _element("ei:venID", ven_id)
    return _message("oadrCanceledPartyRegistration", "EiRegisterParty", _response(code, request_id), *ids)


def response(ven_id: str, request_id: str = "", code: int = 200, service: str = "EiRegisterParty") -> Message:
    """Return oadrResponse."""
    return _message("oadrResponse", service, _response(code, request_id), _element("ei:venID", ven_id))


# -- OadrPoll


def poll(ven_id: str) -> Message:
    """Return oadrPoll."""
    return _message("oadrPoll", "OadrPoll", _element("ei:venID", ven_id))


# -- EiEvent


def request_event(ven_id: str, request_id: str = "e", reply_limit: int | None = None) -> Message:
    """Return oadrRequestEvent."""
    return _message(
        "oadrRequestEvent",
        "EiEvent",
        f"<pyld:eiRequestEvent>{_element('pyld:requestID', request_id)}{_element('ei:venID', ven_id)}",
        _element("pyld:replyLimit", None if reply_limit is None else str(reply_limit)),
        "</pyld:eiRequestEvent>",
    )


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """What a VEN says of one event. `request_id` is that of the oadrDistributeEvent."""

    event_id: str
    modification: int
    request_id: str = ""
    opt: str = "optIn"
    code: int = 200


def created_event(ven_id: str, answers: Sequence[EventAnswer], *, code: int = 200, request_id: str = "") -> Message:
    """Return oadrCreatedEvent; without answers it has no eventResponses."""
    parts = [
        f"<ei:eventResponse><ei:responseCode>{answer.code}</ei:responseCode>"
        f"{_element('pyld:requestID', answer.request_id)}"
        f"<ei:qualifiedEventID>{_element('ei:eventID', answer.event_id)}"
        f"<ei:modificationNumber>{answer.modification}</ei:modificationNumber></ei:qualifiedEventID>"
        f"<ei:optType>{answer.opt}</ei:optType></ei:eventResponse>"
        for answer in answers
    ]
    return _message(
        "oadrCreatedEvent",
        "EiEvent",
        f"<pyld:eiCreatedEvent>{_response(code, request_id)}",
        f"<ei:eventResponses>{''.join(parts)}</ei:eventResponses>" if parts else "",
        f"{_element('ei:venID', ven_id)}</pyld:eiCreatedEvent>",
    )


# -- EiOpt


def create_opt(
    ven_id: str,
    opt_id: str = "opt",
    *,
    request_id: str = "o",
    opt: str = "optOut",
    reason: str = "economic",
    market_context: str | None = None,
    available: Sequence[tuple[str, str]] | None = (("2030-01-01T00:00:00Z", "PT1H"),),
    event: tuple[str, int] | None = None,
    resources: Sequence[str] = (),
    vens: Sequence[str] = (),
) -> Message:
    """Return oadrCreateOpt: a schedule of (start, duration), or an event's opt (id, modificationNumber)."""
    spans = "".join(
        f"<xcal:available>{_properties(start, duration)}</xcal:available>" for start, duration in available or ()
    )
    return _message(
        "oadrCreateOpt",
        "EiOpt",
        f"{_element('ei:optID', opt_id)}<ei:optType>{opt}</ei:optType>{_element('ei:optReason', reason)}",
        _element("emix:marketContext", market_context),
        _element("ei:venID", ven_id),
        ""
        if available is None
        else f"<xcal:vavailability><xcal:components>{spans}</xcal:components></xcal:vavailability>",
        f"<ei:createdDateTime>{_STAMP}</ei:createdDateTime>{_element('pyld:requestID', request_id)}",
        ""
        if event is None
        else f"<ei:qualifiedEventID>{_element('ei:eventID', event[0])}"
        f"<ei:modificationNumber>{event[1]}</ei:modificationNumber></ei:qualifiedEventID>",
        f"<ei:eiTarget>{''.join(_element('ei:resourceID', each) for each in resources)}",
        f"{''.join(_element('ei:venID', each) for each in vens)}</ei:eiTarget>",
    )


def cancel_opt(ven_id: str, opt_id: str, request_id: str = "x") -> Message:
    """Return oadrCancelOpt."""
    return _message(
        "oadrCancelOpt",
        "EiOpt",
        _element("pyld:requestID", request_id),
        _element("ei:optID", opt_id),
        _element("ei:venID", ven_id),
    )


# -- EiReport


_POWER: Final = (
    "<power:powerReal><power:itemDescription>RealPower</power:itemDescription><power:itemUnits>W</power:itemUnits>"
    "<scale:siScaleCode>none</scale:siScaleCode><power:powerAttributes><power:hertz>50</power:hertz>"
    "<power:voltage>230</power:voltage><power:ac>true</power:ac></power:powerAttributes></power:powerReal>"
)


def usage_offer(specifier: str = "usage", r_id: str = "power", resource: str = "load1") -> str:
    """Return a report of a metadata message: TELEMETRY_USAGE with a power in W, sampled each 10 s to 1 h."""
    return (
        f"<oadr:oadrReport>{_duration('PT2H')}<oadr:oadrReportDescription>{_element('ei:rID', r_id)}"
        f"<ei:reportDataSource>{_element('ei:resourceID', resource)}</ei:reportDataSource>"
        f"<ei:reportType>usage</ei:reportType>{_POWER}<ei:readingType>Direct Read</ei:readingType>"
        "<oadr:oadrSamplingRate><oadr:oadrMinPeriod>PT10S</oadr:oadrMinPeriod>"
        "<oadr:oadrMaxPeriod>PT1H</oadr:oadrMaxPeriod><oadr:oadrOnChange>false</oadr:oadrOnChange>"
        "</oadr:oadrSamplingRate></oadr:oadrReportDescription><ei:reportRequestID>0</ei:reportRequestID>"
        f"{_element('ei:reportSpecifierID', specifier)}<ei:reportName>METADATA_TELEMETRY_USAGE</ei:reportName>"
        f"<ei:createdDateTime>{_STAMP}</ei:createdDateTime></oadr:oadrReport>"
    )


def register_report(
    ven_id: str | None, offers: Sequence[str] = (), request_id: str = "m", report_request_id: str | None = None
) -> Message:
    """Return oadrRegisterReport; without offers it says that there is nothing to report."""
    return _message(
        "oadrRegisterReport",
        "EiReport",
        _element("pyld:requestID", request_id),
        *offers,
        _element("ei:venID", ven_id),
        _element("ei:reportRequestID", report_request_id),
    )


def registered_report(ven_id: str, request_id: str, code: int = 200) -> Message:
    """Return oadrRegisteredReport without requests of its own."""
    return _message("oadrRegisteredReport", "EiReport", _response(code, request_id), _element("ei:venID", ven_id))


def create_report(
    ven_id: str,
    report_request_id: str = "rr",
    *,
    request_id: str = "cr",
    specifier: str = "METADATA",
    r_id: str = "0",
    granularity: str = "PT0S",
    back: str = "PT0S",
) -> Message:
    """Return oadrCreateReport; as it stands it asks for the VTN's metadata."""
    return _message(
        "oadrCreateReport",
        "EiReport",
        _element("pyld:requestID", request_id),
        f"<oadr:oadrReportRequest>{_element('ei:reportRequestID', report_request_id)}<ei:reportSpecifier>",
        _element("ei:reportSpecifierID", specifier),
        _duration(granularity, "xcal:granularity"),
        _duration(back, "ei:reportBackDuration"),
        f"<ei:specifierPayload>{_element('ei:rID', r_id)}<ei:readingType>x-notApplicable</ei:readingType>",
        "</ei:specifierPayload></ei:reportSpecifier></oadr:oadrReportRequest>",
        _element("ei:venID", ven_id),
    )


def created_report(ven_id: str, request_id: str, pending: Sequence[str] = (), code: int = 200) -> Message:
    """Return oadrCreatedReport with the reportRequestIDs that are still to be delivered."""
    return _message("oadrCreatedReport", "EiReport", _response(code, request_id), _pending(pending, ven_id))


def canceled_report(ven_id: str, request_id: str, pending: Sequence[str] = (), code: int = 200) -> Message:
    """Return oadrCanceledReport."""
    return _message("oadrCanceledReport", "EiReport", _response(code, request_id), _pending(pending, ven_id))


def _pending(ids: Sequence[str], ven_id: str) -> str:
    listed = "".join(_element("ei:reportRequestID", each) for each in ids)
    return f"<oadr:oadrPendingReports>{listed}</oadr:oadrPendingReports>{_element('ei:venID', ven_id)}"


def cancel_report(ven_id: str, ids: Sequence[str], request_id: str = "ca") -> Message:
    """Return oadrCancelReport without a last report."""
    listed = "".join(_element("ei:reportRequestID", each) for each in ids)
    return _message(
        "oadrCancelReport",
        "EiReport",
        f"{_element('pyld:requestID', request_id)}{listed}<pyld:reportToFollow>false</pyld:reportToFollow>",
        _element("ei:venID", ven_id),
    )


def data(
    report_request_id: str,
    specifier: str = "usage",
    r_id: str = "power",
    *,
    start: str = "2026-01-01T00:00:00Z",
    values: Sequence[float] = (1000.0,),
    step: str = "PT1M",
    report_id: str | None = None,
) -> str:
    """Return a report of an oadrUpdateReport: values of one data point, each of `step`."""
    intervals = "".join(
        f"<ei:interval>{_duration(step)}<xcal:uid><xcal:text>{number}</xcal:text></xcal:uid><oadr:oadrReportPayload>"
        f"{_element('ei:rID', r_id)}<ei:payloadFloat><ei:value>{value}</ei:value></ei:payloadFloat>"
        "<oadr:oadrDataQuality>Quality Good - Non Specific</oadr:oadrDataQuality></oadr:oadrReportPayload>"
        "</ei:interval>"
        for number, value in enumerate(values)
    )
    return (
        f"<oadr:oadrReport><xcal:dtstart><xcal:date-time>{start}</xcal:date-time></xcal:dtstart>"
        f"<strm:intervals>{intervals}</strm:intervals>{_element('ei:eiReportID', report_id)}"
        f"{_element('ei:reportRequestID', report_request_id)}{_element('ei:reportSpecifierID', specifier)}"
        f"<ei:reportName>TELEMETRY_USAGE</ei:reportName><ei:createdDateTime>{_STAMP}</ei:createdDateTime>"
        "</oadr:oadrReport>"
    )


def update_report(ven_id: str | None, reports: Sequence[str] = (), request_id: str = "u") -> Message:
    """Return oadrUpdateReport."""
    return _message(
        "oadrUpdateReport", "EiReport", _element("pyld:requestID", request_id), *reports, _element("ei:venID", ven_id)
    )


# -- what only a VTN may send


def distribute_event(vtn_id: str = "vtn", request_id: str = "d") -> Message:
    """Return oadrDistributeEvent without events: nothing that a VEN may send."""
    content = _element("pyld:requestID", request_id), _element("ei:vtnID", vtn_id)
    return _message("oadrDistributeEvent", "EiEvent", *content)


def request_reregistration(ven_id: str) -> Message:
    """Return oadrRequestReregistration: nothing that a VEN may send."""
    return _message("oadrRequestReregistration", "EiRegisterParty", _element("ei:venID", ven_id))


def of_every_kind(ven_id: str, registration_id: str) -> tuple[Message, ...]:
    """Return one request of each kind that a registered VEN sends, from the VEN that is named."""
    return (
        poll(ven_id),
        request_event(ven_id),
        created_event(ven_id, [EventAnswer("no such event", 0)]),
        register_report(ven_id),
        create_report(ven_id),
        update_report(ven_id, [data("no such request")]),
        cancel_report(ven_id, ["no such request"]),
        create_opt(ven_id, "opt of every kind"),
        cancel_opt(ven_id, "no such opt"),
        cancel_registration(ven_id, registration_id),
    )
