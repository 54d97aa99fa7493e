"""The messages that the benchmark's VENs send, written as text: the driver must cost far less than the server.

They are valid OpenADR 2.0b and the same for every server.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from openadr.signature.sign import Signer, new_nonce

_NAMESPACES = " ".join(
    f'xmlns:{prefix}="{uri}"'
    for prefix, uri in (
        ("oadr", "http://openadr.org/oadr-2.0b/2012/07"),
        ("ei", "http://docs.oasis-open.org/ns/energyinterop/201110"),
        ("pyld", "http://docs.oasis-open.org/ns/energyinterop/201110/payloads"),
        ("emix", "http://docs.oasis-open.org/ns/emix/2011/06"),
        ("power", "http://docs.oasis-open.org/ns/emix/2011/06/power"),
        ("scale", "http://docs.oasis-open.org/ns/emix/2011/06/siscale"),
        ("strm", "urn:ietf:params:xml:ns:icalendar-2.0:stream"),
        ("xcal", "urn:ietf:params:xml:ns:icalendar-2.0"),
    )
)
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
_STEP = timedelta(minutes=15)
_AHEAD = timedelta(seconds=20)
SPECIFIER = "usage"


def _message(name: str, content: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<oadr:oadrPayload {_NAMESPACES}><oadr:oadrSignedObject>'
        f'<oadr:{name} ei:schemaVersion="2.0b">{content}</oadr:{name}></oadr:oadrSignedObject></oadr:oadrPayload>'
    ).encode()


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def signed(message: bytes, signer: Signer) -> bytes:
    """Return a message with a signature.

    Its time is a little in the future: openleadr takes messages for five seconds and ours for a minute either way, and
    those that are made before they are needed must not be too old then.
    """
    named = message.replace(b"<oadr:oadrSignedObject>", b'<oadr:oadrSignedObject oadr:Id="oadrSignedObject">', 1)
    return signer.sign(named, datetime.now(UTC) + _AHEAD, new_nonce())


def poll(ven_id: str) -> bytes:
    """Ask whether anything waits."""
    return _message("oadrPoll", f"<ei:venID>{ven_id}</ei:venID>")


def create_registration(ven_id: str, ven_name: str) -> bytes:
    """Register, for HTTP pull."""
    return _message(
        "oadrCreatePartyRegistration",
        f"<pyld:requestID>r1</pyld:requestID><ei:venID>{ven_id}</ei:venID>"
        "<oadr:oadrProfileName>2.0b</oadr:oadrProfileName><oadr:oadrTransportName>simpleHttp</oadr:oadrTransportName>"
        "<oadr:oadrReportOnly>false</oadr:oadrReportOnly><oadr:oadrXmlSignature>false</oadr:oadrXmlSignature>"
        f"<oadr:oadrVenName>{ven_name}</oadr:oadrVenName><oadr:oadrHttpPullModel>true</oadr:oadrHttpPullModel>",
    )


def register_report(ven_id: str, r_ids: tuple[str, ...]) -> bytes:
    """Offer TELEMETRY_USAGE with one energy reading for each rID."""
    lines = "".join(
        f"<oadr:oadrReportDescription><ei:rID>{r_id}</ei:rID>"
        f"<ei:reportDataSource><ei:resourceID>{r_id}</ei:resourceID></ei:reportDataSource>"
        "<ei:reportType>usage</ei:reportType><power:energyReal><power:itemDescription>RealEnergy"
        "</power:itemDescription><power:itemUnits>Wh</power:itemUnits><scale:siScaleCode>none</scale:siScaleCode>"
        "</power:energyReal><ei:readingType>Direct Read</ei:readingType><oadr:oadrSamplingRate>"
        "<oadr:oadrMinPeriod>PT10S</oadr:oadrMinPeriod><oadr:oadrMaxPeriod>PT1H</oadr:oadrMaxPeriod>"
        "<oadr:oadrOnChange>false</oadr:oadrOnChange></oadr:oadrSamplingRate></oadr:oadrReportDescription>"
        for r_id in r_ids
    )
    return _message(
        "oadrRegisterReport",
        "<pyld:requestID>r2</pyld:requestID><oadr:oadrReport>"
        f"<xcal:duration><xcal:duration>P1D</xcal:duration></xcal:duration>{lines}"
        f"<ei:reportRequestID>0</ei:reportRequestID><ei:reportSpecifierID>{SPECIFIER}</ei:reportSpecifierID>"
        "<ei:reportName>METADATA_TELEMETRY_USAGE</ei:reportName>"
        f"<ei:createdDateTime>{_time(_FIRST)}</ei:createdDateTime></oadr:oadrReport><ei:venID>{ven_id}</ei:venID>",
    )


def _response(request_id: str = "") -> str:
    return (
        "<ei:eiResponse><ei:responseCode>200</ei:responseCode><ei:responseDescription>OK</ei:responseDescription>"
        f"<pyld:requestID>{request_id}</pyld:requestID></ei:eiResponse>"
    )


def registered_report(ven_id: str) -> bytes:
    """Answer the server's own metadata."""
    return _message("oadrRegisteredReport", f"{_response()}<ei:venID>{ven_id}</ei:venID>")


def created_report(ven_id: str, report_request_id: str) -> bytes:
    """Agree to send a report."""
    return _message(
        "oadrCreatedReport",
        f"{_response(report_request_id)}<oadr:oadrPendingReports><ei:reportRequestID>{report_request_id}"
        f"</ei:reportRequestID></oadr:oadrPendingReports><ei:venID>{ven_id}</ei:venID>",
    )


def created_event(ven_id: str, event_id: str, modification: str) -> bytes:
    """Opt in to an event."""
    return _message(
        "oadrCreatedEvent",
        f"<pyld:eiCreatedEvent>{_response()}<ei:eventResponses><ei:eventResponse><ei:responseCode>200"
        "</ei:responseCode><ei:responseDescription>OK</ei:responseDescription><pyld:requestID>e</pyld:requestID>"
        f"<ei:qualifiedEventID><ei:eventID>{event_id}</ei:eventID><ei:modificationNumber>{modification}"
        "</ei:modificationNumber></ei:qualifiedEventID><ei:optType>optIn</ei:optType></ei:eventResponse>"
        f"</ei:eventResponses><ei:venID>{ven_id}</ei:venID></pyld:eiCreatedEvent>",
    )


def update_report(ven_id: str, report_request_id: str, r_id: str, first: int, count: int) -> bytes:
    """Send `count` values of consecutive quarter hours; `first` counts the quarter hours before."""
    before, after = _around(ven_id, report_request_id)
    return b"".join((before, _intervals(r_id, first, count), after))


@lru_cache(maxsize=1024)
def _around(ven_id: str, report_request_id: str) -> tuple[bytes, bytes]:
    """Return what stands before and after the intervals of a VEN's report."""
    before, after = _message(
        "oadrUpdateReport",
        "<pyld:requestID>u</pyld:requestID><oadr:oadrReport><strm:intervals>|</strm:intervals>"
        f"<ei:reportRequestID>{report_request_id}</ei:reportRequestID>"
        f"<ei:reportSpecifierID>{SPECIFIER}</ei:reportSpecifierID><ei:reportName>TELEMETRY_USAGE</ei:reportName>"
        f"<ei:createdDateTime>{_time(_FIRST)}</ei:createdDateTime></oadr:oadrReport><ei:venID>{ven_id}</ei:venID>",
    ).split(b"|")
    return before, after


@lru_cache(maxsize=64)
def _intervals(r_id: str, first: int, count: int) -> bytes:
    """Return the intervals of one report: quarters of an hour. VENs go through them together, so they are cached."""
    return "".join(
        f"<ei:interval><xcal:dtstart><xcal:date-time>{_time(_FIRST + index * _STEP)}</xcal:date-time></xcal:dtstart>"
        "<xcal:duration><xcal:duration>PT15M</xcal:duration></xcal:duration><oadr:oadrReportPayload>"
        f"<ei:rID>{r_id}</ei:rID><ei:payloadFloat><ei:value>{100 + index % 997 * 1.25}</ei:value></ei:payloadFloat>"
        "</oadr:oadrReportPayload></ei:interval>"
        for index in range(first, first + count)
    ).encode()
