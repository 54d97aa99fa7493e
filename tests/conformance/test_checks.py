"""The test of the test: each check catches a VTN with one deliberate fault, and the others stay green."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from conformance.check import EVERY
from conformance.checks import CHECKS
from conformance.dialogues import DIALOGUES
from conformance.exchange import VTN, Answer, Transcript, packed
from conformance.operators.person import PersonOperator
from conformance.profile import Profile
from conformance.runner import judged, play
from conformance.signing import PROTECTION
from conformance.templates import payload, request_event, usage_offer
from conformance.verdict import Verdict
from support.mutations import (
    Mutation,
    brought,
    code,
    empty,
    header,
    mutated,
    offering,
    response,
    same,
    signed_anew,
    silence,
    status,
    stored,
    text,
)


def _m(rule, dialogue, step, change, *also, name="", **facts):
    return Mutation(
        rule, dialogue, step, change, frozenset(also), name, {k.replace("_", " "): v for k, v in facts.items()}
    )


_ID = "http://www.w3.org/2001/XMLSchema-instance"

TRANSPORT = (
    _m("TR-03", "transport", "address:escaped", status(404)),
    _m("TR-04", "transport", "method:PUT", status(405)),
    _m("TR-05", "transport", "type:json", status(415)),
    _m("TR-05", "transport", "broken", status(400)),
    _m("TR-05", "transport", "service:unknown", status(406)),
    _m("TR-05", "transport", "refused in OpenADR", status(404)),
    _m("TR-06", "transport", "valid", header("Transfer-Encoding", "chunked")),
    _m("TR-06", "transport", "valid", header("Content-Type", "text/xml")),
    _m("TR-06", "registration", "create", header("Content-Length", None)),
    _m("TR-07", "transport", "name beyond ASCII", status(406)),
    _m("TR-08", "transport", "accepts gzip", text("><", "><")),
    _m("TR-09", "transport", "agent", status(403)),
    _m("TR-12", "repeated", "twice:oadrCreateOpt", code(452)),
)

GENERAL = (
    _m("GN-01", "registration", "create", text(r"<oadr:oadrProfiles>.*</oadr:oadrProfiles>", ""), "RG-05"),
    _m("GN-01", "wrong ids", "other case", text("</ei:responseDescription>", " & </ei:responseDescription>"), "GN-09"),
    _m("GN-02", "registration", "query:before", text(' ei:schemaVersion="2.0b"', "")),
    _m(
        "GN-03",
        "registration",
        "query:before",
        text("<oadr:oadrPayload ", f'<oadr:oadrPayload xmlns:i="{_ID}" i:schemaLocation="a b" '),
    ),
    _m("GN-04", "delivery", "new", text(r"(T\d\d:\d\d:\d\d)Z", r"\1")),
    _m("GN-05", "registration", "create", text(r"(<xcal:duration>)PT10S", r"\1P")),
    _m(
        "GN-06",
        "request ids",
        "echo:oadrRequestEvent",
        text(
            r"<pyld:requestID>[^<]*</pyld:requestID></ei:eiResponse>",
            "<pyld:requestID>None</pyld:requestID></ei:eiResponse>",
        ),
    ),
    _m(
        "GN-06",
        "request ids",
        "echo:oadrPoll",
        text(r"<pyld:requestID\s*/>|<pyld:requestID></pyld:requestID>", "<pyld:requestID>None</pyld:requestID>"),
    ),
    _m("GN-08", "wrong ids", "wrong ven:oadrRequestEvent", code(200), "RG-15"),
    _m("GN-08", "wrong ids", "unharmed", code(452)),
    _m("GN-09", "wrong ids", "other case", code(200)),
    _m("GN-11", "logical faults", "fault", code(200)),
    _m("GN-12", "invalid", "invalid:two messages", status(400)),
    _m("GN-12", "invalid", "valid after all", silence),
    _m("GN-13", "empty elements", "empty:target", code(459)),
    _m("GN-14", "extensions", "extension:report name", status(406)),
    _m("GN-15", "misplaced", "misplaced:oadrPoll to EiEvent", code(200)),
)

REGISTRATION = (
    _m("RG-01", "misplaced", "misplaced:oadrRequestReregistration", code(200), "GN-15"),
    _m("RG-02", "registration", "query:after", text("<ei:registrationID>", "<ei:registrationID>x")),
    _m("RG-02", "registration", "query:before", text("</ei:eiResponse>", "</ei:eiResponse><ei:venID>v</ei:venID>")),
    _m("RG-02", "registration", "query:before", text("2.0b</oadr:oadrProfileName>", "2.0a</oadr:oadrProfileName>")),
    _m("RG-03", "registration", "create:unknown ven", code(463)),
    _m("RG-04", "registration", "create:push without address", code(200)),
    _m(
        "RG-05",
        "registration",
        "create",
        text("<oadr:oadrRequestedOadrPollFreq>.*</oadr:oadrRequestedOadrPollFreq>", ""),
    ),
    _m("RG-06", "registration", "again:second", text("<ei:registrationID>", "<ei:registrationID>x")),
    _m("RG-08", "renewals", "afresh:old request", code(200)),
    _m("RG-09", "asked", "asked to reregister", empty),
    _m("RG-10", "registration", "left", code(200)),
    _m("RG-11", "registration", "cancel:wrong registration", code(200)),
    _m("RG-14", "unregistered", "unregistered:oadrRequestEvent", code(452)),
    _m("RG-15", "wrong ids", "wrong ven:oadrPoll", code(463), "GN-08"),
    _m("RG-16", "asked", "told to leave", empty),
)

RESTART = (
    _m("RG-06", "restart", "restarted:again", code(463), name="forgets the VEN"),
    _m("RG-06", "restart", "restarted:again", text("<ei:registrationID>", "<ei:registrationID>x"), name="new ids"),
    _m("EV-15", "restart", "restarted:listed", text("<oadr:oadrEvent>.*</oadr:oadrEvent>", ""), name="forgets events"),
    _m("EV-07", "restart", "restarted:listed", text("<ei:modificationNumber>1", "<ei:modificationNumber>0")),
)

POLLING = (
    _m("PL-01", "queue", "empty", status(404)),
    _m("PL-02", "queue", "queue:1", empty),
    _m("PL-02", "queue", "emptied", code(452)),
    _m("PL-03", "queue", "wrong ven", code(463)),
    _m("PL-04", "unanswered", "withheld:next", status(503)),
    _m("PL-07", "delivery", "cancelled", empty),
    _m("PL-07", "delivery", "new", text("<oadr:oadrEvent>.*?</oadr:oadrEvent>", "", count=1), "EV-15"),
)

REPORTS = (
    _m("RP-01", "metadata", "early", brought("oadrRegisterReport", empty)),
    _m("RP-02", "metadata", "offer:nothing", code(459), "RP-12"),
    _m("RP-03", "renewals", "renewed:old data", code(200)),
    _m("RP-04", "metadata", "early", offering(usage_offer().replace("METADATA_", ""))),
    _m("RP-05", "metadata", "early", offering(usage_offer(), usage_offer())),
    _m("RP-06", "metadata", "told:one-shot", text("(</ei:venID>)<ei:reportRequestID>.*?</ei:reportRequestID>", r"\1")),
    _m("RP-06", "metadata", "early", text("<ei:reportRequestID>0<", "<ei:reportRequestID>1<"), name="in a report"),
    _m("RP-12", "metadata", "offer:usage", code(461)),
    _m("RP-14", "metadata", "told:periodic", empty, "RP-06"),
    _m(
        "RP-20",
        "requests",
        "ordered:periodic",
        brought("oadrCreateReport", text("<ei:rID>power</ei:rID>", "<ei:rID>other</ei:rID>")),
    ),
    _m(
        "RP-21",
        "requests",
        "ordered",
        brought(
            "oadrCreateReport",
            text("<ei:reportRequestID>.*?</ei:reportRequestID>", "<ei:reportRequestID>r</ei:reportRequestID>"),
        ),
        "RP-60",
    ),
    _m(
        "RP-22",
        "requests",
        "ordered:periodic",
        text(
            "</xcal:properties>",
            "<ei:x-eiNotification><xcal:duration>PT0S</xcal:duration></ei:x-eiNotification></xcal:properties>",
        ),
    ),
    _m("RP-23", "requests", "ordered:one-shot", text("x-notApplicable", "Direct Read")),
    _m("RP-26", "requests", "ordered:periodic", text("<ei:reportInterval>.*</ei:reportInterval>", "")),
    _m("RP-27", "requests", "ordered:periodic", text("(<xcal:granularity><xcal:duration>)[^<]*", r"\1PT1S")),
    _m("RP-31", "metadata", "asks:one-shot", text("<ei:reportRequestID>.*?</ei:reportRequestID>", "")),
    _m("RP-52", "requests", "odd id", code(452)),
    _m("RP-53", "requests", "data:again", code(454)),
    _m("RP-55", "requests", "wrong:rID", code(200)),
    _m("RP-60", "requests", "stops:unknown", code(200)),
    _m("RP-62", "requests", "data:after the end", text("(<oadr:oadrCancelReport.*<ei:reportRequestID>)", r"\1x")),
)

_OFFERED = "VTN reports"
_LENGTH = "<xcal:duration><xcal:duration>PT[0-9]+M</xcal:duration></xcal:duration>"


def _renamed(old, new="other"):
    """Let a report be of another request."""
    return text(f"<ei:reportRequestID>{old}<", f"<ei:reportRequestID>{new}<")


def _in_year(year):
    """Let a report and all its intervals be of another year."""
    return text(r"(<xcal:date-time>)\d{4}", rf"\g<1>{year}")


def _about(subject):
    return text("<ei:reportDataSource>", f"<ei:reportSubject>{subject}</ei:reportSubject><ei:reportDataSource>")


VTN_REPORTS = (
    _m("RP-07", "metadata", "early", text("<oadr:oadrSamplingRate>.*?</oadr:oadrSamplingRate>", "", count=1)),
    _m("RP-07", "metadata", "early", text("<oadr:oadrMaxPeriod>PT1H", "<oadr:oadrMaxPeriod>P2D"), name="too long"),
    _m("RP-08", "metadata", "early", text("<ei:readingType>Direct Read", "<ei:readingType>Net")),
    _m("RP-08", "metadata", "early", text("<ei:reportType>usage", "<ei:reportType>demand"), name="type"),
    _m("RP-08", "metadata", "early", text("METADATA_TELEMETRY_USAGE", "METADATA_TELEMETRY_STATUS"), name="status"),
    _m("RP-09", "metadata", "early", _about("<ei:venID>v</ei:venID>")),
    _m(
        "RP-09",
        "metadata",
        "early",
        _about("<power:endDeviceAsset><power:mrid>Toaster</power:mrid></power:endDeviceAsset>"),
        name="class",
    ),
    _m("RP-13", _OFFERED, "along", empty),
    _m("RP-13", _OFFERED, "along data", _renamed("along"), name="no data"),
    _m("RP-20", _OFFERED, "beyond:rID", code(200)),
    _m("RP-24", _OFFERED, "once", text("(<ei:interval>.*</ei:interval>)", r"\1\1")),
    _m("RP-24", _OFFERED, "once", _renamed("once"), name="no data"),
    _m("RP-25", _OFFERED, "second window", _renamed("periodic")),
    _m("RP-27", _OFFERED, "too coarse", code(200)),
    _m("RP-28", _OFFERED, "first window", _in_year(2001)),
    _m("RP-28", _OFFERED, "past:part", _in_year(2999), name="history"),
    _m("RP-29", _OFFERED, "past:all", _in_year(2001)),
    _m("RP-29", _OFFERED, "past:part", brought("oadrUpdateReport", empty), name="no history"),
    _m("RP-30", _OFFERED, "too much", code(452)),
    _m("RP-31", _OFFERED, "asks:periodic", text("<ei:reportRequestID>last</ei:reportRequestID>", "")),
    _m("RP-31", _OFFERED, "ends:stopped", _renamed("periodic", "stopped"), name="ended"),
    _m("RP-40", _OFFERED, "once", text("<ei:reportName>", "<ei:reportName>METADATA_")),
    _m("RP-40", _OFFERED, "once", text("<ei:rID>energy<", "<ei:rID>other<"), name="another rID"),
    _m("RP-41", _OFFERED, "past:part", text(r"(<oadr:oadrReport><xcal:dtstart><xcal:date-time>)\d{4}", r"\g<1>2999")),
    _m("RP-42", _OFFERED, "past:part", text(_LENGTH, "", count=1)),
    _m("RP-43", _OFFERED, "past:part", text(_LENGTH, "")),
    _m("RP-44", _OFFERED, "past:part", text("(<ei:interval>)<xcal:dtstart>.*?</xcal:dtstart>", r"\1")),
    _m(
        "RP-45",
        _OFFERED,
        "past:part",
        text("(<strm:intervals>)", r"<xcal:duration><xcal:duration>PT7S</xcal:duration></xcal:duration>\1"),
    ),
    _m("RP-46", _OFFERED, "second window", text("(<ei:interval>.*</ei:interval>)", r"\1\1\1")),
    _m("RP-48", _OFFERED, "once", text("Quality Bad - Non Specific", "Bad"), "GN-01"),
    _m("RP-49", _OFFERED, "once", text("(<ei:rID>energy</ei:rID>)", r"\1<ei:confidence>101</ei:confidence>"), "GN-01"),
    _m("RP-51", _OFFERED, "once", text(_LENGTH, ""), "RP-43"),
    _m("RP-51", _OFFERED, "once", _in_year(2999), name="ahead"),
    _m("RP-61", _OFFERED, "last", _renamed("last")),
    _m("RP-61", _OFFERED, "ends:stopped", code(452), name="refused"),
    _m("RP-61", _OFFERED, "second window", _renamed("periodic", "stopped"), "RP-25", name="not wanted"),
    _m("RP-62", _OFFERED, "second window", _renamed("periodic", "beside"), "RP-25"),
)

_LAST_ID = text("(.*<ei:eventID>)[^<]*", r"\1other")
_VALUE = "(<ei:signalPayload><ei:payloadFloat><ei:value>)[^<]*"
_CURRENT = "(<ei:currentValue><ei:payloadFloat><ei:value>)"
_DTSTART = "<xcal:dtstart><xcal:date-time>2026-01-01T00:00:00Z</xcal:date-time></xcal:dtstart>"
_TWO = "<ei:venID>a</ei:venID><ei:venID>b</ei:venID>"
_TO_RESOURCE = text("<power:endDeviceAsset>.*?</power:endDeviceAsset>", "<ei:resourceID>r</ei:resourceID>")
_BASELINE = (
    f"<ei:eiEventBaseline>{_DTSTART}"
    "<xcal:duration><xcal:duration>PT1M</xcal:duration></xcal:duration><strm:intervals><ei:interval><xcal:duration>"
    "<xcal:duration>PT1M</xcal:duration></xcal:duration><xcal:uid><xcal:text>7</xcal:text></xcal:uid>"
    "<ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload></ei:interval>"
    "</strm:intervals><ei:baselineID>b</ei:baselineID><ei:baselineName>b</ei:baselineName></ei:eiEventBaseline>"
)
_IN_BASELINE = "(<ei:eiEventBaseline>.*<ei:interval>.*"


def _with_body(exchange, body):
    headers = (("Content-Type", "application/xml"), ("Content-Length", str(len(body))))
    return replace(exchange, answer=Answer(200, headers, body))


def _metadata_again(exchange):
    """Have the VTN register its reports once more."""
    return _with_body(exchange, payload("oadrRegisterReport", "<pyld:requestID>r</pyld:requestID>"))


def _asks_for_events(exchange):
    """Have the VTN ask a VEN for its events."""
    return _with_body(exchange, request_event("vtn").body)


def _let_in(exchange):
    """Answer who must not speak, as if it were well."""
    return _with_body(exchange, response("OK").encode())


def _status(old, new):
    return text(f"<ei:eventStatus>{old}<", f"<ei:eventStatus>{new}<")


def _number(new):
    return text("<ei:modificationNumber>[^<]*", f"<ei:modificationNumber>{new}")


CONTENT = (
    _m("EV-01", "contents", "kind:ELECTRICITY_PRICE", text("<xcal:text>1</xcal:text>", "<xcal:text>7</xcal:text>")),
    _m("EV-02", "contents", "kind:SIMPLE", text("</ei:eiEventSignals>", _BASELINE + "</ei:eiEventSignals>")),
    _m("EV-02", "contents", "kind:baseline", text(f"{_IN_BASELINE}<xcal:text>)1<", r"\g<1>7<")),
    _m(
        "EV-03",
        "contents",
        "kind:SIMPLE",
        text(
            "<ei:interval>",
            "<ei:interval>" + _DTSTART,
        ),
    ),
    _m("EV-04", "contents", "kind:SIMPLE", text("(<ei:interval><xcal:duration><xcal:duration>)[^<]*", r"\1PT7S")),
    _m("EV-04", "contents", "kind:baseline", text(f"{_IN_BASELINE}<xcal:duration>)PT[^<]*", r"\1PT7S")),
    _m("EV-04", "refusals", "afterwards", same, refused_unequal_lengths=""),
    _m("EV-05", "contents", "kind:SIMPLE", text("(<ei:signalPayload>.*?</ei:signalPayload>)", r"\1\1")),
    _m("EV-19", "contents", "kind:SIMPLE", text("<ei:eiResponse>.*?</ei:eiResponse>", "")),
    _m("EV-20", "contents", "kind:SIMPLE", text("(</ei:eiResponse><pyld:requestID>)[^<]*", r"\1")),
    _m("EV-21", "contents", "kind:resource", text("<ei:eventID>[^<]*", "<ei:eventID>same")),
    _m(
        "EV-22",
        "several VENs",
        "shared:a",
        text("</ei:eiTarget></ei:eiEvent>", _TWO + "</ei:eiTarget></ei:eiEvent>"),
    ),
    _m("EV-23", "contents", "kind:SIMPLE", text("<ei:x-eiNotification>.*?</ei:x-eiNotification>", "")),
    _m("EV-24", "contents", "kind:SIMPLE", text(_VALUE, r"\g<1>4")),
    _m("EV-24", "refusals", "afterwards", same, **{"refused SIMPLE 1.5": ""}),
    _m("EV-25", "contents", "kind:SIMPLE", text("(<ei:signalType>)level", r"\1delta"), "EV-29"),
    _m("EV-29", "contents", "kind:ELECTRICITY_PRICE", text("(<ei:signalType>)price<", r"\1delta<")),
    _m("EV-29", "refusals", "afterwards", same, refused_price_in_W=""),
    _m("EV-30", "contents", "kind:several", text("<ei:signalID>[^<]*", "<ei:signalID>same")),
    _m(
        "EV-31",
        "contents",
        "kind:device class",
        _TO_RESOURCE,
    ),
    _m("EV-35", "contents", "kind", text("LOAD_DISPATCH", "BID_LOAD")),
    _m("EV-36", "contents", "kind", text("SIMPLE", "x-OTHER"), "EV-35"),
)

LIFE = (
    _m("EV-06", "changes", "version:new", _number(1), "EV-07"),
    _m("EV-07", "changes", "version:start", _number(1)),
    _m("EV-08", "life", "moment:plain", _number(1)),
    _m("EV-09", "life", "moment:ramped", _status("near", "far"), "EV-33"),
    _m("EV-10", "changes", "version:cancelled", _status("cancelled", "far")),
    _m("EV-11", "order", "list", text("<ei:priority>1<", "<ei:priority>0<"), "EV-12"),
    _m("EV-12", "order", "list", text("<ei:priority>1<", "<ei:priority>3<")),
    _m("EV-13", "order", "limited:6 again", _LAST_ID, "EV-18"),
    _m("EV-14", "order", "one cancelled", _LAST_ID),
    _m("EV-15", "delivery", "listed:changed", _LAST_ID),
    _m("EV-15", "delivery", "listed:none", empty),
    _m("EV-16", "changes", "withheld", _status("cancelled", "far")),
    _m("EV-17", "life", "moment:randomised", text("<xcal:tolerance>.*?</xcal:tolerance>", "")),
    _m("EV-18", "order", "limited:2", text("<oadr:oadrEvent>.*?</oadr:oadrEvent>", "", count=1)),
    _m("EV-26", "life", "moment:plain", text(_CURRENT + r"0(\.0)?<", r"\g<1>1<")),
    _m("EV-27", "life", "moment:plain", text(_CURRENT + r"2(\.0)?<", r"\g<1>1<")),
    _m("EV-32", "changes", "version:values", text("(<ei:createdDateTime>)[^<]*", r"\g<1>2001-01-01T00:00:00Z")),
    _m("EV-33", "life", "moment:randomised", _status("active", "far"), "EV-26"),
    _m("EV-34", "past", "afterwards", text(_VALUE, r"\g<1>3", count=1), refused_past=""),
    _m("EV-42", "answers", "separate", code(450)),
    _m("EV-46", "answers", "mixed", code(450)),
    _m("EV-46", "answers", "mixed", same, opts=["optIn", None, "optIn"]),
    _m("EV-47", "answers", "later", same, opts_later=["optIn", "optOut", "optIn"]),
    _m("EV-48", "answers", "faulty:stale", code(452)),
    _m("EV-66", "life", "moment:open", _status("active", "completed"), "EV-33", "EV-26"),
)

OPTS = (
    _m("GN-10", "spelling", "spelling:other", same, opt_with_the_other_spelling=None),
    _m("OP-06", "effects", "schedule", same, opts_with_a_later_schedule=["optOut", None]),
    _m("OP-07", "effects", "schedule", same, opts_with_a_schedule_for_the_other_context=["optOut", None]),
    _m("RG-07", "asked", "between", _metadata_again),
    _m("TR-14", "never called", "with an address", same, called=True),
    _m("EV-72", "transport", "refused in OpenADR", _asks_for_events, "TR-05"),
    _m("RP-54", "requests", "odd rID", code(452)),
    _m("OP-01", "event opts", "qualified", code(459)),
    _m("OP-01", "event opts", "qualified", same, opt_after_createOpt=None),
    _m("OP-02", "event opts", "contradiction:both", code(200)),
    _m("OP-04", "schedules", "cancels shared", code(452)),
    _m("OP-05", "schedules", "some resources", code(462)),
    _m("OP-08", "event opts", "answered", same, opt_after_createdEvent="optIn"),
    _m("OP-09", "event opts", "part:foreign", code(200)),
    _m("OP-10", "silent", "never", code(200)),
    _m("OP-11", "schedules", "class:own", code(462)),
    _m("OP-11", "schedules", "class:not of the list", code(200)),
    _m("OP-11", "schedules", "class:by resource", code(200)),
    _m("OP-12", "schedules", "open-ended", code(454)),
    _m("OP-14", "schedules", "cancels superseded", code(452)),
    _m("OP-15", "schedules", "unknown", code(200)),
    _m("OP-16", "schedules", "supersedes", text("<ei:optID>", "<ei:optID>x")),
)

SECURITY = (
    _m("SE-01", "suites", "suite:AES128-SHA256", silence),
    _m("SE-02", "suites", "certificate:RSA", silence),
    _m("SE-03", "certificates", "outside:foreign", _let_in),
    _m("SE-04", "certificates", "expired", _let_in),
    _m("SE-06", "certificates", "unharmed", same, fingerprints={"shown": "AA", "own": "BB"}),
    _m("SE-07", "certificates", "another:oadrPoll", code(452)),
    _m("SX-01", "hostile", "hostile:doctype", _let_in),
    _m("SX-02", "hostile", "hostile:entity", _let_in, "SX-01"),
    _m("SX-03", "hostile", "hostile:depth", _let_in),
    _m("SX-04", "hostile", "alive", silence),
    _m("SX-05", "hostile", "slow", status(406)),
)

_LAST_EVENT = r"(</oadr:oadrEvent>)<oadr:oadrEvent>(?:(?!<oadr:oadrEvent>).)*</oadr:oadrEvent>(?=</oadr:oadrDist)"


def _in_push(**parts):
    """Change the request by which something was pushed."""
    return lambda exchange: (
        replace(exchange, request=replace(exchange.request, **parts)) if exchange.is_push else exchange
    )


def _in_push_headers(**headers):
    """Set headers of a push; None leaves one out."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def change(exchange):
        kept = [pair for pair in exchange.request.headers if pair[0].title() not in named]
        new = [(name, value) for name, value in named.items() if value is not None]
        return _in_push(headers=(*kept, *new))(exchange)

    return change


def _in_push_body(exchange, body, **headers):
    return _in_push_headers(Content_Length=str(len(body)), **headers)(_in_push(body=body)(exchange))


def _in_pushed_text(old, new):
    """Replace what a regular expression matches in a push."""
    return lambda exchange: _in_push_body(
        exchange, re.sub(old.encode(), new.encode(), exchange.request.body, flags=re.DOTALL)
    )


def _compressed(exchange):
    """Have the push compressed."""
    return _in_push_body(exchange, packed(exchange.request.body), Content_Encoding="gzip")


def _untaken(exchange):
    """Have what was pushed refused."""
    return replace(exchange, answer=Answer(503, (), b"")) if exchange.is_push else exchange


def _again(exchange):
    """Have the message that was of no use pushed again, in place of what came after it."""
    return replace(_in_pushed_text(_LAST_EVENT, r"\1")(exchange), step="useless")


_AT_ONCE = [{"came": 0.0, "answered": 0.0, "waited": True}] * 40
_IMPATIENT = [{"came": 100.0 * number, "answered": 100.0 * number + 2, "waited": False} for number in range(40)]

PUSH = (
    _m("TR-01", "push", "register", code(459), name="refused"),
    _m("TR-01", "push", "wanted", lambda exchange: replace(exchange, ven="a"), name="nothing comes"),
    _m("RP-01", "push", "first", lambda exchange: replace(exchange, ven="a"), name="other pushes first"),
    _m("TR-01", "push", "event:new", _in_push(target="/conformance/EiEvent"), name="another address"),
    _m("TR-01", "push", "wanted", _in_push(method="PUT"), name="PUT"),
    _m("TR-01", "push", "asked", _compressed, name="compressed"),
    _m("TR-01", "push", "event:changed", _in_pushed_text("(<ei:modificationNumber>)1", r"\g<1>0"), name="not raised"),
    _m("TR-01", "push", "event:cancelled", _in_pushed_text("(<ei:eventStatus>)cancelled", r"\1far"), name="not over"),
    _m("TR-06", "push", "event:new", _in_push_headers(Transfer_Encoding="chunked"), name="push"),
    _m("TR-06", "push", "ended", _in_push_headers(Host=None), name="push without host"),
    _m("GN-01", "push", "wanted", _in_pushed_text("<ei:reportSpecifierID>.*?</ei:reportSpecifierID>", ""), name="push"),
    _m("EV-01", "push", "event:new", _in_pushed_text("<xcal:text>0</xcal:text>", "<xcal:text>7</xcal:text>")),
    _m("TR-10", "push trouble", "slow", same, name="hangs up", times=_IMPATIENT),
    _m("TR-10", "push trouble", "slow", _in_pushed_text(_LAST_EVENT, r"\1"), name="again"),
    _m("TR-11", "push trouble", "refused", same, name="at once", times=_AT_ONCE),
    _m("TR-11", "push trouble", "refused", _untaken, name="gives up"),
    _m("TR-11", "push trouble", "after", _again, name="the same in spite of 404"),
    _m("SE-05", "wrong server", "leave", lambda exchange: replace(exchange, ven=VTN)),
)

_DESCRIBED = text("</ei:responseDescription>", "!</ei:responseDescription>")
_EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"
SIGNATURES = (
    _m("SE-08", "signatures", "unsigned:oadrQueryRegistration", _let_in),
    _m("SE-08", "signatures", "unsigned:oadrPoll", status(500)),
    _m("SE-08", "signatures", "after unsigned", code(463)),
    _m("SE-08", "signatures", "bad:unsigned", _let_in),
    _m("SE-08", "signatures", "bad:tampered", _let_in),
    _m("SE-08", "signatures", "bad:moved", _let_in),
    _m("SE-08", "signatures", "bad:of a foreign key", _let_in),
    _m("SE-08", "signatures", "bad:of another VEN", _let_in),
    _m("SE-08", "signatures", "after bad:stripped", code(463)),
    _m("SE-08", "signatures", "signed", same, opt_after_bad="optIn"),
    _m("SE-09", "signatures", "signed:oadrPoll:EC", text("<ds:Signature .*</ds:Signature>", ""), name="unsigned"),
    _m("SE-09", "signatures", "signed:oadrQueryRegistration:RSA", _DESCRIBED, name="changed"),
    _m("SE-09", "signatures", "signed:oadrCreateOpt:RSA", status(403)),
    _m("SE-09", "signatures", "signed:oadrRequestEvent:EC", text("<ds:KeyInfo>.*</ds:KeyInfo>", ""), name="whose"),
    _m("SE-09", "signatures", "signed", signed_anew(canonical=_EXCLUSIVE), name="another canonical form"),
    _m("SE-09", "signatures", "signed", signed_anew(covers=(PROTECTION,)), name="of something else"),
    _m("SE-10", "signatures", "unprotected:without ReplayProtect", _let_in),
    _m("SE-10", "signatures", "unprotected:of yesterday", _let_in),
    _m("SE-10", "signatures", "unprotected:of tomorrow", _let_in),
    _m("SE-10", "signatures", "after unprotected:time changed", code(463)),
    _m("SE-10", "signatures", "signed", same, opt_after_unprotected="optIn"),
    _m("SE-10", "signatures", "signed", signed_anew(protected=False), name="without ReplayProtect"),
    _m("SE-10", "signatures", "signed", signed_anew(later=timedelta(hours=1)), name="of another time"),
    _m("SE-10", "signatures", "signed", stored("oadrResponse"), name="signed once for all"),
    _m("SE-10", "signatures", "replay", same, opt_after_replay="optIn"),
)

_BEGINS = "<oadr:oadrDistributeEvent "
_SIGNAL_ENDS = "</ei:eiEventSignal>"
OLDER = (
    _m("PA-01", "profile 2.0a", "asked:first", text("oadr-2.0a/2012/07", "oadr-2.0b/2012/07"), name="namespace"),
    _m("PA-01", "profile 2.0a", "opted", status(500), "PA-02", "PA-03", "PA-04", name="not there"),
    _m("PA-01", "profile 2.0a", "asked", text(_BEGINS, f'{_BEGINS}ei:schemaVersion="2.0b" '), name="version"),
    _m("PA-02", "profile 2.0a", "opted", text("</oadr:oadrResponse>", "<ei:venID>v</ei:venID></oadr:oadrResponse>")),
    _m("PA-02", "profile 2.0a", "asked:changed", code(454), name="refused"),
    _m("PA-03", "profile 2.0a", "asked:events", text("<ei:signalName>SIMPLE<", "<ei:signalName>LOAD_CONTROL<")),
    _m("PA-03", "profile 2.0a", "asked", text("<ei:currentValue>.*?</ei:currentValue>", ""), name="no value"),
    _m(
        "PA-04",
        "profile 2.0a",
        "asked:changed",
        text(
            "(</ei:modificationNumber>)", r"\1<ei:modificationDateTime>2026-01-01T00:00:00Z</ei:modificationDateTime>"
        ),
    ),
    _m(
        "PA-04",
        "profile 2.0a",
        "asked",
        text("</ei:eiEventSignals>", _BASELINE + "</ei:eiEventSignals>"),
        name="baseline",
    ),
    _m("PA-04", "profile 2.0a", "asked", text(_SIGNAL_ENDS, f"<ei:eiTarget/>{_SIGNAL_ENDS}"), name="target"),
    _m("PA-04", "profile 2.0a", "asked", text(_SIGNAL_ENDS, f"<emix:itemBase/>{_SIGNAL_ENDS}"), name="unit"),
    _m(
        "PA-04",
        "profile 2.0a",
        "asked",
        text("<ei:eiTarget>", '<ei:eiTarget><power:meterAsset xmlns:power="p"/>'),
        name="where",
    ),
)

MUTATIONS = (
    *PUSH,
    *OLDER,
    *OPTS,
    *SECURITY,
    *SIGNATURES,
    *CONTENT,
    *LIFE,
    *TRANSPORT,
    *GENERAL,
    *REGISTRATION,
    *RESTART,
    *POLLING,
    *REPORTS,
    *VTN_REPORTS,
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_fault_is_caught_and_nothing_else(transcripts, mutation):
    by_name = {transcript.dialogue: transcript for transcript in transcripts}
    checks = [check for check in CHECKS if {check.dialogue, check.also} & {EVERY, mutation.dialogue}]
    others = {check.dialogue for check in checks if check.also == mutation.dialogue} - {mutation.dialogue}
    judgeable = [mutated(by_name[mutation.dialogue], mutation), *(by_name[name] for name in others)]
    results = judged(checks, judgeable, Profile())
    failed = {result.rule: result.reason for result in results if result.verdict is Verdict.FAIL}
    assert failed.keys() == {mutation.rule, *mutation.also}, failed
    caught = next(result for result in results if result.rule == mutation.rule)
    assert caught.exchanges, "a failure shows its messages"
    assert caught.reason


@pytest.mark.parametrize("offers", ["", usage_offer()], ids=["nothing", "no history"])
def test_what_a_vtn_does_not_offer_is_not_asked_of_it(transcripts, offers):
    """A VTN need not offer reports (RP-12): then their rules do not apply; what is not there cannot be seen."""
    dialogues = {mutation.dialogue for mutation in VTN_REPORTS}
    plain = text("<oadr:oadrReport>.*</oadr:oadrReport>", "")
    silent = []
    for transcript in transcripts:
        if transcript.dialogue in dialogues:
            exchanges = [offering(offers)(brought("oadrRegisterReport", plain)(one)) for one in transcript]
            kept = [
                one for one in exchanges if transcript.dialogue == "metadata" or one.step in ("register", "metadata")
            ]
            silent.append(replace(transcript, exchanges=tuple(kept)))
    rules = {mutation.rule for mutation in VTN_REPORTS} - {"RP-20", "RP-27", "RP-31", "RP-62"}
    verdicts = {result.rule: result.verdict for result in judged(CHECKS, silent, Profile()) if result.rule in rules}
    if not offers:
        assert set(verdicts.values()) == {Verdict.NOT_APPLICABLE}
    else:
        assert set(verdicts.values()) == {Verdict.PASS, Verdict.NOT_OBSERVABLE}
        assert {rule for rule, verdict in verdicts.items() if verdict is Verdict.PASS} == {"RP-07", "RP-08", "RP-09"}


def test_every_check_has_a_fault_to_catch():
    assert {check.rule for check in CHECKS} - {mutation.rule for mutation in MUTATIONS} == set()


def test_a_report_that_a_restart_made_forgotten_is_a_remark(transcripts):
    by_name = {transcript.dialogue: transcript for transcript in transcripts}
    (check,) = (check for check in CHECKS if check.rule == "RG-06")

    def remark(restart):
        (result,) = judged([check], [by_name["registration"], restart], Profile())
        return result.verdict, result.reason

    assert remark(by_name["restart"]) == (Verdict.PASS, "")
    forgetful = _m("RG-06", "restart", "restarted:data", code(452))
    verdict, reason = remark(mutated(by_name["restart"], forgetful))
    assert (verdict, "wants no data" in reason) == (Verdict.PASS, True)
    unseen = remark(Transcript("restart", broke="nobody can restart the VTN"))
    assert unseen == (Verdict.PASS, "Not all was seen of the restart: nobody can restart the VTN.")


def test_signatures_that_nobody_can_require_are_not_observable(setting):
    """Without an operator nobody requires a VEN to sign."""
    known = setting.operator.provide("somebody who may sign")
    alone = replace(setting, operator=PersonOperator((known,)))
    transcript = play("signatures", DIALOGUES["signatures"], alone)
    (result, *_) = judged([check for check in CHECKS if check.dialogue == "signatures"], [transcript], Profile())
    assert result.verdict is Verdict.NOT_OBSERVABLE
    assert "nobody is there to ask" in result.reason


def test_signatures_that_the_profile_does_not_have_are_not_asked_for(transcripts):
    results = judged(CHECKS, transcripts, Profile(frozenset({"signatures"})))
    verdicts = {result.rule: result.verdict for result in results if result.rule in ("SE-08", "SE-09", "SE-10")}
    assert set(verdicts.values()) == {Verdict.NOT_APPLICABLE}
    assert len(verdicts) == 3


def test_nonces_that_are_not_remembered_are_noted_and_no_fault(transcripts):
    """To remember them is left to the receiver (SE-10)."""
    (transcript,) = (one for one in transcripts if one.dialogue == "signatures")
    check = next(check for check in CHECKS if check.rule == "SE-10")
    assert check.of_transcript(transcript).reason == "", "our own VTN remembers them"
    forgetful = mutated(transcript, _m("SE-10", "signatures", "replay:again", _let_in))
    result = check.of_transcript(forgetful)
    assert result.verdict is Verdict.PASS
    assert "nonces are not remembered" in result.reason
