"""A report's intervals are read in one of two ways; both say the same (openadr.v20b.decode_report)."""

import itertools

import pytest
from lxml import etree

from openadr.v20b import decode_report
from openadr.v20b import names as n
from openadr.v20b.decode import decode, parse
from openadr.v20b.messages import UpdateReport

START = "<xcal:dtstart><xcal:date-time>2025-03-04T{hour:02}:00:00Z</xcal:date-time></xcal:dtstart>"
LASTS = "<xcal:duration><xcal:duration>PT1H</xcal:duration></xcal:duration>"
UID = "<xcal:uid><xcal:text>7</xcal:text></xcal:uid>"
VALUE = "<ei:payloadFloat><ei:value>{hour}.5</ei:value></ei:payloadFloat>"
STATUS = (
    "<oadr:oadrPayloadResourceStatus><oadr:oadrOnline>true</oadr:oadrOnline>"
    "<oadr:oadrManualOverride>false</oadr:oadrManualOverride></oadr:oadrPayloadResourceStatus>"
)
QUALITY = "<oadr:oadrDataQuality>Quality Good - Non Specific</oadr:oadrDataQuality>"
SIGNAL = "<ei:signalPayload><ei:payloadFloat><ei:value>9</ei:value></ei:payloadFloat></ei:signalPayload>"


def point(r_id, value=VALUE, quality="", extra=""):
    return f"<oadr:oadrReportPayload><ei:rID>{r_id}</ei:rID>{extra}{value}{quality}</oadr:oadrReportPayload>"


PLAIN = START + LASTS + point("a")
INTERVALS = {
    "plain": PLAIN,
    "quality": START + LASTS + point("a", quality=QUALITY),
    "two points": START + LASTS + point("a") + point("b"),
    "no duration": START + point("a"),
    "no start": LASTS + point("a"),
    "neither": point("a") + point("b"),
    "uid": START + LASTS + UID + point("a"),
    "uid for a duration": START + UID + point("a"),
    "status": START + LASTS + point("a", STATUS),
    "confidence": START + LASTS + point("a", extra="<ei:confidence>90</ei:confidence>"),
    "signal": START + LASTS + SIGNAL,
    "signal and point": START + LASTS + point("a") + SIGNAL,
}
FAST = {"plain", "quality", "two points"}


def body(kinds):
    rows = "".join(f"<ei:interval>{INTERVALS[kind].format(hour=hour)}</ei:interval>" for hour, kind in enumerate(kinds))
    spaces = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in n.NAMESPACES.items())
    return (
        f'<oadr:oadrPayload {spaces}><oadr:oadrSignedObject><oadr:oadrUpdateReport ei:schemaVersion="2.0b">'
        "<pyld:requestID>u</pyld:requestID><oadr:oadrReport><xcal:dtstart><xcal:date-time>2025-03-04T00:00:00Z"
        f"</xcal:date-time></xcal:dtstart><strm:intervals>{rows}</strm:intervals><ei:reportRequestID>r"
        "</ei:reportRequestID><ei:reportSpecifierID>s</ei:reportSpecifierID><ei:reportName>TELEMETRY_USAGE"
        "</ei:reportName><ei:createdDateTime>2025-03-04T00:00:00Z</ei:createdDateTime></oadr:oadrReport>"
        "</oadr:oadrUpdateReport></oadr:oadrSignedObject></oadr:oadrPayload>"
    ).encode()


@pytest.mark.parametrize("kinds", [*itertools.product(INTERVALS, repeat=2), ("plain",), ("plain", "quality", "plain")])
def test_both_ways_of_reading_agree(kinds):
    text = body(kinds)
    message = decode(text, strict=True)
    assert isinstance(message, UpdateReport)
    element = next(parse(text).iter(n.INTERVALS))
    assert message.reports[0].intervals == tuple(map(decode_report._interval, element))
    fast = decode_report._plain_intervals(element)
    assert fast is None or set(kinds) <= FAST


def test_the_fast_way_is_taken_for_plain_reports():
    for kinds in (("plain",) * 5, ("quality",) * 5, ("two points", "plain")):
        assert decode_report._plain_intervals(next(etree.fromstring(body(kinds)).iter(n.INTERVALS))) is not None
