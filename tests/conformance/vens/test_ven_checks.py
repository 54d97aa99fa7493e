"""The test of the test: each check catches a VEN with one deliberate fault, and the others stay green."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa

from conformance import judge, keys
from conformance import templates as t
from conformance.check import EVERY
from conformance.damage import with_text
from conformance.dialogues.profile_a import VEN_OF_2_0_A
from conformance.profile import Profile
from conformance.runner import judged
from conformance.signing import PROTECTION
from conformance.vens import messages as m
from conformance.vens.checks import CHECKS
from conformance.verdict import Verdict
from core.clock import machine_now
from support.mutations import Mutation, mutated, same
from support.ven_mutations import (
    by,
    code,
    event_code,
    header,
    instead,
    moved,
    posted_to,
    said,
    signed,
    signed_anew,
    silent,
    spaced,
    steady,
    stored,
    took,
    ven_of,
)


def _m(rule, dialogue, step, change, *also, **facts):
    return Mutation(rule, dialogue, step, change, frozenset(also), facts=facts)


_TOASTER = (
    "<ei:reportSubject><power:endDeviceAsset><power:mrid>Toaster</power:mrid></power:endDeviceAsset></ei:reportSubject>"
)
_BEGIN = "<xcal:dtstart><xcal:date-time>"
_START = "<xcal:dtstart>.*?</xcal:dtstart>"
_NINE = "<xcal:duration><xcal:duration>PT9H</xcal:duration></xcal:duration>"
_INTERVAL = (
    "(<ei:interval>)(.*?)(<xcal:duration>[^/]*?<xcal:duration>[^<]*</xcal:duration></xcal:duration>)(.*?</ei:interval>)"
)
_ENDLESS = "<xcal:duration>PT0S</xcal:duration>"
_AN_HOUR = "<xcal:duration>PT1H</xcal:duration>"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def _late(request_id):
    return lambda exchange: t.update_report(ven_of(exchange), [t.data(request_id)])


def _opt(**parts):
    return lambda exchange: t.create_opt(ven_of(exchange), **parts)


def _ramped_opt(exchange):
    return with_text(t.create_opt(ven_of(exchange)), "</xcal:properties>", m.ramp_up("PT1M") + "</xcal:properties>")


def _toasting_opt(exchange):
    toaster = "<oadr:oadrDeviceClass><power:endDeviceAsset><power:mrid>Toaster</power:mrid></power:endDeviceAsset>"
    return with_text(
        t.create_opt(ven_of(exchange)), "</ei:eiTarget>", f"</ei:eiTarget>{toaster}</oadr:oadrDeviceClass>"
    )


def _created_event(event_id):
    return lambda exchange: t.created_event(ven_of(exchange), [t.EventAnswer(event_id, 0, "r")])


def _poll_again(exchange):
    return t.poll(ven_of(exchange))


def _names_itself(exchange):
    """Say an oadrResponse of 2.0a with a venID."""
    return t.of_2_0_a(replace(m.response("r", "small"), service="EiEvent"))


def _asks_again(exchange):
    return t.of_2_0_a(t.request_event(ven_of(exchange), "r"))


def _one_answer_more(exchange):
    """Answer the first event of what this poll brought, in a message of its own."""
    document = judge.parse(exchange.answer.body)
    if document.name != "oadrDistributeEvent":
        return t.poll(ven_of(exchange))
    request_id = document.text("pyld:requestID")
    return t.created_event(ven_of(exchange), [t.EventAnswer(document.events[0].event_id, 0, request_id)])


GENERAL = (
    _m(
        "GN-01",
        "reports",
        "once",
        said("oadrUpdateReport", "</oadr:oadrUpdateReport>", "<oadr:odd/></oadr:oadrUpdateReport>"),
    ),
    _m("GN-02", "polling", "at rest", said("oadrPoll", ' ei:schemaVersion="2.0b"', "")),
    _m(
        "GN-03",
        "polling",
        "at rest",
        said("oadrPoll", "<oadr:oadrPayload ", f'<oadr:oadrPayload xmlns:i="{_XSI}" i:schemaLocation="a b" '),
    ),
    _m("GN-04", "reports", "once", said("oadrUpdateReport", r"(T\d\d:\d\d:\d\d(?:\.\d+)?)Z", r"\1")),
    _m("GN-04", "wrong messages", "fractions", event_code("of fractions", 459)),
    _m("GN-05", "wrong messages", "lengths", event_code("of a month", 459)),
    _m(
        "GN-05",
        "reports",
        "once",
        said("oadrUpdateReport", r"<xcal:duration>PT\d+[SMH]</xcal:duration>", "<xcal:duration>PT0.5S</xcal:duration>"),
        "GN-01",
    ),
    _m(
        "GN-06",
        "reports",
        "metadata",
        said("oadrCreatedReport", r"<pyld:requestID>[^<]*</pyld:requestID>", "<pyld:requestID>None</pyld:requestID>"),
    ),
    _m("GN-07", "polling", "at rest", said("oadrPoll", "<ei:venID>[^<]*<", "<ei:venID>other<")),
    _m("GN-08", "wrong messages", "foreign ven", code("oadrCreatedReport", 200)),
    _m("GN-08", "wrong messages", "foreign vtn", code("oadrCreatedEvent", 200), "EV-43"),
    _m("GN-09", "wrong messages", "other case", code("oadrCreatedEvent", 200), "EV-43"),
    _m("GN-10", "signals", "spelling", event_code("spelled", 462)),
    _m("GN-11", "faults", "faulty:over:oadrCreatedEvent", event_code("bad", 200)),
    _m("GN-13", "wrong messages", "empty", event_code("with empty", 459)),
    _m("GN-14", "faults", "faulty:unsupported signal:oadrCreatedEvent", event_code("bad", 459), "EV-51"),
    _m("GN-15", "wrong messages", "unharmed", silent("oadrCreatedEvent")),
)

EVENTS = (
    _m("EV-40", "answers", "again", said("oadrCreatedEvent", "(<ei:eventID>)first", r"\1another")),
    _m("EV-41", "answers", "new", said("oadrCreatedEvent", "(<ei:eventID>)first", r"\1quiet"), "EV-40", "EV-54"),
    _m("EV-42", "faults", "faulty:unknown resource:oadrPoll", instead("oadrPoll", _one_answer_more)),
    _m("EV-43", "answers", "one id", said("oadrCreatedEvent", "<ei:eventResponse>.*</ei:eventResponse>", ""), "EV-45"),
    _m("EV-44", "answers", "again", said("oadrCreatedEvent", r"(<ei:eventResponse>.*?<pyld:requestID>)[^<]*", r"\1x")),
    _m("EV-45", "answers", "one id again", silent("oadrCreatedEvent")),
    _m("EV-49", "faults", "faulty:unknown market:oadrCreatedEvent", event_code("bad", 459)),
    _m("EV-50", "faults", "faulty:unknown resource:oadrCreatedEvent", event_code("bad", 200)),
    _m("EV-51", "faults", "faulty:unsupported type:oadrCreatedEvent", event_code("bad", 200)),
    _m("EV-52", "faults", "faulty:unknown device class:oadrCreatedEvent", event_code("bad", 462)),
    _m("EV-53", "faults", "faulty:unknown device class:oadrCreatedEvent", event_code("good", 469)),
    _m("EV-54", "answers", "new", event_code("first", 459)),
    _m("EV-55", "answers", "changed", event_code("first", 450)),
    _m("EV-56", "answers", "old", event_code("first", 200)),
    _m("EV-57", "cancellations", "stopped", event_code("running", 459)),
    _m("EV-58", "cancellations", "never known", event_code("never", 452)),
    _m(
        "EV-59",
        "cancellations",
        "after that",
        said("oadrCreatedEvent", "(<ei:eventID>)after that", r"\1to be cancelled"),
        "EV-60",
    ),
    _m("EV-60", "cancellations", "running", said("oadrCreatedEvent", "(<ei:eventID>)running", r"\1to be left out")),
    _m("EV-61", "signals", "random start", event_code("random", 459)),
    _m("EV-66", "signals", "endless", event_code("endless", 459)),
    _m("EV-67", "signals", "target:one of two:oadrCreatedEvent", event_code("for its", 462)),
    _m("EV-68", "signals", "targets:ours, one of two classes:oadrCreatedEvent", event_code("for ours, one", 469)),
    _m("EV-68", "signals", "targets:theirs, own class:oadrCreatedEvent", event_code("for theirs", 200)),
    _m("EV-70", "signals", "signal:ELECTRICITY_PRICE:oadrCreatedEvent", event_code("ELEC", 460)),
    _m("EV-72", "joining", "our metadata", posted_to("oadrRequestEvent", "EiReport"), "TR-03"),
)

REGISTRATION = (
    _m(
        "RG-01",
        "renewing",
        "asked again",
        said("oadrResponse", "oadrResponse", "oadrRequestReregistration"),
        "RG-09",
        "GN-01",
        "GN-15",
    ),
    _m(
        "RG-03",
        "joining",
        "joining",
        said(
            "oadrCreatePartyRegistration",
            "</pyld:requestID>",
            "</pyld:requestID><ei:venID>x</ei:venID>",
        ),
    ),
    _m(
        "RG-04",
        "joining",
        "joining",
        said("oadrCreatePartyRegistration", "(<oadr:oadrHttpPullModel>)true", r"\1false"),
        "PL-01",
    ),
    _m(
        "RG-06",
        "renewing",
        "asked again",
        said("oadrCreatePartyRegistration", "<ei:registrationID>[^<]*</ei:registrationID>", ""),
    ),
    _m("RG-07", "joining", "our metadata", silent("oadrRequestEvent")),
    _m("RG-12", "outages", "back", silent("oadrCreatePartyRegistration")),
    _m("RG-09", "renewing", "asked again", code("oadrResponse", 459)),
    _m("RG-10", "leaving", "cancelled:oadrPoll", moved("gone:oadrPoll")),
    _m(
        "RG-11",
        "renewing",
        "cancel:wrong registration:oadrCanceledPartyRegistration",
        code("oadrCanceledPartyRegistration", 200),
    ),
    _m("RG-16", "leaving", "cancelled", posted_to("oadrCanceledPartyRegistration", "EiReport"), "TR-03"),
)

WIRE = (
    _m(
        "PL-01",
        "joining",
        "joining",
        said("oadrCreatePartyRegistration", "(<oadr:oadrHttpPullModel>)true", r"\1false"),
        "RG-04",
    ),
    _m("PL-05", "polling", "three wait", spaced(4.0)),
    _m("PL-06", "polling", "at rest", spaced(0.5), "PL-10"),
    _m("PL-08", "polling", "three wait", silent("oadrRegisteredReport")),
    _m("PL-09", "polling", "at rest", instead("oadrPoll", lambda exchange: t.request_event(ven_of(exchange)))),
    _m("PL-10", "polling", "at rest", spaced(6.0)),
    _m("TR-02", "joining", "joining", said("oadrCreatePartyRegistration", "simpleHttp", "smtp"), "GN-01"),
    _m("TR-03", "polling", "at rest", posted_to("oadrPoll", "EiEvent")),
    _m("TR-04", "polling", "at rest", by("PUT")),
    _m("TR-06", "polling", "at rest", header("Content-Type", "text/xml")),
    _m("TR-06", "polling", "at rest", header("Transfer-Encoding", "chunked")),
    _m("TR-06", "polling", "at rest", header("Content-Length", None)),
    _m("TR-07", "polling", "at rest", said("oadrPoll", "\"UTF-8\"|\"utf-8\"|'utf-8'|'UTF-8'", '"US-ASCII"')),
    _m("TR-08", "polling", "at rest", header("Accept", "text/html")),
    _m("TR-10", "polling", "slow", silent("oadrRegisteredReport")),
    _m("TR-11", "polling", "busy", spaced(0.5)),
    _m("TR-12", "reports", "twice", code("oadrCreatedReport", 452)),
    _m("SX-11", "hostile answers", "alive", silent("oadrCreatedEvent")),
)

REPORTS = (
    _m("RP-01", "joining", "joining", silent("oadrRegisterReport"), "RP-02", "RG-07"),
    _m("RP-02", "joining", "our metadata", code("oadrRegisteredReport", 459)),
    _m("RP-04", "joining", "joining", said("oadrRegisterReport", "METADATA_HISTORY_USAGE", "HISTORY_USAGE")),
    _m(
        "RP-05",
        "joining",
        "joining",
        said("oadrRegisterReport", "<ei:reportSpecifierID>[^<]*<", "<ei:reportSpecifierID>same<"),
    ),
    _m("RP-06", "joining", "joining", said("oadrRegisterReport", "<ei:reportRequestID>0<", "<ei:reportRequestID>1<")),
    _m(
        "RP-07",
        "joining",
        "joining",
        said("oadrRegisterReport", "<oadr:oadrMaxPeriod>[^<]*<", "<oadr:oadrMaxPeriod>P900D<"),
    ),
    _m("RP-08", "joining", "joining", said("oadrRegisterReport", "Direct Read", "Estimated")),
    _m("RP-09", "joining", "joining", said("oadrRegisterReport", "(</ei:rID>)", rf"\1{_TOASTER}")),
    _m(
        "RP-11",
        "joining",
        "joining",
        said("oadrRegisterReport", "METADATA_TELEMETRY_STATUS", "METADATA_HISTORY_GREENBUTTON"),
    ),
    _m("RP-13", "reports", "metadata", silent("oadrUpdateReport")),
    _m("RP-14", "reports", "metadata", silent("oadrRegisterReport")),
    _m("RP-20", "reports", "not offered", code("oadrCreatedReport", 200)),
    _m("RP-24", "reports", "once", silent("oadrUpdateReport")),
    _m("RP-25", "reports", "periodic", spaced(4000.0)),
    _m("RP-27", "reports", "too fine", code("oadrCreatedReport", 200)),
    _m(
        "RP-31",
        "reports",
        "periodic",
        said(
            "oadrCreatedReport", "<oadr:oadrPendingReports>.*</oadr:oadrPendingReports>", "<oadr:oadrPendingReports/>"
        ),
    ),
    _m("RP-40", "reports", "once", said("oadrUpdateReport", "TELEMETRY_USAGE", "METADATA_TELEMETRY_USAGE")),
    _m("RP-41", "reports", "once", said("oadrUpdateReport", rf"(<oadr:oadrReport>{_BEGIN})\d{{4}}", r"\g<1>2020")),
    _m("RP-42", "reports", "twice", said("oadrUpdateReport", _INTERVAL, r"\1\2\3\4\1\2\4")),
    _m("RP-44", "reports", "once", said("oadrUpdateReport", rf"(<ei:interval>){_START}", r"\1")),
    _m(
        "RP-45",
        "reports",
        "once",
        said("oadrUpdateReport", rf"(</xcal:dtstart>)(<strm:intervals.*?<ei:interval>){_START}", rf"\1{_NINE}\2"),
        "RP-44",
    ),
    _m(
        "RP-48",
        "reports",
        "once",
        said("oadrUpdateReport", "<oadr:oadrDataQuality>[^<]*<", "<oadr:oadrDataQuality>bad<"),
        "GN-01",
    ),
    _m(
        "RP-49",
        "reports",
        "once",
        said("oadrUpdateReport", "(</ei:rID>)", r"\1<ei:confidence>120</ei:confidence>"),
        "GN-01",
    ),
    _m("RP-60", "reports", "cancel", code("oadrCanceledReport", 459)),
    _m(
        "RP-61",
        "reports",
        "ended:to be cancelled:oadrPoll",
        instead("oadrPoll", _late("to be cancelled")),
        "RP-40",
        "RP-60",
    ),
    _m("RP-62", "reports", "ended:to be ended:oadrPoll", instead("oadrPoll", _late("to be ended")), "RP-40"),
)

_STATE = "<oadr:oadrLoadControlState><oadr:oadrCapacity><oadr:oadrCurrent>1</oadr:oadrCurrent></oadr:oadrCapacity>"

SPANS = (
    _m("RP-03", "spans", "void:oadrPoll", instead("oadrPoll", _late("several"))),
    _m("RP-28", "spans", "after the span:oadrPoll", instead("oadrPoll", _late("later"))),
    _m("RP-28", "spans", "spans", said("oadrUpdateReport", rf"({_BEGIN})\d{{4}}", r"\g<1>2020")),
    _m("RP-28", "spans", "spans", said("oadrUpdateReport", rf"({_BEGIN})\d{{4}}", r"\g<1>2090")),
    _m("RP-28", "spans", "spans", said("oadrUpdateReport", "<ei:reportRequestID>later<", "<ei:reportRequestID>x<")),
    _m("RP-29", "spans", "past", said("oadrUpdateReport", rf"({_BEGIN})\d{{4}}", r"\g<1>2020")),
    _m("RP-30", "spans", "too much past", code("oadrCreatedReport", 452)),
    _m("RP-30", "spans", "too much past", silent("oadrCreatedReport")),
    _m("RP-46", "spans", "spans", said("oadrUpdateReport", r"<ei:interval>.*</ei:interval>(?=<ei:interval>)", "")),
    _m(
        "RP-50",
        "spans",
        "spans",
        said(
            "oadrUpdateReport",
            "(<ei:interval>(?:(?!</ei:interval>).)*?</oadr:oadrManualOverride>)(?:(?!</ei:interval>).)*?"
            "(</oadr:oadrPayloadResourceStatus>)",
            rf"\1{_STATE}</oadr:oadrLoadControlState>\2",
            count=1,
        ),
    ),
    _m("RP-51", "reports", "once", said("oadrUpdateReport", _INTERVAL, r"\1\2\4")),
    _m("RP-51", "reports", "once", said("oadrUpdateReport", rf"({_BEGIN})\d{{4}}", r"\g<1>2020")),
)

_CHOSEN = "<ei:eventID>chosen<"
_OPT_TYPE = "<ei:optType>opt(In|Out)<"

OPTS = (
    _m("OP-01", "opts", "opted out", instead("oadrCreateOpt", _created_event("chosen"))),
    _m("OP-01", "opts", "opted out", said("oadrCreateOpt", _CHOSEN, "<ei:eventID>another<")),
    _m("OP-01", "opts", "opted out", said("oadrCreateOpt", _OPT_TYPE, "<ei:optType>optIn<")),
    _m("OP-01", "opts", "opted out", said("oadrCreateOpt", "(<ei:modificationNumber>)0", r"\g<1>7")),
    _m("OP-02", "polling", "at rest", instead("oadrPoll", _opt(available=None))),
    _m("OP-03", "polling", "at rest", instead("oadrPoll", _ramped_opt)),
    _m("OP-04", "opts", "back", said("oadrCancelOpt", "<ei:optID>[^<]*<", "<ei:optID>another<")),
    _m("OP-04", "opts", "back", silent("oadrCancelOpt")),
    _m("OP-04", "opts", "away", said("oadrCreateOpt", "<ei:optID>[^<]*<", "<ei:optID><")),
    _m("OP-05", "polling", "at rest", instead("oadrPoll", _opt(vens=["another VEN"]))),
    _m("OP-05", "polling", "at rest", instead("oadrPoll", _opt(resources=["no such resource"]))),
    _m("OP-08", "opts", "opted in", instead("oadrCreateOpt", _created_event("chosen"))),
    _m("OP-08", "opts", "opted in", said("oadrCreateOpt", "(<ei:modificationNumber>)1", r"\g<1>0")),
    _m("OP-10", "opts", "opted unasked:oadrPoll", instead("oadrPoll", _opt(available=None, event=("unasked", 0)))),
    _m("OP-11", "polling", "at rest", instead("oadrPoll", _toasting_opt)),
    _m("OP-12", "opts", "away", said("oadrCreateOpt", "<xcal:duration>PT?[^<]*</xcal:duration>", _ENDLESS)),
    _m("OP-12", "opts", "away", said("oadrCreateOpt", "<xcal:duration>PT?[^<]*</xcal:duration>", _AN_HOUR)),
    _m("OP-12", "opts", "away", said("oadrCreateOpt", r"(<xcal:date-time>)\d{4}", r"\g<1>2020")),
    _m("OP-12", "opts", "away", silent("oadrCreateOpt"), "OP-04"),
    _m(
        "OP-13",
        "polling",
        "at rest",
        instead(
            "oadrPoll",
            _opt(opt_id="of an event", available=None, event=("e", 0)),
            lambda exchange: t.cancel_opt(ven_of(exchange), "of an event"),
        ),
    ),
)

PUSHED = (
    _m("GN-12", "pushes", "invalid", took(200)),
    _m("RG-13", "leaving", "unregistered", took(200, t.response("v").body), "GN-07"),
    _m("TR-04", "pushes", "another method", took(405)),
    _m("TR-05", "pushes", "unknown service", took(406)),
    _m("TR-05", "pushes", "document type", took(200)),
    _m("TR-13", "answers", "new", took(200, t.response("v").body), "GN-07"),
    _m("SX-12", "pushes", "alive", silent("oadrCreatedEvent"), "PL-01"),
)
"""Faults of a VEN that is pushed to."""

_OF_OTHERS = "unprotected: of tomorrow"


def _opting_into(event_id):
    return signed(lambda exchange: t.created_event(ven_of(exchange), [t.EventAnswer(event_id, 0, "r")]))


_BACK = "back:bad:expired:oadrPoll"


def _not_with(server):
    """Have the VEN say nothing to a server that it was shown."""
    return lambda exchange: replace(exchange, step="back") if exchange.step.startswith(server) else exchange


def _shown_by(key, digest=None):
    """Return the certificate of a VEN (PEM)."""
    name, now = x509.Name([]), machine_now()
    builder = x509.CertificateBuilder().issuer_name(name).subject_name(name).serial_number(1)
    builder = builder.not_valid_before(now).not_valid_after(now).public_key(key.public_key())
    return builder.sign(key, digest or hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


SIGNED = (
    _m("SE-08", "signatures", "bad:unsigned:oadrPoll", instead("oadrPoll", _opting_into("bad: unsigned"))),
    _m("SE-08", "signatures", "bad:moved:oadrPoll", instead("oadrPoll", _opting_into("bad: moved"))),
    _m("SE-08", "signatures", "none:oadrPoll", instead("oadrPoll", _opting_into("bad: of a foreign key"))),
    _m("SE-08", "signatures", "after bad", instead("oadrCreatedEvent", signed(_poll_again))),
    _m("SE-09", "joining", "joining", said("oadrRegisterReport", "<ds:Signature .*</ds:Signature>", "")),
    _m("SE-09", "signatures", "none", said("oadrPoll", "<ds:KeyInfo>.*</ds:KeyInfo>", "")),
    _m("SE-09", "joining", "joining", said("oadrRegisterReport", "Direct Read", "Estimated"), "RP-08"),
    _m("SE-09", "signatures", "none", signed_anew(covers=(PROTECTION,))),
    _m("SE-10", "signatures", "none", signed_anew(protected=False)),
    _m("SE-10", "signatures", "none", signed_anew(later=timedelta(hours=-1))),
    _m("SE-10", "signatures", "none", stored("oadrPoll")),
    _m("SE-10", "signatures", "unprotected:of tomorrow:oadrPoll", instead("oadrPoll", _opting_into(_OF_OTHERS))),
    _m("SE-10", "signatures", "replay:first:oadrCreatedEvent", instead("oadrCreatedEvent", signed(_poll_again))),
)
"""Faults of a VEN that signs."""

TLS = (
    _m("SE-01", "certificates", _BACK, moved("bad:TLS 1.1:oadrPoll")),
    _m("SE-01", "certificates", _BACK, moved("bad:no encryption:oadrPoll")),
    _m("SE-01", "certificates", "good", _not_with("good:default suites:")),
    _m("SE-02", "certificates", "", same, certificate=_shown_by(rsa.generate_private_key(65537, 1024))),  # noqa: S505
    _m("SE-02", "certificates", "", same, certificate=_shown_by(ec.generate_private_key(ec.SECP192R1()))),
    _m("SE-02", "certificates", "", same, certificate=_shown_by(keys.new_key(), hashes.SHA224())),
    _m("SE-02", "certificates", "", same, certificate=_shown_by(dsa.generate_private_key(2048))),
    _m("SE-02", "certificates", "", same, certificate="no certificate"),
    _m("SE-04", "certificates", _BACK, moved("bad:expired:oadrPoll")),
    _m("SE-05", "certificates", _BACK, moved("bad:foreign authority:oadrPoll")),
    _m("SE-05", "certificates", _BACK, moved("bad:another host:oadrPoll")),
)
"""Faults of a VEN that calls by TLS; its keys are weak on purpose."""

SERVING = (
    _m("SE-03", "certificates", "client", took(200)),
    _m("SE-03", "certificates", "client:expired:nothing", took(406)),
    _m(
        "SE-03",
        "certificates",
        "after other clients",
        said("oadrCreatedEvent", "(<ei:eventID>)after other clients", r"\1of a client with expired"),
        "SE-09",
    ),
    _m("SE-03", "certificates", "after other clients", event_code("after", 459), "SE-09"),
)
"""Faults of a VEN that serves by TLS."""

OLD = (
    _m("PA-02", VEN_OF_2_0_A, "changed", instead("oadrRequestEvent", _poll_again)),
    _m("PA-02", VEN_OF_2_0_A, "new", posted_to("oadrRequestEvent", "2.0b/EiEvent")),
    _m("PA-02", VEN_OF_2_0_A, "new", said("oadrRequestEvent", "oadr-2.0a", "oadr-2.0b")),
    _m("PA-02", VEN_OF_2_0_A, "none", instead("oadrRequestEvent", _names_itself)),
    _m("PA-05", VEN_OF_2_0_A, "changed", said("oadrCreatedEvent", "(<ei:eventID>)also", r"\1another")),
    _m("PA-05", VEN_OF_2_0_A, "new", instead("oadrCreatedEvent", _asks_again)),
)
"""Faults of a VEN of 2.0a."""

MUTATIONS = (*GENERAL, *EVENTS, *REGISTRATION, *WIRE, *REPORTS, *SPANS, *OPTS)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_fault_is_caught_and_nothing_else(transcripts, mutation):
    _catch(transcripts, mutation)


@pytest.mark.parametrize("mutation", PUSHED, ids=str)
def test_a_fault_of_who_is_pushed_to_is_caught_and_nothing_else(pushed, mutation):
    _catch(pushed, mutation)


@pytest.mark.parametrize("mutation", SIGNED, ids=str)
def test_a_fault_of_who_signs_is_caught_and_nothing_else(request, mutation):
    _catch(request.getfixturevalue("signed"), mutation)


@pytest.mark.parametrize("mutation", OLD, ids=str)
def test_a_fault_of_a_ven_of_2_0_a_is_caught_and_nothing_else(of_2_0_a, mutation):
    _catch(of_2_0_a, mutation)


def test_a_ven_of_2_0_a_without_a_fault_breaks_no_rule(of_2_0_a):
    assert [transcript.dialogue for transcript in of_2_0_a] == [VEN_OF_2_0_A]
    results = {result.rule: result for result in judged(CHECKS, of_2_0_a, Profile())}
    assert {results[rule].verdict for rule in ("PA-02", "PA-05")} == {Verdict.PASS}
    assert Verdict.FAIL not in {result.verdict for result in results.values()}


@pytest.mark.parametrize("mutation", TLS, ids=str)
def test_a_fault_of_who_calls_by_tls_is_caught_and_nothing_else(request, mutation):
    _catch(request.getfixturevalue("signed"), mutation)


@pytest.mark.parametrize("mutation", SERVING, ids=str)
def test_a_fault_of_who_serves_by_tls_is_caught_and_nothing_else(request, mutation):
    _catch(request.getfixturevalue("signed_and_pushed"), mutation)


def test_who_does_not_ask_for_events_where_it_was_forgotten_is_caught(transcripts):
    """The check begins with the first registration, and goes on with the one after an outage (RG-07)."""
    forgetful = _m("RG-07", "outages", "back", silent("oadrRequestEvent"))
    played = [mutated(each, forgetful) if each.dialogue == "outages" else each for each in transcripts]
    (result,) = judged([check for check in CHECKS if check.rule == "RG-07"], played, Profile())
    assert (result.verdict, result.reason) == (
        Verdict.FAIL,
        "after its registration the VEN sent no oadrRequestEvent",
    )


def test_the_first_registration_of_who_was_registered_before_is_not_seen(transcripts):
    """Whose registrationID it has nobody can tell (RG-03)."""
    (joining,) = (each for each in transcripts if each.dialogue == "joining")
    old = said(
        "oadrCreatePartyRegistration", "</pyld:requestID>", "</pyld:requestID><ei:registrationID>x</ei:registrationID>"
    )
    result = next(check for check in CHECKS if check.rule == "RG-03").of_transcript(
        mutated(joining, _m("RG-03", "joining", "joining", old))
    )
    assert (result.verdict, "from before" in result.reason) == (Verdict.NOT_OBSERVABLE, True)


def test_an_opt_that_is_said_otherwise_is_told_so(transcripts):
    (opts,) = (each for each in transcripts if each.dialogue == "opts")
    otherwise = _m("OP-01", "opts", "opted out", instead("oadrCreateOpt", _created_event("chosen")))
    result = next(check for check in CHECKS if check.rule == "OP-01").of_transcript(mutated(opts, otherwise))
    assert (result.verdict, "but by oadrCreatedEvent" in result.reason) == (Verdict.FAIL, True)


def test_nonces_that_are_not_remembered_are_noted_and_no_fault(request):
    """To remember them is left to the receiver (SE-10)."""
    played = request.getfixturevalue("signed")
    (transcript,) = (each for each in played if each.dialogue == "signatures")
    opting = instead("oadrPoll", _opting_into("delivered twice"))
    forgetful = mutated(transcript, _m("SE-10", "signatures", "replay:again:oadrPoll", opting))
    result = next(check for check in CHECKS if check.rule == "SE-10").of_transcript(forgetful)
    assert result.verdict is Verdict.PASS
    assert "nonces are not remembered" in result.reason


def test_an_answer_to_a_push_that_is_noted_late_was_said_before(pushed):
    """By threads of the kit, the next request may be noted first (RG-09)."""
    (renewing,) = (each for each in pushed if each.dialogue == "renewing")
    late = sorted(renewing, key=lambda each: each.step == "asked again:oadrResponse")
    result = next(check for check in CHECKS if check.rule == "RG-09").of_transcript(
        replace(renewing, exchanges=tuple(late))
    )
    assert (result.verdict, result.reason) == (Verdict.PASS, "")


def _catch(transcripts, mutation):
    (transcript,) = (each for each in transcripts if each.dialogue == mutation.dialogue)
    checks = [check for check in CHECKS if check.dialogue in (EVERY, mutation.dialogue)]
    results = judged(checks, [mutated(steady(transcript), mutation)], Profile())
    failed = {result.rule: result.reason for result in results if result.verdict is Verdict.FAIL}
    assert failed.keys() == {mutation.rule, *mutation.also}, failed
    caught = next(result for result in results if result.rule == mutation.rule)
    assert caught.exchanges, "a failure shows its messages"
    assert caught.reason


def test_every_check_has_a_fault_to_catch():
    mutations = (*MUTATIONS, *PUSHED, *SIGNED, *TLS, *SERVING, *OLD)
    assert {check.rule for check in CHECKS} - {mutation.rule for mutation in mutations} == set()
