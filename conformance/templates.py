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
    "dsp": "http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties",
}
OF_2_0_A: Final = "http://openadr.org/oadr-2.0a/2012/07"
"""What `oadr` is in the profile 2.0a."""
_DECLARED: Final = " ".join(
    f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if not prefix.startswith("ds")
)
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


def of_2_0_a(message: Message) -> Message:
    """Return a message as the profile 2.0a has it: without envelope and schemaVersion, in its namespace (PA-01)."""
    tag = f"oadr:{message.name}"
    content = message.body.decode().partition(f'<{tag} ei:schemaVersion="2.0b">')[2].partition(f"</{tag}>")[0]
    declared = _DECLARED.replace(NAMESPACES["oadr"], OF_2_0_A)
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<{tag} {declared}>{content}</{tag}>'
    return Message(message.name, message.service, body.encode())


def message_of(name: str, service: str, *parts: str) -> Message:
    """Return a message with these parts."""
    return Message(name, service, payload(name, "".join(parts)))


def element(tag: str, value: str | None) -> str:
    """Return an element with a text, or nothing without one."""
    return "" if value is None else f"<{tag}>{escape(value)}</{tag}>"


def response_part(code: int, request_id: str) -> str:
    """Return an eiResponse."""
    return (
        f"<ei:eiResponse><ei:responseCode>{code}</ei:responseCode>"
        f"<ei:responseDescription>{'OK' if code == 200 else 'Refused'}</ei:responseDescription>"  # noqa: PLR2004
        f"{element('pyld:requestID', request_id)}</ei:eiResponse>"
    )


def duration_part(value: str, tag: str = "xcal:duration") -> str:
    """Return a duration in an element of its own."""
    return f"<{tag}><xcal:duration>{value}</xcal:duration></{tag}>"


def properties_part(start: str, duration: str, extra: str = "") -> str:
    """Return the properties of a period."""
    began = f"<xcal:dtstart><xcal:date-time>{start}</xcal:date-time></xcal:dtstart>"
    return f"<xcal:properties>{began}{duration_part(duration)}{extra}</xcal:properties>"


# -- EiRegisterParty


def query(request_id: str = "q") -> Message:
    """Return oadrQueryRegistration."""
    return message_of("oadrQueryRegistration", "EiRegisterParty", element("pyld:requestID", request_id))


def register(
    request_id: str = "r",
    *,
    ven_id: str | None = None,
    registration_id: str | None = None,
    name: str = "conformance",
    pull: bool = True,
    address: str | None = None,
    xml_signature: bool = False,
) -> Message:
    """Return oadrCreatePartyRegistration of a 2.0b VEN over simple HTTP."""
    return message_of(
        "oadrCreatePartyRegistration",
        "EiRegisterParty",
        element("pyld:requestID", request_id),
        element("ei:registrationID", registration_id),
        element("ei:venID", ven_id),
        "<oadr:oadrProfileName>2.0b</oadr:oadrProfileName><oadr:oadrTransportName>simpleHttp</oadr:oadrTransportName>",
        element("oadr:oadrTransportAddress", address),
        "<oadr:oadrReportOnly>false</oadr:oadrReportOnly>",
        element("oadr:oadrXmlSignature", str(xml_signature).lower()),
        element("oadr:oadrVenName", name),
        element("oadr:oadrHttpPullModel", str(pull).lower()),
    )


def cancel_registration(ven_id: str, registration_id: str, request_id: str = "c") -> Message:
    """Return oadrCancelPartyRegistration."""
    return message_of(
        "oadrCancelPartyRegistration",
        "EiRegisterParty",
        element("pyld:requestID", request_id),
        element("ei:registrationID", registration_id),
        element("ei:venID", ven_id),
    )


def canceled_registration(ven_id: str, registration_id: str, request_id: str, code: int = 200) -> Message:
    """Return oadrCanceledPartyRegistration."""
    ids = element("ei:registrationID", registration_id), element("ei:venID", ven_id)
    return message_of("oadrCanceledPartyRegistration", "EiRegisterParty", response_part(code, request_id), *ids)


def response(ven_id: str, request_id: str = "", code: int = 200, service: str = "EiRegisterParty") -> Message:
    """Return oadrResponse."""
    return message_of("oadrResponse", service, response_part(code, request_id), element("ei:venID", ven_id))


# -- OadrPoll


def poll(ven_id: str) -> Message:
    """Return oadrPoll."""
    return message_of("oadrPoll", "OadrPoll", element("ei:venID", ven_id))


# -- EiEvent


def request_event(ven_id: str, request_id: str = "e", reply_limit: int | None = None) -> Message:
    """Return oadrRequestEvent."""
    return message_of(
        "oadrRequestEvent",
        "EiEvent",
        f"<pyld:eiRequestEvent>{element('pyld:requestID', request_id)}{element('ei:venID', ven_id)}",
        element("pyld:replyLimit", None if reply_limit is None else str(reply_limit)),
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
        f"{element('pyld:requestID', answer.request_id)}"
        f"<ei:qualifiedEventID>{element('ei:eventID', answer.event_id)}"
        f"<ei:modificationNumber>{answer.modification}</ei:modificationNumber></ei:qualifiedEventID>"
        f"<ei:optType>{answer.opt}</ei:optType></ei:eventResponse>"
        for answer in answers
    ]
    return message_of(
        "oadrCreatedEvent",
        "EiEvent",
        f"<pyld:eiCreatedEvent>{response_part(code, request_id)}",
        f"<ei:eventResponses>{''.join(parts)}</ei:eventResponses>" if parts else "",
        f"{element('ei:venID', ven_id)}</pyld:eiCreatedEvent>",
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
    device_class: str = "",
) -> Message:
    """Return oadrCreateOpt: a schedule of (start, duration), or an event's opt (id, modificationNumber).

    `device_class` is what stands in its oadrDeviceClass, XML.
    """
    spans = "".join(
        f"<xcal:available>{properties_part(start, duration)}</xcal:available>" for start, duration in available or ()
    )
    return message_of(
        "oadrCreateOpt",
        "EiOpt",
        f"{element('ei:optID', opt_id)}<ei:optType>{opt}</ei:optType>{element('ei:optReason', reason)}",
        element("emix:marketContext", market_context),
        element("ei:venID", ven_id),
        ""
        if available is None
        else f"<xcal:vavailability><xcal:components>{spans}</xcal:components></xcal:vavailability>",
        f"<ei:createdDateTime>{_STAMP}</ei:createdDateTime>{element('pyld:requestID', request_id)}",
        ""
        if event is None
        else f"<ei:qualifiedEventID>{element('ei:eventID', event[0])}"
        f"<ei:modificationNumber>{event[1]}</ei:modificationNumber></ei:qualifiedEventID>",
        f"<ei:eiTarget>{''.join(element('ei:resourceID', each) for each in resources)}",
        f"{''.join(element('ei:venID', each) for each in vens)}</ei:eiTarget>",
        f"<oadr:oadrDeviceClass>{device_class}</oadr:oadrDeviceClass>" if device_class else "",
    )


def end_device(device_class: str) -> str:
    """Return an endDeviceAsset, which names a class of devices."""
    return f"<power:endDeviceAsset>{element('power:mrid', device_class)}</power:endDeviceAsset>"


def cancel_opt(ven_id: str, opt_id: str, request_id: str = "x") -> Message:
    """Return oadrCancelOpt."""
    return message_of(
        "oadrCancelOpt",
        "EiOpt",
        element("pyld:requestID", request_id),
        element("ei:optID", opt_id),
        element("ei:venID", ven_id),
    )


# -- EiReport


_POWER: Final = (
    "<power:powerReal><power:itemDescription>RealPower</power:itemDescription><power:itemUnits>W</power:itemUnits>"
    "<scale:siScaleCode>none</scale:siScaleCode><power:powerAttributes><power:hertz>50</power:hertz>"
    "<power:voltage>230</power:voltage><power:ac>true</power:ac></power:powerAttributes></power:powerReal>"
)


def usage_offer(specifier: str = "usage", r_id: str = "power", resource: str = "load1", device_class: str = "") -> str:
    """Return a report of a metadata message: TELEMETRY_USAGE with a power in W, sampled each 10 s to 1 h."""
    subject = f"<ei:reportSubject>{end_device(device_class)}</ei:reportSubject>" if device_class else ""
    return (
        f"<oadr:oadrReport>{duration_part('PT2H')}<oadr:oadrReportDescription>{element('ei:rID', r_id)}{subject}"
        f"<ei:reportDataSource>{element('ei:resourceID', resource)}</ei:reportDataSource>"
        f"<ei:reportType>usage</ei:reportType>{_POWER}<ei:readingType>Direct Read</ei:readingType>"
        "<oadr:oadrSamplingRate><oadr:oadrMinPeriod>PT10S</oadr:oadrMinPeriod>"
        "<oadr:oadrMaxPeriod>PT1H</oadr:oadrMaxPeriod><oadr:oadrOnChange>false</oadr:oadrOnChange>"
        "</oadr:oadrSamplingRate></oadr:oadrReportDescription><ei:reportRequestID>0</ei:reportRequestID>"
        f"{element('ei:reportSpecifierID', specifier)}<ei:reportName>METADATA_TELEMETRY_USAGE</ei:reportName>"
        f"<ei:createdDateTime>{_STAMP}</ei:createdDateTime></oadr:oadrReport>"
    )


def register_report(
    ven_id: str | None, offers: Sequence[str] = (), request_id: str = "m", report_request_id: str | None = None
) -> Message:
    """Return oadrRegisterReport; without offers it says that there is nothing to report."""
    return message_of(
        "oadrRegisterReport",
        "EiReport",
        element("pyld:requestID", request_id),
        *offers,
        element("ei:venID", ven_id),
        element("ei:reportRequestID", report_request_id),
    )


def registered_report(ven_id: str, request_id: str, code: int = 200) -> Message:
    """Return oadrRegisteredReport without requests of its own."""
    return message_of("oadrRegisteredReport", "EiReport", response_part(code, request_id), element("ei:venID", ven_id))


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
    return message_of(
        "oadrCreateReport",
        "EiReport",
        element("pyld:requestID", request_id),
        f"<oadr:oadrReportRequest>{element('ei:reportRequestID', report_request_id)}<ei:reportSpecifier>",
        element("ei:reportSpecifierID", specifier),
        duration_part(granularity, "xcal:granularity"),
        duration_part(back, "ei:reportBackDuration"),
        f"<ei:specifierPayload>{element('ei:rID', r_id)}<ei:readingType>x-notApplicable</ei:readingType>",
        "</ei:specifierPayload></ei:reportSpecifier></oadr:oadrReportRequest>",
        element("ei:venID", ven_id),
    )


def created_report(ven_id: str, request_id: str, pending: Sequence[str] = (), code: int = 200) -> Message:
    """Return oadrCreatedReport with the reportRequestIDs that are still to be delivered."""
    return message_of("oadrCreatedReport", "EiReport", response_part(code, request_id), pending_part(pending, ven_id))


def canceled_report(ven_id: str, request_id: str, pending: Sequence[str] = (), code: int = 200) -> Message:
    """Return oadrCanceledReport."""
    return message_of("oadrCanceledReport", "EiReport", response_part(code, request_id), pending_part(pending, ven_id))


def pending_part(ids: Sequence[str], ven_id: str) -> str:
    """Return oadrPendingReports and the venID."""
    listed = "".join(element("ei:reportRequestID", each) for each in ids)
    return f"<oadr:oadrPendingReports>{listed}</oadr:oadrPendingReports>{element('ei:venID', ven_id)}"


def cancel_report(ven_id: str, ids: Sequence[str], request_id: str = "ca", *, follow: bool = False) -> Message:
    """Return oadrCancelReport, by which no report follows unless one is wanted."""
    listed = "".join(element("ei:reportRequestID", each) for each in ids)
    return message_of(
        "oadrCancelReport",
        "EiReport",
        f"{element('pyld:requestID', request_id)}{listed}{element('pyld:reportToFollow', str(follow).lower())}",
        element("ei:venID", ven_id),
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
        f"<ei:interval>{duration_part(step)}<xcal:uid><xcal:text>{number}</xcal:text></xcal:uid><oadr:oadrReportPayload>"
        f"{element('ei:rID', r_id)}<ei:payloadFloat><ei:value>{value}</ei:value></ei:payloadFloat>"
        "<oadr:oadrDataQuality>Quality Good - Non Specific</oadr:oadrDataQuality></oadr:oadrReportPayload>"
        "</ei:interval>"
        for number, value in enumerate(values)
    )
    return (
        f"<oadr:oadrReport><xcal:dtstart><xcal:date-time>{start}</xcal:date-time></xcal:dtstart>"
        f"<strm:intervals>{intervals}</strm:intervals>{element('ei:eiReportID', report_id)}"
        f"{element('ei:reportRequestID', report_request_id)}{element('ei:reportSpecifierID', specifier)}"
        f"<ei:reportName>TELEMETRY_USAGE</ei:reportName><ei:createdDateTime>{_STAMP}</ei:createdDateTime>"
        "</oadr:oadrReport>"
    )


def update_report(ven_id: str | None, reports: Sequence[str] = (), request_id: str = "u") -> Message:
    """Return oadrUpdateReport."""
    return message_of(
        "oadrUpdateReport", "EiReport", element("pyld:requestID", request_id), *reports, element("ei:venID", ven_id)
    )


# -- what only a VTN may send


def distribute_event(vtn_id: str = "vtn", request_id: str = "d") -> Message:
    """Return oadrDistributeEvent without events: nothing that a VEN may send."""
    content = element("pyld:requestID", request_id), element("ei:vtnID", vtn_id)
    return message_of("oadrDistributeEvent", "EiEvent", *content)


def request_reregistration(ven_id: str) -> Message:
    """Return oadrRequestReregistration: nothing that a VEN may send."""
    return message_of("oadrRequestReregistration", "EiRegisterParty", element("ei:venID", ven_id))


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
