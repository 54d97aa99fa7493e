"""What tolerant decoding mends, and what it does not."""

from datetime import UTC, datetime

import pytest
from codec_strategies import calm, messages
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import Opt, OptType
from openadr.model.registration import VtnProfile
from openadr.model.report import Report, ReportDescription, ReportInterval, ReportOffer, ReportPayload
from openadr.model.signal import Interval, Signal
from openadr.model.target import Grid, Target
from openadr.v20b import messages as m
from openadr.v20b import names as n
from openadr.v20b.decode import WireError, decode, decode_noting
from openadr.v20b.encode import encode
from openadr.v20b.repair import Repair, child_places


def refused_strictly_but_read_as(body, message):
    with pytest.raises(WireError):
        decode(body, strict=True)
    assert decode(body) == message


@calm
@given(messages, st.randoms(use_true_random=False))
def test_children_in_any_order_are_put_right(message, rng):
    root = etree.fromstring(encode(message))
    for element in list(root.iter("*")):
        shuffle_kinds(element, rng)
    assert decode(etree.tostring(root)) == message


def shuffle_kinds(element, rng):
    """Shuffle the children, but keep those of one kind (which are data) in their order."""
    kinds = {}
    places = child_places().get(element.tag, {})
    for child in element:
        kinds.setdefault(places.get(child.tag), []).append(child)
    order = list(kinds)
    rng.shuffle(order)
    element[:] = [child for kind in order for child in kinds[kind]]


@calm
@given(messages)
def test_an_unqualified_schema_version_is_qualified(message):
    body = encode(message).replace(b' ei:schemaVersion="2.0b"', b' schemaVersion="2.0b"', 1)
    refused_strictly_but_read_as(body, message)


@calm
@given(messages)
def test_a_missing_request_id_becomes_empty(message):
    root = etree.fromstring(encode(message))
    emptied = etree.fromstring(encode(message))
    for one in list(root.iter(n.REQUEST_ID)):
        one.getparent().remove(one)
    for one in emptied.iter(n.REQUEST_ID):
        one.text = ""
    assert decode(etree.tostring(root)) == decode(etree.tostring(emptied), strict=True)


@calm
@given(messages, st.randoms(use_true_random=False))
def test_names_in_a_wrong_namespace_are_put_right(message, rng):
    root = etree.fromstring(encode(message))
    for element in list(root.iterfind("*/*//*")):
        if rng.random() < 0.5:
            element.tag = f"{{urn:elsewhere}}{n.name_of(element)}"
    assert decode(etree.tostring(root)) == message


@pytest.mark.parametrize("path", ["*", "*/*"])
def test_the_envelope_stays_in_its_namespace(path):
    root = etree.fromstring(encode(m.Poll("v")))
    (element,) = root.iterfind(path)
    element.tag = f"{{urn:elsewhere}}{n.name_of(element)}"
    with pytest.raises(WireError):
        decode(etree.tostring(root))


def test_a_name_that_stands_there_twice_after_its_renaming_stays_invalid():
    body = encode(m.Poll("v")).replace(b"<ei:venID>v<", b"<oadr:venID>w</oadr:venID><ei:venID>v<")
    with pytest.raises(WireError):
        decode(body)


NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
REGISTERED = m.CreatedPartyRegistration(m.Response(), VtnProfile("vtn", poll_freq=Duration.of(days=7)))
UPDATE = m.UpdateReport("q", (Report("rr", "spec", "", NOON, (ReportInterval((ReportPayload("a", 1.0),), NOON),)),))
EVENT = Event(
    "e",
    0,
    "http://programme.example",
    NOON,
    ActivePeriod(NOON, Duration.of(hours=1)),
    (Signal("SIMPLE", "level", "s", (Interval(Duration.of(hours=1), 1.0),)),),
)
DISTRIBUTE = m.DistributeEvent("vtn", "r", (DeliveredEvent(EVENT, EventStatus.FAR),))


ANSWER_IN, ANSWER_OUT = (
    m.EventResponse(event_id, 0, opt, "r") for event_id, opt in (("e", OptType.IN), ("f", OptType.OUT))
)


POINTS = (ReportDescription("a", "usage", "Direct Read"),)


def test_rp06_metadata_without_report_request_id_has_0():
    message = m.RegisterReport("q", (ReportOffer("spec", "TELEMETRY_USAGE", Duration.of(hours=1), POINTS, NOON),), "v")
    body = encode(message)
    request_id = b"<ei:reportRequestID>0</ei:reportRequestID>"
    assert body.count(request_id) == 1
    assert decode(body) == message
    refused_strictly_but_read_as(body.replace(request_id, b""), message)
    assert decode_noting(body.replace(request_id, b"")).repairs == {Repair.METADATA_ID}


def test_data_without_report_request_id_stay_invalid():
    with pytest.raises(WireError):
        decode(encode(UPDATE).replace(b"<ei:reportRequestID>rr</ei:reportRequestID>", b""))


@pytest.mark.parametrize("rest", [(), (ANSWER_IN,)])
def test_an_answer_without_a_decision_is_left_out(rest):
    body = encode(m.CreatedEvent("v", m.Response(), (ANSWER_OUT, *rest))).replace(b">optOut<", b">none<")
    refused_strictly_but_read_as(body, m.CreatedEvent("v", m.Response(), rest))
    assert decode_noting(body).repairs == {Repair.UNDECIDED}


@pytest.mark.parametrize(
    "message",
    [
        m.CreatedEvent("v", m.Response(), (m.EventResponse("e", 0, OptType.OUT, "r", 450),)),
        m.CreateOpt("v", "q", Opt("o", OptType.OUT, "economic", NOON, "e", 0)),
    ],
)
def test_a_refusal_or_an_opt_without_a_decision_stays_invalid(message):
    body = encode(message)
    assert b">optOut<" in body
    with pytest.raises(WireError):
        decode(body.replace(b">optOut<", b">none<"))


def test_weeks_become_days():
    body = encode(REGISTERED)
    assert b">P7D<" in body
    for text in (b"P1W", b" P7D ", b"\nP1W\n"):
        refused_strictly_but_read_as(body.replace(b">P7D<", b">" + text + b"<"), REGISTERED)


@pytest.mark.parametrize("text", [b"PT1.5S", b"P1.5W", b"1 day", b"P1Y2W", b""])
def test_other_durations_stay_invalid(text):
    body = encode(REGISTERED)
    with pytest.raises(WireError):
        decode(body.replace(b">P7D<", b">" + text + b"<"))


@pytest.mark.parametrize(
    "text",
    [
        b"2024-05-06T12:00:00+00:00",
        b"2024-05-06T14:00:00+02:00",
        b" 2024-05-06T12:00:00Z ",
        b"2024-05-06T12:00:00-0000",
    ],
)
def test_utc_offsets_become_z(text):
    body = encode(UPDATE).replace(b"2024-05-06T12:00:00Z", text)
    assert decode(body) == UPDATE


@pytest.mark.parametrize(
    "text", [b"yesterday", b"2024-13-06T12:00:00+00:00", b"2024-05-06", b"0001-01-01T00:00:00+05:00"]
)
def test_other_times_stay_invalid(text):
    with pytest.raises(WireError):
        decode(encode(UPDATE).replace(b"2024-05-06T12:00:00Z", text))


@pytest.mark.parametrize(("old", "new"), [(b">200<", b"> 200 <"), (b">200<", b">\n200\n<")])
def test_blanks_around_plain_strings_with_a_pattern(old, new):
    message = m.CreatedEvent("v", m.Response(), (m.EventResponse("e", 0, OptType.IN, "r"),))
    refused_strictly_but_read_as(encode(message).replace(old, new), message)


@pytest.mark.parametrize("name", [b"Simple", b"sIMPLE", b" SIMPLE "])
def test_signal_names_in_any_case(name):
    body = encode(DISTRIBUTE).replace(b">SIMPLE<", b">" + name + b"<")
    assert decode(body) == DISTRIBUTE


@pytest.mark.parametrize(
    ("text", "value"), [(b"nan", "nan"), (b"NAN", "nan"), (b"inf", "inf"), (b"-Infinity", "-inf"), (b"+inf", "inf")]
)
def test_not_a_number_is_spelt_as_the_schema_has_it(text, value):
    body = encode(UPDATE).replace(b">1.0<", b">" + text + b"<")
    decoded = decode_noting(body)
    assert str(decoded.message.reports[0].intervals[0].payloads[0].value) == value
    assert decoded.repairs == {Repair.NUMBER_SPELLING}
    with pytest.raises(WireError):
        decode(body, strict=True)


@pytest.mark.parametrize("text", [b"nan 1", b"n/a", b"null", b"1,5", b"nano"])
def test_other_values_stay_invalid(text):
    with pytest.raises(WireError):
        decode(encode(UPDATE).replace(b">1.0<", b">" + text + b"<"))


@pytest.mark.parametrize(
    ("old", "new", "repair"),
    [
        (b" ei:schemaVersion", b" schemaVersion", Repair.SCHEMA_VERSION),
        (b"<pyld:requestID>q</pyld:requestID>", b"", Repair.REQUEST_ID),
        (b"2024-05-06T12:00:00Z", b"2024-05-06T12:00:00+00:00", Repair.UTC_OFFSET),
    ],
)
def test_what_was_mended_is_told_by_kind(old, new, repair):
    body = encode(UPDATE)
    assert old in body
    assert decode_noting(body).repairs == frozenset()
    assert decode_noting(body.replace(old, new)).repairs == {repair}


def test_each_kind_is_told_once_however_often_it_occurs():
    week = encode(REGISTERED).replace(b">P7D<", b">P1W<").replace(b" ei:schemaVersion", b" schemaVersion")
    assert decode_noting(week).repairs == {Repair.WEEKS, Repair.SCHEMA_VERSION}
    blanks = encode(m.CreatedEvent("v", m.Response())).replace(b">200<", b"> 200 <")
    assert decode_noting(blanks).repairs == {Repair.WHITE_SPACE}
    signal = encode(DISTRIBUTE).replace(b">SIMPLE<", b">Simple<")
    assert decode_noting(signal).repairs == {Repair.SIGNAL_CASE}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<ei:venID>v</ei:venID>", b""),
        (b"<ei:venID>v</ei:venID>", b"<ei:venID>v</ei:venID><x/>"),
        (b"<ei:venID>v</ei:venID>", b"<ei:venID>v</ei:venID><ei:venID>w</ei:venID>"),
        (b">200<", b">2000<"),
        (b' ei:schemaVersion="2.0b"', b' schemaVersion="9"'),
        (b' ei:schemaVersion="2.0b"', b' other="1"'),
    ],
)
def test_nothing_is_invented_or_removed(old, new):
    body = encode(m.CreatedEvent("v", m.Response()))
    assert old in body
    with pytest.raises(WireError):
        decode(body.replace(old, new))


def test_one_order_for_substitutes_of_a_head():
    places = child_places()[n.EVENT_SIGNAL]
    assert places[n.ITEM_BASES["powerReal"]] == places[n.ITEM_BASES["customUnit"]]
    assert places[n.SIGNAL_ID] < places[n.ITEM_BASES["powerReal"]] < places[n.CURRENT_VALUE]


def test_positions_of_an_area_are_put_right_too():
    """They are GML, which the schema keeps in a file of its own."""
    area = Target(other=((Grid.SERVICE_AREA, "50.0 8.0 50.0 9.0 51.0 8.5 50.0 8.0"),))
    message = m.CreateOpt("v", "r", Opt("o", OptType.OUT, "x-away", NOON, "e", 0, target=area))
    body = encode(message).replace(b"<gml:", b"<oadr:").replace(b"</gml:", b"</oadr:")
    assert decode(body) == message
