"""The dialogues with a VEN, in the order in which they are played: one life of a registration.

A dialogue only speaks and waits; what it means is judged by the checks.
"""

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

from conformance import damage, forgery, judge, keys
from conformance import templates as t
from conformance.dialogues.profile_a import VEN_OF_2_0_A
from conformance.exchange import Answer
from conformance.judge import Document
from conformance.listener import Saying
from conformance.signing import Signer
from conformance.stage import BrokenOffError
from conformance.templates import Message
from conformance.vens import messages as m
from conformance.vens.desk import Desk, answer_of
from conformance.vens.impostors import clients, impostors
from conformance.vocabulary import DEVICE_CLASSES
from core.errors import InvalidError

Dialogue = Callable[[Desk], None]

_SLOW_S: Final = 4.5
_SEVERAL: Final = 3
"""So many intervals of a report."""
_PAST_S: Final = 7200
_MOST_PAST_S: Final = 20 * 365 * 86_400
"""Of a VEN that has more of the past than that, nobody can ask too much."""
_MOST_PATIENCE: Final = 4
_AWAY_S: Final = 5400
_NO_CLASS: Final = "No_Such_Class"
_DEEP: Final = 20_000
_MUCH: Final = 24 << 20


def joining(desk: Desk) -> None:
    """Wait for the VEN, let it register, and exchange what comes first; one of 2.0a does not register.

    One of 2.0b that has a registration from before may say other things first, until it has heard that it is unknown.
    """
    since = desk.step("joining")

    def first() -> Sequence[Document]:
        return desk.heard("oadrRequestEvent" if desk.speaks_2_0_a else "oadrCreatePartyRegistration", since)

    desk.awaited(first, desk.rules.first_s)
    if desk.speaks_2_0_a:
        desk.rename(VEN_OF_2_0_A)
        profile_a(desk)
        return
    if not desk.heard("oadrCreatePartyRegistration", since):
        raise BrokenOffError(f"it sent no oadrCreatePartyRegistration within {desk.rules.first_s:.0f} s")
    offered = desk.wait("oadrRegisterReport", since)
    desk.fact("resources", sorted({desk.rules.resource, *offered.texts(".//ei:reportDataSource/ei:resourceID")} - {""}))
    since = desk.step("our metadata")
    desk.tell(t.register_report(desk.ven_id, request_id=desk.token()))
    desk.settle()


def profile_a(desk: Desk) -> None:
    """List events to a VEN of 2.0a: new ones, one changed, one cancelled, and none."""
    plain = desk.event(extra=m.notification("PT0S"), signals=(m.Signal(current=0.0),))
    first, also = replace(plain, id="first"), replace(plain, id="also", start=plain.start + timedelta(hours=2))
    desk.list_events("new", first, also, replace(also, id="quiet", always=False))
    desk.list_events("changed", replace(first, modification=1, comment="changed"), also)
    desk.list_events("cancelled", replace(first, modification=2, status="cancelled"), also)
    desk.list_events("none")


def polling(desk: Desk) -> None:
    """Let three messages wait, then nothing for a while; be busy, and be slow."""
    if desk.address:
        return
    desk.step("three wait")
    desk.tell(*(t.register_report(desk.ven_id, request_id=desk.token()) for _ in range(3)))
    desk.settle()
    desk.step("at rest")
    desk.settle(polls=8)
    desk.step("busy")
    desk.say_next("oadrPoll", *(Saying(answer_of(None, 503)) for _ in range(3)))
    desk.settle(polls=1)
    desk.step("slow")
    late = desk.signed(t.register_report(desk.ven_id, request_id="after a pause"))
    desk.say_next("oadrPoll", Saying(answer_of(late), _SLOW_S))
    desk.settle(polls=1)


def wrong_messages(desk: Desk) -> None:
    """Say what is for somebody else, what a VTN never says, and what is odd but right."""
    plain = desk.event(id="plain")
    desk.deliver("foreign vtn", desk.event(id="of another VTN"), vtn_id="Another-VTN")
    if (other := desk.rules.vtn_id.swapcase()) != desk.rules.vtn_id:
        desk.deliver("other case", desk.event(id="of a VTN in capitals"), vtn_id=other)
    desk.step("foreign ven")
    desk.tell(t.create_report("another VEN", "for another", request_id="for another"))
    desk.settle()
    for misplaced in (t.poll(desk.ven_id), t.request_event(desk.ven_id), t.query("misplaced")):
        desk.step(f"misplaced:{misplaced.name}")
        desk.tell(misplaced)
        desk.settle()
    desk.deliver("unharmed", plain)
    desk.deliver("empty", replace(plain, id="with empty elements", comment=""))
    desk.deliver("fractions", desk.event(id="of fractions", start_text=_with_fraction(desk)))
    month = replace(desk.event(id="of a month"), length="P1M", signals=(m.Signal(values=((0, 1.0),), length="P1M"),))
    desk.deliver("lengths", replace(plain, id="ramped", extra=m.ramp_up("-PT1M")), month)
    desk.deliver("none")


def _with_fraction(desk: Desk) -> str:
    return m.stamp(desk.now() + timedelta(hours=2)).replace("Z", ".250Z")


def hostile(desk: Desk) -> None:
    """Answer polls with what has the form of an attack; each time the VEN has to come again, unharmed."""
    if desk.address:
        return
    for name, answer in _attacks(desk).items():
        desk.step(f"hostile:{name}")
        desk.say_next("oadrPoll", Saying(answer))
        desk.settle(polls=1)
    desk.deliver("alive", desk.event(id="after all that"))
    desk.deliver("none")


def pushes(desk: Desk) -> None:
    """Push what is no message, what has the form of an attack, and what a listener does not serve."""
    if not desk.address:
        return
    good = desk.delivery(desk.event(id="in a bad message"), request_id="bad")
    for name, spoiled in {
        "cut off": damage.truncated(good),
        "unknown element": damage.with_unknown_element(good),
        "two messages": damage.doubled(good),
    }.items():
        desk.step(f"invalid:{name}")
        desk.post(spoiled)
    desk.step("unknown service")
    desk.post(good, service="EiNothing")
    desk.step("another method")
    desk.post(good, method="GET")
    desk.step("another content type")
    desk.post(good, kind="text/html")
    desk.step("document type")
    desk.post(damage.with_doctype(desk.signed(good)), as_it_is=True)
    deep = replace(good, body=b"<a>" * _DEEP + b"</a>" * _DEEP)
    for name, attack in {"deep": deep, "much": damage.padded(good, _MUCH)}.items():
        desk.step(f"attack:{name}")
        desk.post(attack)
    desk.deliver("alive", desk.event(id="after all that"))
    desk.deliver("none")


def _attacks(desk: Desk) -> Mapping[str, Answer | None]:
    body = m.response("", desk.ven_id).body
    deep = b"<a>" * _DEEP + b"</a>" * _DEEP
    declared = body.replace(b"?>\n", b'?>\n<!DOCTYPE a [<!ENTITY b "c">]>\n', 1)
    kind = ("Content-Type", "application/xml")
    return {
        "no XML": _answer(b"<html>Sorry</html"),
        "DOCTYPE": _answer(declared),
        "deep": _answer(deep),
        "much": _answer(body + b" " * _MUCH),
        "two messages": _answer(body.replace(b"</oadr:oadrSignedObject>", b"<oadr:oadrPoll/></oadr:oadrSignedObject>")),
        "nothing": _answer(b""),
        "another type": Answer(200, (("Content-Type", "text/html"), ("Content-Length", "5")), b"hello"),
        "cut off": Answer(200, (kind, ("Content-Length", str(len(body) + 100)), ("Connection", "close")), body),
        "closed": None,
        "elsewhere": Answer(302, (("Location", "http://127.0.0.1:9/"), ("Content-Length", "0")), b""),
        "server error": Answer(500, (("Content-Length", "4"),), b"Oops"),
    }


def _answer(body: bytes) -> Answer:
    return Answer(200, (("Content-Type", "application/xml"), ("Content-Length", str(len(body)))), body)


def answers(desk: Desk) -> None:
    """Deliver events that are new, known, changed, old, not to be answered, and several with one requestID."""
    first, quiet = desk.event(id="first"), desk.event(id="quiet", always=False)
    desk.deliver("new", first, quiet)
    desk.deliver("again", first, quiet)
    desk.deliver("changed", replace(first, modification=1, comment="changed"), quiet)
    desk.deliver("old", first, quiet)
    desk.deliver("one id", desk.event(id="with one id"), request_id="the same")
    desk.deliver("one id again", desk.event(id="with one id, too"), request_id="the same")
    desk.deliver("none")


def faults(desk: Desk) -> None:
    """Deliver good events among such that cannot be taken, each in its way."""
    good, also = desk.event(id="good"), desk.event(id="good, too", starts_in_s=7200)
    bad = {
        "unsupported signal": desk.event(id="bad", signals=(m.Signal("x-conformance", "level"),)),
        "unsupported type": desk.event(id="bad", signals=(m.Signal("SIMPLE", "setpoint"),)),
        "unknown resource": desk.event(id="bad", target=t.element("ei:resourceID", "no such resource")),
        "unknown device class": desk.event(id="bad", signals=(m.Signal(device_classes=(_NO_CLASS,)),)),
        "unknown market": desk.event(id="bad", market_context="http://conformance.example/unknown"),
        "over": desk.event(id="bad", starts_in_s=-90_000, status="near"),
    }
    for name, event in bad.items():
        token = desk.token()
        desk.deliver(f"faulty:{name}", replace(good, id=f"good {token}"), replace(event, id=f"bad {token}"), also)
    desk.deliver("none")


def signals(desk: Desk) -> None:
    """Deliver the three signals that each VEN takes, an event without end, targets, tests, and other spellings."""
    kinds = {
        "SIMPLE": m.Signal("SIMPLE", "level", ((1800, 1.0), (1800, 2.0))),
        "ELECTRICITY_PRICE": m.Signal("ELECTRICITY_PRICE", "price", ((1800, 0.25), (1800, 0.31))),
        "LOAD_DISPATCH": m.Signal("LOAD_DISPATCH", "setpoint", ((3600, 1500.0),)),
    }
    for name, signal in kinds.items():
        desk.deliver(f"signal:{name}", desk.event(id=f"{name} {desk.token()}", signals=(signal,)))
    desk.deliver("endless", desk.event(id="endless", signals=(m.Signal(values=((0, 1.0),)),), length="PT0S"))
    ours = t.element("ei:venID", desk.ven_id)
    theirs = t.element("ei:venID", "another VEN")
    desk.deliver("target:ours", desk.event(id="for it", target=ours))
    desk.deliver("target:theirs", desk.event(id="for another", target=theirs))
    if desk.rules.resource:
        both = t.element("ei:resourceID", desk.rules.resource) + theirs
        desk.deliver("target:one of two", desk.event(id="for its resource", target=both))
    if desk.rules.device_class:
        own, no = m.Signal(device_classes=(desk.rules.device_class,)), m.Signal(device_classes=(_NO_CLASS,))
        other = next(name for name in DEVICE_CLASSES if name != desk.rules.device_class)
        either = m.Signal(device_classes=(other, desk.rules.device_class))
        for name, target, signal in (
            ("ours, own class", ours, own),
            ("ours, one of two classes", ours, either),
            ("ours, no class of it", ours, no),
            ("theirs, own class", theirs, own),
        ):
            desk.deliver(f"targets:{name}", desk.event(id=f"for {name}", target=target, signals=(signal,)))
    if (respelled := _respelled(desk.rules.market_context)) is not None:
        desk.deliver("spelling", desk.event(id="spelled otherwise", market_context=respelled))
    desk.deliver("random start", desk.event(id="random", extra=m.startafter("PT5M")))
    desk.deliver("none")


def _respelled(context: str) -> str | None:
    """Return another spelling of a market context that means the same (GN-10), None if it has no host to spell."""
    scheme, hosted, rest = context.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme.upper()}://{host.upper()}{slash}a/../{path}" if hosted and host else None


def cancellations(desk: Desk) -> None:
    """Cancel an event that it knows, one that it does not, and one by leaving it out."""
    near, left = desk.event(id="to be cancelled"), desk.event(id="to be left out")
    desk.deliver("both", near, left)
    gone = replace(near, modification=1, status="cancelled")
    desk.deliver("cancelled", gone, left)
    desk.deliver("left out")
    desk.deliver("never known", desk.event(id="never heard of", status="cancelled"))
    desk.deliver("after that", desk.event(id="after that"))
    desk.deliver("none")
    running = desk.event(id="running", starts_in_s=0, status="active")
    desk.deliver("running", running)
    desk.deliver("stopped", replace(running, modification=1, status="cancelled"))
    desk.deliver("none")


def opts(desk: Desk) -> None:
    """Have the VEN's user opt out of an event and in again, of one that wants no answer, and for a time."""
    if not desk.user.is_there:
        return
    chosen, quiet = desk.event(id="chosen", starts_in_s=7200), desk.event(id="unasked", starts_in_s=7200, always=False)
    desk.deliver("before opts", chosen, quiet)
    begun = time.monotonic()
    if desk.opts("opted out", "opt-out", chosen.id) is not None:
        slow_s = time.monotonic() - begun
        desk.deliver("changed", replace(chosen, modification=1, comment="changed"), quiet)
        desk.opts("opted in", "opt-in", chosen.id)
        desk.opts("opted unasked", "opt-out", quiet.id, patience_s=min(2 * slow_s, desk.rules.patience_s))
    start = desk.now().replace(microsecond=0) + timedelta(days=1)
    desk.fact("away", {"start": m.stamp(start), "lasts_s": _AWAY_S})
    away = desk.opts("away", "away", m.stamp(start), m.stamp(start + timedelta(seconds=_AWAY_S)))
    if away is not None:
        desk.opts("back", "back", away.text("ei:optID") or "")
    desk.deliver("none")


def reports(desk: Desk) -> None:
    """Ask for what it offers, once and periodically; for what it does not; and end that in three ways."""
    offer = _offered(desk.offers, "TELEMETRY_USAGE")
    since = desk.step("metadata")
    if offer is not None:
        along = m.Want("along", offer.specifier, offer.points, offer.step)
        desk.say_next(
            "oadrRegisterReport",
            lambda document: m.registered_report(desk.ven_id, document.text("pyld:requestID") or "", [along]),
        )
    desk.tell(t.create_report(desk.ven_id, "the metadata", request_id=desk.token()))
    desk.awaited(lambda: desk.heard("oadrRegisterReport", since))
    if offer is not None:
        desk.awaited(lambda: desk.heard("oadrUpdateReport", since))
    desk.settle()
    strange = [m.Want("unknown specifier", "no such specifier", ("no such point",), "PT10S")]
    if offer is not None:
        strange.append(m.Want("unknown point", offer.specifier, ("no such point",), offer.step))
    for want in strange:
        desk.step(f"not offered:{want.id}")
        desk.tell(m.create_report(desk.ven_id, [want], desk.token()))
        desk.settle()
    if offer is None:
        return
    desk.fact("telemetry", offer.shown | {"asked_at": m.stamp(desk.now())})
    since = desk.step("once")
    _ask(desk, m.Want("once", offer.specifier, offer.points, offer.step))
    desk.awaited(lambda: desk.heard("oadrUpdateReport", since))
    desk.settle()
    since = desk.step("twice")
    request = m.create_report(
        desk.ven_id, [m.Want("asked for twice", offer.specifier, offer.points, offer.step)], "twice"
    )
    desk.tell(request, request)
    desk.awaited(lambda: desk.heard("oadrUpdateReport", since))
    desk.settle(polls=3)
    since = desk.step("too fine")
    _ask(desk, m.Want("too fine", offer.specifier, offer.points, "PT1H", "PT1M", desk.now()))
    desk.settle()
    _periodic(desk, offer)


def _periodic(desk: Desk, offer: "_Offer") -> None:
    """Have data come by itself; end it by a cancellation, and the next one along with an answer."""
    ended: list[str] = []
    for name in ("to be cancelled", "to be ended"):
        since = desk.step(f"periodic:{name}")
        _ask(desk, m.Want(name, offer.specifier, offer.points, offer.step, offer.step, desk.now()))
        wanted = 2
        desk.awaited(lambda: seen if len(seen := desk.heard("oadrUpdateReport", since)) >= wanted else ())  # noqa: B023
        if name == "to be cancelled":
            desk.step("cancel")
            desk.tell(t.cancel_report(desk.ven_id, ["never asked for"], "cancel nothing"))
            desk.settle()
            desk.tell(t.cancel_report(desk.ven_id, ["to be cancelled"], "cancel"))
            desk.settle()
        else:
            since = desk.step("ending")
            desk.say_next(
                "oadrUpdateReport",
                lambda update: m.updated_report(desk.ven_id, update.text("pyld:requestID") or "", "to be ended"),
            )
            desk.awaited(lambda: desk.heard("oadrUpdateReport", since))  # noqa: B023
        ended.append(name)
        desk.fact("ended", ended)
        desk.step(f"ended:{name}")
        desk.pause(3 * offer.step_s / desk.timeline.speed)
        desk.settle()


def _ask(desk: Desk, want: m.Want) -> None:
    desk.tell(m.create_report(desk.ven_id, [want], desk.token()))


class _Offer:
    """A report of a VEN's metadata; lengths are seconds. `holds_s` is how much of the past it has."""

    def __init__(self, report: Document) -> None:
        self.specifier = report.text("ei:reportSpecifierID") or ""
        self.points = tuple(report.texts("oadr:oadrReportDescription/ei:rID"))
        self.step = _rate(report, "oadr:oadrMinPeriod") or "PT10S"
        self.step_s = max(judge.seconds(self.step), 1)
        self.longest_s = max(judge.seconds(_rate(report, "oadr:oadrMaxPeriod") or self.step), self.step_s)
        length = (report.text("xcal:duration/xcal:duration") or "").strip()
        self.holds_s = min(judge.seconds(length), _MOST_PAST_S) if judge.is_duration(length) else 0

    @property
    def shown(self) -> dict[str, Any]:
        """What the checks need of it; JSON."""
        rates = {"step_s": self.step_s, "longest_s": self.longest_s}
        return {"specifier": self.specifier, "points": list(self.points)} | rates


def _rate(report: Document, name: str) -> str | None:
    texts = report.texts(f".//oadr:oadrSamplingRate/{name}/xcal:duration | .//oadr:oadrSamplingRate/{name}")
    return next((text.strip() for text in texts if judge.is_duration(text.strip())), None)


def _offered(offers: Sequence[Document], name: str) -> _Offer | None:
    """Return the report of that name that is offered, None without any."""
    named = [report for report in offers if report.text("ei:reportName") == f"METADATA_{name}"]
    return _Offer(named[0]) if named else None


def spans(desk: Desk) -> None:
    """Ask for the past, for what begins later and ends, for several intervals at once; then have it all made void."""
    past, usage = _offered(desk.offers, "HISTORY_USAGE"), _offered(desk.offers, "TELEMETRY_USAGE")
    if past is not None:
        _ask_for_the_past(desk, past)
    if usage is None:
        return
    paces_s = max(usage.step_s, desk.rules.poll_s)
    lasts_s = 3 * usage.step_s
    if (3 * paces_s + lasts_s) / desk.timeline.speed > _MOST_PATIENCE * desk.rules.patience_s:
        desk.fact("too slow", f"its reports are {usage.step_s} s apart: give more --patience")
        return
    since = desk.step("spans")
    start = (desk.now() + timedelta(seconds=4 * paces_s)).replace(microsecond=0)
    desk.fact("span", {"start": m.stamp(start), "lasts_s": lasts_s, "step_s": usage.step_s})
    later = m.Want("later", usage.specifier, usage.points, usage.step, usage.step, start, f"PT{lasts_s}S")
    several = f"PT{_SEVERAL * usage.step_s}S"
    wants = [later, m.Want("several", usage.specifier, usage.points, usage.step, several, desk.now())]
    if (status := _offered(desk.offers, "TELEMETRY_STATUS")) is not None:
        wants.append(m.Want("status", status.specifier, status.points, status.step, several, desk.now()))
    for want in wants:
        _ask(desk, want)
    desk.timeline.sleep_until(start + timedelta(seconds=lasts_s + 2 * paces_s))
    desk.awaited(lambda: _of(desk, "several", since))
    desk.settle()
    desk.step("after the span")
    desk.timeline.sleep_until(desk.now() + timedelta(seconds=2 * paces_s))
    since = desk.step("voiding")
    desk.tell(t.create_report(desk.ven_id, "the metadata", request_id=desk.token()))
    desk.wait("oadrRegisterReport", since)
    desk.settle()
    desk.step("void")
    desk.timeline.sleep_until(desk.now() + timedelta(seconds=(_SEVERAL + 1) * usage.step_s))
    desk.settle()


def _of(desk: Desk, request_id: str, since: int) -> list[Document]:
    path = "oadr:oadrReport/ei:reportRequestID"
    return [each for each in desk.heard("oadrUpdateReport", since) if request_id in each.texts(path)]


def _ask_for_the_past(desk: Desk, offer: _Offer) -> None:
    """Ask for twice of what is offered, and for two hours of it."""
    if 0 < offer.holds_s < _MOST_PAST_S:
        desk.step("too much past")
        start = desk.now() - timedelta(seconds=2 * offer.holds_s)
        _ask(desk, m.Want("too much past", offer.specifier, offer.points, start=start, lasts=f"PT{2 * offer.holds_s}S"))
        desk.settle()
    since = desk.step("past")
    start = (desk.now() - timedelta(seconds=_PAST_S)).replace(microsecond=0)
    desk.fact("past", {"start": m.stamp(start), "step_s": offer.step_s})
    _ask(desk, m.Want("past", offer.specifier, offer.points, start=start, lasts=f"PT{_PAST_S}S"))
    desk.awaited(lambda: desk.heard("oadrCreatedReport", since))
    desk.awaited(lambda: _of(desk, "past", since), desk.rules.patience_s / 2)
    desk.settle()


def signatures(desk: Desk) -> None:
    """Deliver events with signatures that are not good, or not of now, and one delivery twice."""
    if desk.signer is None or not desk.signs:
        return
    with TemporaryDirectory() as place:
        foreign = keys.stranger(Path(place), "stranger", rsa_key=desk.signer.is_rsa)
        strangers = {
            "of a foreign authority": Signer(foreign),
            "of a foreign key": Signer(foreign, shows=desk.signer.own),
        }
    for group, spoils in {
        "bad": forgery.badly_signed(desk.signer, strangers),
        "unprotected": forgery.badly_protected(desk.signer),
    }.items():
        for name, spoil in spoils.items():
            desk.step(f"{group}:{name}")
            _bring(desk, spoil(desk.delivery(desk.event(id=f"{group}: {name}"))))
        desk.deliver(f"after {group}", desk.event(id=f"after {group}"))
    twice = desk.signer.sign(desk.delivery(desk.event(id="delivered twice")))
    for name in ("first", "again"):
        desk.step(f"replay:{name}")
        _bring(desk, twice)
    desk.deliver("none")


def _bring(desk: Desk, message: Message) -> None:
    """Have a message reach the VEN byte for byte, and wait until it has said what it had to say."""
    if desk.address:
        desk.post(message, as_it_is=True)
    else:
        desk.say_next("oadrPoll", Saying(answer_of(message)))
    desk.settle()


def certificates(desk: Desk) -> None:
    """Show other certificates and other TLS, each until the VEN has called; show a VEN that serves other clients."""
    host = desk.host
    if host is None or host.front.context is None:
        return
    if host.front.certificate:
        desk.fact("certificate", ssl.DER_cert_to_PEM_cert(host.front.certificate))
    with TemporaryDirectory() as place:
        for step, make in impostors(desk.place, Path(place)).items():
            if step != "bad:another host" or desk.rules.checks_host:
                with suppress(InvalidError):  # what OpenSSL has no more cannot be shown
                    desk.show(step, host, make(), tries=1 if step.startswith("bad") else 2)
        if not desk.address.startswith("https:"):
            return
        for name, client in clients(desk.place, Path(place)).items():
            desk.step(f"client:{name}")
            desk.post_as(client, desk.delivery(desk.event(id=f"of a client with {name}")))
    desk.deliver("after other clients", desk.event(id="after other clients"))
    desk.deliver("none")


def outages(desk: Desk) -> None:
    """Go away for a while, and come back: as before, and then without knowing the VEN any more."""
    host = desk.host
    if host is None:
        return
    desk.show("away:remembered", host, None, tries=2)
    since = desk.step("forgetting")
    held = desk.forget_registration()
    try:
        desk.show("away:forgotten", host, None, tries=2)
        desk.wait("oadrCreatePartyRegistration", since)
    except BrokenOffError:
        desk.remember(held)  # so that it can still be told to leave
        raise
    desk.settle()


def renewing(desk: Desk) -> None:
    """Cancel wrongly, and have it register again."""
    for name, ids in {
        "wrong registration": (desk.ven_id, "no such registration"),
        "wrong ven": ("another VEN", desk.registration_id),
    }.items():
        desk.step(f"cancel:{name}")
        desk.tell(t.cancel_registration(*ids, request_id=f"cancel {name}"))
        desk.settle()
    since = desk.step("asked again")
    desk.fact("registration", desk.registration_id)
    desk.tell(t.request_reregistration(desk.ven_id))
    desk.wait("oadrCreatePartyRegistration", since)
    desk.settle()


def leaving(desk: Desk) -> None:
    """Cancel its registration."""
    since = desk.step("cancelled")
    desk.tell(t.cancel_registration(desk.ven_id, desk.registration_id, "cancel"))
    desk.wait("oadrCanceledPartyRegistration", since)
    desk.step("gone")
    desk.forget_registration()
    if desk.address:
        desk.step("unregistered")
        desk.post(desk.delivery(desk.event(id="for a stranger"), request_id="late"))
        desk.step("gone")
    desk.pause(4 * desk.rules.poll_s / desk.timeline.speed + 2.0)


DIALOGUES: Final[Mapping[str, Dialogue]] = MappingProxyType(
    {
        "joining": joining,
        "polling": polling,
        "wrong messages": wrong_messages,
        "hostile answers": hostile,
        "pushes": pushes,
        "answers": answers,
        "faults": faults,
        "signals": signals,
        "cancellations": cancellations,
        "opts": opts,
        "reports": reports,
        "spans": spans,
        "signatures": signatures,
        "certificates": certificates,
        "renewing": renewing,
        "outages": outages,
        "leaving": leaving,
    }
)
"""In the order of a registration's life; each needs the ones before only for being registered."""
