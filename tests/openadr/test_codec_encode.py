"""The rules that encode follows, and what it refuses to write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from lxml import etree

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import Opt, OptType
from openadr.model.registration import Profile, VtnProfile
from openadr.model.report import (
    METADATA,
    Report,
    ReportDescription,
    ReportInterval,
    ReportOffer,
    ReportPayload,
    ReportRequest,
)
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.model.units import ENERGY_REAL_WH, POWER_REAL_W, ItemBase, currency_per_kwh
from openadr.v20b import messages as m
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.names import NAMESPACES
from openadr.v20b.schema import schema

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR = Duration.of(hours=1)
SIGNAL = Signal("LOAD_DISPATCH", "delta", "s", (Interval(HOUR, -2000.0),), POWER_REAL_W)
EVENT = Event("e", 0, "http://programme.example", NOON, ActivePeriod(NOON, HOUR), (SIGNAL,))


def delivered(event, status=EventStatus.FAR):
    return m.DistributeEvent("vtn", "r", (DeliveredEvent(event, status),))


def texts(message, path):
    root = etree.fromstring(encode(message))
    schema().assertValid(root)
    return [one.text for one in root.xpath(path, namespaces=NAMESPACES)]


def test_intervals_are_numbered_and_have_no_start():
    event = replace(EVENT, signals=(replace(SIGNAL, intervals=(Interval(HOUR, 1.0),) * 3),))
    assert texts(delivered(event), "//ei:interval/xcal:uid/xcal:text") == ["0", "1", "2"]
    assert texts(delivered(event), "//ei:interval/xcal:dtstart") == []


def test_notification_is_always_there():
    assert texts(delivered(EVENT), "//ei:x-eiNotification/xcal:duration") == ["PT0S"]


@pytest.mark.parametrize(("value", "there"), [(None, []), (0.0, ["0.0"]), (-2000, ["-2000.0"])])
def test_current_value_only_if_given(value, there):
    event = replace(EVENT, signals=(replace(SIGNAL, current_value=value),))
    assert texts(delivered(event), "//ei:currentValue//ei:value") == there


def test_status_stands_in_the_descriptor_and_cancelled_comes_back():
    body = encode(delivered(EVENT, EventStatus.CANCELLED))
    assert decode(body).events[0].event.cancelled
    assert not decode(encode(delivered(EVENT, EventStatus.ACTIVE))).events[0].event.cancelled


def test_times_of_any_zone_are_written_in_utc():
    when = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert texts(delivered(replace(EVENT, created_at=when)), "//ei:createdDateTime") == ["2024-05-06T12:00:00Z"]


def test_event_responses_are_left_out_only_beside_an_error():
    path = "//ei:eventResponses"
    assert len(texts(m.CreatedEvent("v", m.Response()), path)) == 1
    assert texts(m.CreatedEvent("v", m.Response(452)), path) == []
    answer = m.EventResponse("e", 0, OptType.OUT, "r", 452)
    assert len(texts(m.CreatedEvent("v", m.Response(459), (answer,)), path)) == 1


def test_metadata_reports():
    offer = ReportOffer("s", "TELEMETRY_USAGE", HOUR, (ReportDescription("a", "usage", "Direct Read"),), NOON)
    message = m.RegisterReport("r", (offer, replace(offer, name="x-own"), replace(offer, name="")))
    assert texts(message, "//ei:reportName") == ["METADATA_TELEMETRY_USAGE", "x-own"]
    assert texts(message, "//oadr:oadrReport/ei:reportRequestID") == ["0", "0", "0"]
    assert texts(message, "//strm:intervals|//oadr:oadrReport/xcal:dtstart|//ei:eiReportID") == []
    assert texts(message, "//oadr:oadrRegisterReport/ei:reportRequestID") == []


def test_report_requests():
    request = ReportRequest("rr", "s", ("a", "b"), start=NOON)
    message = m.CreateReport("r", (request, ReportRequest("m", METADATA, ())))
    assert texts(message, "//ei:specifierPayload/ei:rID") == ["a", "b", "0"]
    assert set(texts(message, "//ei:readingType")) == {"x-notApplicable"}
    assert texts(message, "//ei:reportInterval//xcal:duration/xcal:duration") == ["PT0S"]
    assert texts(message, "//ei:granularity|//xcal:granularity/xcal:duration") == ["PT0S", "PT0S"]


def test_data_reports_number_only_intervals_without_start():
    rows = (ReportInterval((ReportPayload("a", 1.0),)), ReportInterval((ReportPayload("a", 2.0),), NOON))
    message = m.UpdateReport("r", (Report("rr", "s", "", NOON, rows),))
    assert texts(message, "//xcal:uid/xcal:text") == ["0"]
    assert texts(message, "//ei:reportName") == []


def test_fixed_descriptions_are_put_right_and_units_are_not():
    event = replace(EVENT, signals=(replace(SIGNAL, item_base=replace(POWER_REAL_W, description="Real power")),))
    assert texts(delivered(event), "//power:itemDescription") == ["RealPower"]
    with pytest.raises(InvalidError, match="powerReal is in W"):
        encode(delivered(replace(EVENT, signals=(replace(SIGNAL, item_base=replace(POWER_REAL_W, units="kW")),))))


@pytest.mark.parametrize("unit", [POWER_REAL_W, ENERGY_REAL_WH, currency_per_kwh("EUR")], ids=lambda unit: unit.name)
def test_the_named_units_are_valid(unit):
    message = delivered(replace(EVENT, signals=(replace(SIGNAL, item_base=unit),)))
    assert decode(encode(message), strict=True).events[0].event.signals[0].item_base == unit


def report(**changes):
    return m.UpdateReport("r", (replace(Report("rr", "s", "", NOON, ()), **changes),))


def with_unit(unit):
    return delivered(replace(EVENT, signals=(replace(SIGNAL, item_base=unit),)))


@pytest.mark.parametrize(
    "message",
    [
        delivered(replace(EVENT, signals=())),
        delivered(replace(EVENT, signals=(replace(SIGNAL, intervals=()),))),
        delivered(replace(EVENT, created_at=datetime(2024, 5, 6))),  # noqa: DTZ001  the point of the test
        delivered(replace(EVENT, created_at=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))),
        delivered(replace(EVENT, modification_number=-1)),
        delivered(replace(EVENT, priority=2**32)),
        delivered(replace(EVENT, target=Target(other=(("colour", "red"),)))),
        delivered(replace(EVENT, target=Target(other=(("serviceArea", "here and there"),)))),
        with_unit(ItemBase("length", "length", "m")),
        with_unit(ItemBase("energyReal", "RealEnergy", "Wh", "kilo")),
        with_unit(ItemBase("powerReal", "RealPower", "W")),
        with_unit(replace(POWER_REAL_W, power=replace(POWER_REAL_W.power, hertz=float("inf")))),
        m.OadrResponse(m.Response(1000)),
        m.OadrResponse(m.Response(-1)),
        m.CreateReport("r", ()),
        m.CreateReport("r", (ReportRequest("rr", "s", ()),)),
        m.CreateReport("r", (ReportRequest("rr", "s", ("a",), reading_types=("Net", "Net")),)),
        m.CreateReport("r", (ReportRequest("rr", "s", ("a",), duration=HOUR),)),
        m.CancelReport("r", ()),
        report(intervals=(ReportInterval(()),)),
        report(intervals=(ReportInterval((ReportPayload("a", 1.0, confidence=101),)),)),
        m.CreatedPartyRegistration(m.Response(), VtnProfile("v", ())),
        m.CreatedPartyRegistration(m.Response(), VtnProfile("v", ((Profile.B, ()),))),
        m.CreateOpt("v", "r", Opt("o", OptType.IN, "economic", NOON, "e", -1)),
    ],
    ids=range(24),
)
def test_what_cannot_be_carried_is_refused(message):
    with pytest.raises(InvalidError):
        encode(message)


def test_nan_is_written_as_xsd_wants_it():
    body = encode(report(intervals=(ReportInterval((ReportPayload("a", float("nan")),)),)))
    assert b"<ei:value>NaN</ei:value>" in body
    schema().assertValid(etree.fromstring(body))


def test_a_qualified_event_without_number_says_zero():
    opt = Opt("o", OptType.OUT, "economic", NOON, event_id="e")
    assert texts(m.CreateOpt("v", "r", opt), "//ei:qualifiedEventID/ei:modificationNumber") == ["0"]


def test_what_is_signed_is_a_message_whose_object_has_an_id():
    def sign(body):
        schema().assertValid(etree.fromstring(body))
        return body.replace(b"signed-object", b"signed")

    body = encode(m.Poll("é"), sign=sign)
    assert body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    assert b'oadr:Id="signed"' in body
    assert decode(body, strict=True) == m.Poll("é")
    assert b"Id=" not in encode(m.Poll("é"))
