"""The gates of decode: bytes, parser, XSD, values."""

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.errors import ForbiddenError, UnavailableError
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import OptType
from openadr.model.report import Report, ReportInterval, ReportPayload, ReportRequest
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.signature.values import Verified
from openadr.v20b import messages as m
from openadr.v20b import schema as schema_module
from openadr.v20b.codes import Code, OpenADRError
from openadr.v20b.decode import MAX_BYTES, UnreadableError, WireError, decode, decode_noting, parse
from openadr.v20b.encode import encode
from openadr.v20b.schema import declared_elements, fault, schema

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
POLL = encode(m.Poll("000123"))
EVENT = Event(
    event_id="e1",
    modification_number=0,
    market_context="http://programme.example",
    created_at=NOON,
    period=ActivePeriod(NOON, Duration.of(hours=1)),
    signals=(
        Signal("SIMPLE", "level", "s", (Interval(Duration.of(minutes=20), 1), Interval(Duration.of(minutes=40), 2))),
    ),
)
DISTRIBUTE = encode(m.DistributeEvent("vtn", "r", (DeliveredEvent(EVENT, EventStatus.FAR),)))
CREATED = encode(m.CreatedEvent("v", m.Response(), (m.EventResponse("e1", 0, OptType.IN, "r"),)))


def update_report(intervals):
    rows = tuple(ReportInterval((ReportPayload("meter", float(i)),), NOON) for i in range(intervals))
    return encode(m.UpdateReport("q", (Report("rr", "spec", "TELEMETRY_USAGE", NOON, rows, NOON),), "v"))


def swapped(body, old, new):
    assert old in body
    return body.replace(old, new)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no xml",
        b"<a>",
        b"\x00",
        POLL[:-1],
        POLL + POLL,
        swapped(POLL, b"000123", b"\xff\xfe"),
        swapped(POLL, b"000123", b"&unknown;"),
        swapped(POLL, b"000123", b"&#0;"),
        swapped(POLL, b"UTF-8", b"ISO-8859-1"),
        POLL.decode().encode("utf-16"),
        POLL.decode().encode("utf-32"),
        POLL.replace(b'encoding="UTF-8"', b"").decode().encode("cp037"),
        POLL.replace(b"?>\n", b"?>\n<!DOCTYPE x>", 1),
        POLL.replace(b"?>\n", b'?>\n<!DOCTYPE x [<!ENTITY b "x">]>', 1).replace(b"000123", b"&b;"),
        b"<a>" * 300 + b"</a>" * 300,
        b"<a>" * 100_000,
    ],
    ids=range(17),
)
def test_what_is_no_clean_utf8_xml_is_refused(body):
    with pytest.raises(WireError) as caught:
        decode(body)
    assert caught.value.status == 406
    assert str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b"<ei:venID>000123</ei:venID>", b"", "venID"),
        (b"</ei:venID>", b"</ei:venID><ei:venID>x</ei:venID>", "venID"),
        (b"</ei:venID>", b"</ei:venID><unknown/>", "unknown"),
        (b"oadr:oadrPoll", b"oadr:oadrPool", "oadrPool"),
        (b"oadr:oadrPayload", b"oadr:oadrSignedObject", "oadrPayload"),
        (b"</oadr:oadrPoll>", b"</oadr:oadrPoll><oadr:oadrPoll><ei:venID/></oadr:oadrPoll>", "oadrPoll"),
        (b'"2.0b"', b'"3.0"', "schemaVersion"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_schema_invalid_is_406_with_a_short_reason(old, new, says, strict):
    with pytest.raises(WireError, match=says) as caught:
        decode(swapped(POLL, old, new), strict=strict)
    assert caught.value.status == 406
    assert len(str(caught.value)) < 400
    assert "http://docs.oasis-open.org" not in str(caught.value)


def test_a_word_of_no_list_is_refused_with_those_that_are():
    with pytest.raises(WireError, match=r"'maybe' is not an element of the set \{'optIn', 'optOut'\}"):
        decode(swapped(CREATED, b"<ei:optType>optIn<", b"<ei:optType>maybe<"))


def test_a_global_element_is_no_payload():
    namespace = "http://docs.oasis-open.org/ns/energyinterop/201110"
    body = f'<venID xmlns="{namespace}">x</venID>'.encode()
    assert fault(parse(body)) is None, "the XSD alone would accept it"
    with pytest.raises(WireError, match=r"venID of namespace '.*energyinterop.*', not oadrPayload of 'http.*2.0b"):
        decode(body)


def test_size_limit():
    body = encode(m.Poll("x" * 5000))
    assert decode(body, max_bytes=len(body)) == m.Poll("x" * 5000)
    with pytest.raises(WireError, match="bytes"):
        decode(body, max_bytes=len(body) - 1)
    with pytest.raises(WireError, match="bytes"):
        decode(b" " * (MAX_BYTES + 1))


def test_byte_order_mark_comments_instructions_and_cdata_are_tolerated():
    body = swapped(POLL, b"000123", b"<!-- a -->00<?php x?>01<![CDATA[2]]>3")
    assert decode(b"\xef\xbb\xbf" + body, strict=True) == m.Poll("000123")


def test_without_declaration_and_with_other_prefixes():
    body = (
        b'<oadrPayload xmlns="http://openadr.org/oadr-2.0b/2012/07"><oadrSignedObject><oadrPoll xmlns:e='
        b'"http://docs.oasis-open.org/ns/energyinterop/201110" e:schemaVersion="2.0b"><e:venID>v</e:venID></oadrPoll>'
        b"</oadrSignedObject></oadrPayload>"
    )
    assert decode(body, strict=True) == m.Poll("v")


@pytest.mark.parametrize(
    "version", [b"", b' schemaVersion="2.0b"', b' ei:schemaVersion="2.0a"', b' ei:schemaVersion="x-1"']
)
def test_strict_wants_the_qualified_schema_version(version):
    body = swapped(POLL, b' ei:schemaVersion="2.0b"', version)
    assert decode(body) == m.Poll("000123")
    with pytest.raises(WireError, match="schemaVersion"):
        decode(body, strict=True)


def test_schema_location_is_tolerated():
    body = swapped(
        POLL,
        b"<oadr:oadrPayload",
        b'<oadr:oadrPayload xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        b'xsi:schemaLocation="http://openadr.org/oadr-2.0b/2012/07 oadr_20b.xsd"',
    )
    assert decode(body, strict=True) == m.Poll("000123")


# -- values


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2024-05-06T12:00:00Z", NOON),
        ("2024-05-06T12:00:00", NOON),
        ("2024-05-06T12:00:00.5Z", NOON.replace(microsecond=500_000)),
        ("2024-05-06T12:00:00.123456789Z", NOON.replace(microsecond=123_456)),
        ("2024-05-05T24:00:00Z", NOON.replace(hour=0)),
    ],
)
def test_times(text, when):
    body = DISTRIBUTE.replace(b"2024-05-06T12:00:00Z", text.encode())
    event = decode(body, strict=True).events[0].event
    assert event.period.start == event.created_at == when
    assert event.period.start.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P", Duration()),
        ("PT", Duration()),
        ("1W", Duration.of(days=7)),
        ("P1Y2M3DT4H5M6S", Duration(14, ((3 * 24 + 4) * 60 + 5) * 60 + 6)),
        ("-PT5M", -Duration.of(minutes=5)),
        ("+PT90M", Duration.of(minutes=90)),
    ],
)
def test_durations(text, length):
    body = DISTRIBUTE.replace(b"<xcal:duration>PT0S<", f"<xcal:duration>{text}<".encode())
    assert decode(body, strict=True).events[0].event.period.notification == length


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"2024-05-06T12:00:00Z", b"-2024-05-06T12:00:00Z"),
        (b"<xcal:duration>PT0S<", b"<xcal:duration>PT9999999999999S<"),
        (b"<xcal:duration>PT0S<", "<xcal:duration>PT\u0661S<".encode()),
        (
            b"<ei:signalPayload>",
            b"<ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload><ei:signalPayload>",
        ),
        (b"<xcal:duration><xcal:duration>PT20M</xcal:duration></xcal:duration>", b""),
    ],
)
def test_a_valid_but_unreadable_event_does_not_spoil_its_delivery(old, new):
    body = swapped(DISTRIBUTE, old, new)
    assert fault(parse(body)) is None
    found = decode(body)
    good = decode(DISTRIBUTE).events[0].event
    assert found.events == ()
    assert [(one.event_id, one.modification_number, one.response_required) for one in found.unreadable] == [
        (good.event_id, good.modification_number, good.response_required)
    ]  # EV-53


def test_an_event_whose_id_cannot_be_read_spoils_its_delivery():
    body = swapped(DISTRIBUTE, b"2024-05-06T12:00:00Z", b"-2024-05-06T12:00:00Z")
    body = swapped(body, b"<ei:modificationNumber>0<", b"<ei:modificationNumber>99999999999999999999999<")
    with pytest.raises((UnreadableError, WireError)):
        decode(body)


def test_unreadable_report_names_its_ven():
    body = swapped(update_report(1), b"2024-05-06T12:00:00Z", b"-2024-05-06T12:00:00Z")
    with pytest.raises(UnreadableError) as caught:
        decode(body)
    assert isinstance(caught.value, OpenADRError)
    assert caught.value.code is Code.INVALID_DATA
    assert (caught.value.element, caught.value.request_id, caught.value.ven_id) == ("oadrUpdateReport", "q", "v")


@pytest.mark.parametrize("ven_id", ["000123", "true", "10.0.0.1", "1e3", "None", " x "])
def test_ids_stay_text(ven_id):
    assert decode(encode(m.Poll(ven_id))) == m.Poll(ven_id)


def test_empty_equals_absent_but_an_empty_request_id_stays():
    full = encode(m.OadrResponse(m.Response(200, "fine", "r"), "v"))
    empty = full.replace(b">fine<", b"><").replace(b">v<", b"><").replace(b">r<", b"><")
    assert decode(empty, strict=True) == m.OadrResponse(m.Response(200, None, ""), None)


def test_empty_target_criteria_mean_everything():
    body = encode(
        m.DistributeEvent("vtn", "r", (DeliveredEvent(replace(EVENT, target=Target(ven_ids=("v",))), EventStatus.FAR),))
    )
    decoded = decode(swapped(body, b"<ei:venID>v</ei:venID>", b"<ei:groupID></ei:groupID><ei:venID/>"), strict=True)
    assert not decoded.events[0].event.target


def test_blanks_around_tokens_and_numbers_do_not_count():
    body = CREATED.replace(b">optIn<", b">\n optIn\t<").replace(
        b"<ei:modificationNumber>0<", b"<ei:modificationNumber> 0 <"
    )
    answer = decode(body, strict=True).event_responses[0]
    assert (answer.opt_type, answer.modification_number) == (OptType.IN, 0)


def test_simple_in_lower_case_is_simple():
    body = swapped(DISTRIBUTE, b">SIMPLE<", b">simple<")
    assert decode(body, strict=True).events[0].event.signals[0].name == "SIMPLE"


def test_intervals_follow_their_uids():
    body = swapped(swapped(DISTRIBUTE, b"<xcal:text>0<", b"<xcal:text>2<"), b"<xcal:text>1<", b"<xcal:text>1<")
    assert [one.value for one in decode(body).events[0].event.signals[0].intervals] == [2.0, 1.0]
    same = swapped(DISTRIBUTE, b"<xcal:text>1<", b"<xcal:text>0<")
    assert [one.value for one in decode(same).events[0].event.signals[0].intervals] == [1.0, 2.0]


def test_a_lone_interval_without_duration_lasts_the_whole_period():
    event = replace(EVENT, signals=(replace(EVENT.signals[0], intervals=EVENT.signals[0].intervals[:1]),))
    body = encode(m.DistributeEvent("vtn", "r", (DeliveredEvent(event, EventStatus.FAR),)))
    bare = swapped(body, b"<xcal:duration><xcal:duration>PT20M</xcal:duration></xcal:duration>", b"")
    assert decode(bare).events[0].event.signals[0].intervals == (Interval(Duration.of(hours=1), 1.0),)


def test_other_payloads_in_a_report_interval_do_not_touch_the_values():
    alien = b"<ei:signalPayload><ei:payloadFloat><ei:value>99</ei:value></ei:payloadFloat></ei:signalPayload>"
    body = swapped(update_report(2), b"</ei:interval>", alien + b"</ei:interval>")
    assert [one.payloads[0].value for one in decode(body, strict=True).reports[0].intervals] == [0.0, 1.0]


def test_a_data_report_name_loses_a_stray_metadata_prefix():
    body = swapped(update_report(1), b">TELEMETRY_USAGE<", b">METADATA_TELEMETRY_USAGE<")
    assert decode(body).reports[0].name == "TELEMETRY_USAGE"


@pytest.mark.parametrize(("text", "value"), [("INF", float("inf")), ("-INF", float("-inf")), (" 1E3 ", 1000.0)])
def test_floats(text, value):
    body = swapped(update_report(1), b"<ei:value>0.0<", f"<ei:value>{text}<".encode())
    assert decode(body, strict=True).reports[0].intervals[0].payloads[0].value == value


def test_nan():
    body = swapped(update_report(1), b"<ei:value>0.0<", b"<ei:value>NaN<")
    value = decode(body, strict=True).reports[0].intervals[0].payloads[0].value
    assert value != value  # noqa: PLR0124  only NaN differs from itself


# -- large documents


def test_a_large_report_is_read_whole():
    body = update_report(1000)
    assert len(body) > 64 * 1024
    assert [one.payloads[0].value for one in decode(body, strict=True).reports[0].intervals] == list(range(1000))


@pytest.mark.parametrize("place", [0, 70, 999])
def test_a_fault_anywhere_in_a_large_report_is_found(place):
    body = swapped(update_report(1000), f"<ei:value>{place}.0<".encode(), b"<ei:value>x<")
    with pytest.raises(WireError, match="'x'"):
        decode(body)


def test_a_large_request_is_valid_though_its_durations_are_not_those_of_a_report():
    """`xcal:duration` is declared twice: as a property, and as the text inside of one."""
    wanted = ReportRequest("r", "s", tuple(f"r{number}" for number in range(700)), Duration.of(minutes=1))
    body = encode(m.CreateReport("q", (wanted,), "v"))
    assert len(body) > 64 * 1024
    assert decode(body, strict=True).requests[0].r_ids == wanted.r_ids


def test_crowds_of_faults_are_refused_at_the_first():
    body = update_report(1)
    end = body.index(b"</strm:intervals>")
    with pytest.raises(WireError, match="interval"):
        decode(body[:end] + b"<ei:interval/>" * 100_000 + body[end:])


@pytest.mark.parametrize(("count", "fine"), [(900, True), (1100, False)])
def test_crowds_of_local_elements_are_bounded(count, fine):
    start, end = CREATED.index(b"<ei:eventResponse>"), CREATED.index(b"</ei:eventResponses>")
    body = CREATED[:start] + CREATED[start:end] * count + CREATED[end:]
    if fine:
        assert len(decode(body, strict=True).event_responses) == count
    else:
        with pytest.raises(WireError, match="more than 1000"):
            decode(body)


def test_a_fault_in_a_crowd_of_local_elements_is_found():
    start, end = CREATED.index(b"<ei:eventResponse>"), CREATED.index(b"</ei:eventResponses>")
    one = CREATED[start:end]
    body = CREATED[:start] + one * 400 + one.replace(b">optIn<", b">x<") + CREATED[end:]
    with pytest.raises(WireError, match="'x'"):
        decode(body)


# -- the schema and the verifier


def test_the_schema_is_cached_and_knows_the_messages():
    assert schema() is schema()
    assert "{http://openadr.org/oadr-2.0b/2012/07}oadrPoll" in declared_elements()


def test_a_missing_schema_says_what_to_install(monkeypatch):
    monkeypatch.setattr(schema_module, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match="pip install openleadr"):
        schema_module.schema_folder.__wrapped__()


def test_a_damaged_schema_says_what_to_do(monkeypatch, tmp_path):
    (tmp_path / "oadr_20b.xsd").write_text("<a/>")
    monkeypatch.setattr(schema_module, "schema_folder", lambda: tmp_path)
    with pytest.raises(UnavailableError, match="Reinstall"):
        schema_module.schema.__wrapped__()


def test_many_threads_may_decode():
    bad = swapped(POLL, b"<ei:venID>000123</ei:venID>", b"")
    wrong = []

    def work():
        for _ in range(100):
            if decode(POLL) != m.Poll("000123"):
                wrong.append("value")
            try:
                decode(bad)
                wrong.append("accepted")
            except WireError as error:
                if "oadrPoll" not in str(error):
                    wrong.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_signature_is_judged_before_anything_else_is_believed():
    seen = []

    def refuse(payload):
        seen.append(payload.tag)
        raise ForbiddenError("unsigned")

    with pytest.raises(ForbiddenError):
        decode(b"<invalid/>", verify=refuse)
    assert seen == ["invalid"]
    assert decode(POLL, verify=lambda _: None) == m.Poll("000123")


def test_nothing_is_read_but_the_element_that_was_verified():
    def verified(element):
        return Verified(element, b"", "method", NOON, "nonce")

    decoded = decode_noting(POLL, verify=lambda payload: verified(payload[-1]))
    assert decoded.message == m.Poll("000123")
    assert decoded.signature == verified(None)
    other = parse(POLL.replace(b"000123", b"another"))[-1]
    for element in (other, None):
        with pytest.raises(WireError, match="covers something else"):
            decode_noting(POLL, verify=lambda _, element=element: verified(element))
