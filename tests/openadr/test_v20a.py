"""OpenADR 2.0a on the wire (openadr.v20a): what goes out, judged by XPath, and what comes in."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from lxml import etree

from core.errors import InvalidError
from core.spans import Duration
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.opt import OptType
from openadr.model.signal import Baseline, Interval, Signal
from openadr.model.target import Target
from openadr.model.units import POWER_REAL_W
from openadr.v20a.decode import decode_noting
from openadr.v20a.encode import encode
from openadr.v20a.names import NAMESPACES
from openadr.v20b.decode import WireError
from openadr.v20b.messages import (
    CreatedEvent,
    DistributeEvent,
    EventResponse,
    OadrResponse,
    Poll,
    RequestEvent,
    Response,
)

NOON = datetime(2024, 5, 6, 12, tzinfo=UTC)
HOUR = Duration.of(hours=1)
SIMPLE = Signal("SIMPLE", "level", "s1", (Interval(HOUR, 2.0),), target=Target(device_classes=("Thermostat",)))
POWER = Signal("LOAD_DISPATCH", "delta", "s2", (Interval(HOUR, -2000.0),), POWER_REAL_W)
EVENT = Event(
    "e1",
    3,
    "http://programme.example",
    NOON,
    ActivePeriod(NOON, HOUR),
    (POWER, SIMPLE),
    Target(ven_ids=("ven-1",), resource_ids=("heater",)),
    modified_at=NOON,
    modification_reason="because",
    baseline=Baseline("b", "baseline", NOON, HOUR, (Interval(HOUR, 3000.0),), (), POWER_REAL_W),
)


def sent(*events, response=None):
    message = DistributeEvent("vtn", "r1", tuple(DeliveredEvent(one, EventStatus.FAR) for one in events), response)
    return etree.fromstring(encode(message))


def at(root, path):
    return root.xpath(path, namespaces=NAMESPACES)


def test_an_event_goes_out_without_wrapping_and_with_one_simple_signal():
    root = sent(EVENT)
    assert root.tag == "{http://openadr.org/oadr-2.0a/2012/07}oadrDistributeEvent"  # PA-01
    assert at(root, "//@*") == []  # no schemaVersion
    assert b"2.0b" not in etree.tostring(root)
    assert at(root, "//ei:signalName/text()") == ["SIMPLE"]  # PA-03
    assert at(root, "//ei:currentValue/ei:payloadFloat/ei:value/text()") == ["0.0"]
    left_out = (
        "modificationDateTime",
        "modificationReason",
        "eiEventBaseline",
        "itemBase",
        "eiEventSignal/ei:eiTarget",
    )
    assert [name for name in left_out if at(root, f"//ei:{name}")] == []  # PA-04
    assert at(root, "//ei:eiEvent/ei:eiTarget/*/text()") == ["heater", "ven-1"]
    assert at(root, "//ei:modificationNumber/text()") == ["3"]
    assert at(root, "//oadr:oadrResponseRequired/text()") == ["always"]


def test_what_runs_says_its_value():
    running = replace(EVENT, signals=(replace(SIMPLE, current_value=2.0),))
    assert at(sent(running), "//ei:currentValue/ei:payloadFloat/ei:value/text()") == ["2.0"]


def test_what_2_0a_cannot_say_is_left_out():
    classes = replace(EVENT, event_id="e2", target=Target(device_classes=("Thermostat",)))
    everything = replace(EVENT, event_id="e3", target=Target())
    root = sent(replace(EVENT, signals=(POWER,)), classes, everything)
    assert at(root, "//ei:eventID/text()") == ["e3"]


def test_an_answer_names_no_ven():
    root = etree.fromstring(encode(OadrResponse(Response(452, "No such event.", "r9"), "ven-1")))
    assert [one.tag.rpartition("}")[2] for one in root] == ["eiResponse"]  # PA-02
    assert at(root, "//pyld:requestID/text()") == ["r9"]


def test_other_messages_are_not_2_0as():
    with pytest.raises(InvalidError, match=r"2\.0a has no Poll"):
        encode(Poll("ven-1"))


def said(name, content):
    declared = "".join(f' xmlns:{prefix}="{namespace}"' for prefix, namespace in NAMESPACES.items())
    return f"<oadr:{name}{declared}>{content}</oadr:{name}>".encode()


REQUEST = "<pyld:eiRequestEvent><pyld:requestID>r1</pyld:requestID><ei:venID>ven-1</ei:venID>{}</pyld:eiRequestEvent>"
ANSWER = (
    "<pyld:eiCreatedEvent><ei:eiResponse><ei:responseCode>200</ei:responseCode><pyld:requestID/></ei:eiResponse>"
    "<ei:eventResponses><ei:eventResponse><ei:responseCode>200</ei:responseCode><pyld:requestID>d1</pyld:requestID>"
    "<ei:qualifiedEventID><ei:eventID>e1</ei:eventID><ei:modificationNumber>{}</ei:modificationNumber>"
    "</ei:qualifiedEventID><ei:optType>optOut</ei:optType></ei:eventResponse></ei:eventResponses>"
    "<ei:venID>ven-1</ei:venID></pyld:eiCreatedEvent>"
)


def test_requests_and_answers_are_read():
    limit = "<pyld:replyLimit>5</pyld:replyLimit>"
    assert decode_noting(said("oadrRequestEvent", REQUEST.format(limit))).message == RequestEvent("ven-1", "r1", 5)
    answer = CreatedEvent("ven-1", Response(200, None, ""), (EventResponse("e1", 3, OptType.OUT, "d1"),))
    assert decode_noting(said("oadrCreatedEvent", ANSWER.format(3))).message == answer


def test_prefixes_are_the_senders_own():
    own = {"oadr": "ei", "ei": "pyld", "pyld": "oadr", "emix": "strm"}
    body = said("oadrRequestEvent", REQUEST.format("")).decode()
    for prefix in own:
        body = body.replace(f"{prefix}:", f"{prefix}!:").replace(f"xmlns:{prefix}=", f"xmlns:{prefix}!=")
    for prefix, other in own.items():
        body = body.replace(f"{prefix}!", other)
    body = body.replace('xmlns:strm="urn:ietf:params:xml:ns:icalendar-2.0:stream"', "")
    assert decode_noting(body.encode()).message == RequestEvent("ven-1", "r1")


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (said("oadrPoll", "<ei:venID>ven-1</ei:venID>"), "oadrPoll of .*, not an oadrRequestEvent"),
        (said("oadrRequestEvent", REQUEST.format("")).replace(b"oadr-2.0a", b"oadr-2.0b"), "of .*2.0b.*, not .*2.0a"),
        (said("oadrRequestEvent", "<ei:venID>ven-1</ei:venID>"), "Not a valid OpenADR 2.0b message"),
        (said("oadrRequestEvent", REQUEST.format("<oadr:more/>")), "Not a valid OpenADR 2.0b message"),
        (said("oadrCreatedEvent", ANSWER.format(10**30)), "modificationNumber"),
        (b"<!DOCTYPE a><a/>", "DOCTYPE"),
        (b"<oadr:", "Not well-formed"),
        (b" " * 3_000_000, "at most"),
    ],
)
def test_what_is_no_message_of_a_2_0a_ven_is_not_acceptable(body, fault):
    with pytest.raises(WireError, match=fault):
        decode_noting(body)
