"""PL and TR: how a VEN polls, and what its requests look like on the wire."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check
from conformance.exchange import Exchange, Transcript, header
from conformance.vens.checks.said import delivery, messages, needs_pull, needs_push, played, requests, told
from conformance.verdict import Failed, NotObservable

_SERVICES: Final = {
    "oadrPoll": "OadrPoll",
    "oadrRequestEvent": "EiEvent",
    "oadrCreatedEvent": "EiEvent",
    "oadrCreateOpt": "EiOpt",
    "oadrCancelOpt": "EiOpt",
    "oadrRegisterReport": "EiReport",
    "oadrRegisteredReport": "EiReport",
    "oadrCreateReport": "EiReport",
    "oadrCreatedReport": "EiReport",
    "oadrUpdateReport": "EiReport",
    "oadrCancelReport": "EiReport",
    "oadrCanceledReport": "EiReport",
    "oadrQueryRegistration": "EiRegisterParty",
    "oadrCreatePartyRegistration": "EiRegisterParty",
    "oadrCancelPartyRegistration": "EiRegisterParty",
    "oadrCanceledPartyRegistration": "EiRegisterParty",
}
_THAT_WAIT: Final = 3
"""So many messages wait in the step of that name."""
_BUSY: Final = 503
_FEW: Final = 4
_SPREAD: Final = 0.01
_HURRY: Final = 0.5
_BACK_OFF: Final = (0.85, 1.7)
"""The least pauses after the first and the second 503, seconds: one and two, less a tenth and what clocks differ by."""


def _polls(exchanges: Sequence[Exchange]) -> list[Exchange]:
    return [exchange for exchange, _ in messages(tuple(exchanges), "oadrPoll")]


def _gaps(exchanges: Sequence[Exchange]) -> list[float]:
    """Return the seconds of world time between requests."""
    return [(later.at - earlier.at).total_seconds() for earlier, later in pairwise(exchanges)]


def _poll_s(transcript: Transcript) -> float:
    return float(transcript.facts["poll_s"])


def _is_pull(transcript: Transcript) -> bool:
    for _, document in messages(transcript, "oadrCreatePartyRegistration"):
        return (document.text("oadr:oadrHttpPullModel") or "").strip() in ("true", "1")
    return not transcript.facts.get("address")


@check("PL-01", EVERY)
def a_pull_ven_polls(transcript: Transcript) -> None:
    """It uses OadrPoll; a VEN that is pushed to does not."""
    if not transcript.exchanges:
        raise NotObservable("the VEN said nothing")
    polls = _polls(tuple(transcript))
    if not _is_pull(transcript) and polls:
        raise Failed("a VEN that is pushed to polls", *polls[:1])
    if _is_pull(transcript) and not polls:
        raise Failed("a pull VEN does not poll", *transcript.exchanges[:5])


@check("PL-05", "polling")
def it_polls_on_until_nothing_waits(transcript: Transcript) -> None:
    """While messages wait it polls without a pause: in less than half of the poll period."""
    needs_pull(transcript)
    exchanges = played(transcript, "three wait")
    brought = [exchange for exchange, _ in told(exchanges, "oadrRegisterReport")]
    if len(brought) < _THAT_WAIT:
        raise NotObservable("the messages that waited were not fetched")
    polls = _polls(exchanges)
    for earlier, later in pairwise(polls):
        if earlier in brought and (gap := (later.at - earlier.at).total_seconds()) > _HURRY * _poll_s(transcript):
            raise Failed(f"{gap:.1f} s until the next poll, with a period of {_poll_s(transcript):.0f} s", later)


@check("PL-06", "polling")
def it_polls_no_faster_than_asked(transcript: Transcript) -> None:
    """With nothing waiting, the polls are on average as far apart as oadrRequestedOadrPollFreq, or farther."""
    needs_pull(transcript)
    gaps = _gaps(_polls(played(transcript, "at rest")))
    if len(gaps) < _FEW:
        raise NotObservable("too few polls")
    if (mean := sum(gaps) / len(gaps)) < 0.9 * _poll_s(transcript):
        raise Failed(
            f"every {mean:.2f} s, with a period of {_poll_s(transcript):.0f} s", *_polls(tuple(transcript))[:3]
        )


@check("PL-08", "polling")
def it_answers_before_it_polls_on(transcript: Transcript) -> None:
    """The logical answer to what a poll brought goes out before the next poll."""
    needs_pull(transcript)
    exchanges = played(transcript, "three wait")
    for earlier, later in pairwise([exchange for exchange, _ in messages(exchanges)]):
        brought = [document.name for _, document in told((earlier,))]
        if brought == ["oadrRegisterReport"] and _polls((later,)):
            raise Failed("it polls before it answers", earlier, later)


@check("PL-09", "polling")
def it_asks_for_events_only_to_get_into_step(transcript: Transcript) -> None:
    """While nothing happens it polls, and asks for nothing else."""
    needs_pull(transcript)
    for exchange, document in messages(played(transcript, "at rest"), "oadrRequestEvent", "oadrQueryRegistration"):
        raise Failed(f"{document.name} while nothing happens", exchange)


@check("PL-10", "polling")
def the_poll_interval_varies(transcript: Transcript) -> None:
    """The pauses between polls vary at random."""
    needs_pull(transcript)
    gaps = _gaps(_polls(played(transcript, "at rest")))
    if len(gaps) < _FEW:
        raise NotObservable("too few polls")
    if max(gaps) - min(gaps) < _SPREAD * _poll_s(transcript):
        polls = _polls(played(transcript, "at rest"))
        raise Failed(f"all pauses are between {min(gaps):.3f} and {max(gaps):.3f} s", *polls[:5])


@check("TR-02", "joining")
def it_speaks_http_or_xmpp(transcript: Transcript) -> None:
    """It registers with simpleHttp or xmpp."""
    for exchange, document in messages(transcript, "oadrCreatePartyRegistration"):
        if (name := document.text("oadr:oadrTransportName")) not in ("simpleHttp", "xmpp"):
            raise Failed(f"it registers with the transport {name}", exchange)


@check("TR-03", EVERY)
def each_message_goes_to_its_service(transcript: Transcript) -> None:
    """The path ends in /OpenADR2/Simple/2.0b/ and the service of the message."""
    for exchange, document in messages(tuple(requests(transcript))):
        path = exchange.request.target.partition("?")[0]
        _, base, service = path.rpartition("/OpenADR2/Simple/2.0b/")
        if not base or (document.name in _SERVICES and service != _SERVICES[document.name]):
            raise Failed(f"{document.name} went to {exchange.request.target}", exchange)


@check("TR-04", EVERY)
def it_posts(transcript: Transcript) -> None:
    """Every request is a POST, and a listener answers others by 501."""
    for exchange in requests(transcript):
        if exchange.request.method != "POST":
            raise Failed(f"a request by {exchange.request.method}", exchange)
    for exchange in transcript.steps("another method"):
        if exchange.ven == "vtn":
            judge.status(exchange, 501)


@check("TR-05", "pushes")
def a_listener_says_what_it_cannot_take(transcript: Transcript) -> None:
    """A service that is not there gets 404, another content type and a document type 406."""
    needs_push(transcript)
    for exchange in played(transcript, "unknown service"):
        judge.status(exchange, 404)
    for step in ("another content type", "document type"):
        for exchange in played(transcript, step):
            judge.status(exchange, 406)


@check("TR-13", "answers")
def a_pushed_event_is_taken_and_answered_by_a_request(transcript: Transcript) -> None:
    """A pushed oadrDistributeEvent gets an empty HTTP 200; oadrCreatedEvent follows as a request of its own."""
    needs_push(transcript)
    exchange, _ = delivery(transcript, "new")
    judge.status(exchange, 200)
    if exchange.answer is not None and exchange.answer.body:
        raise Failed("the answer is not empty", exchange)
    if not [each for each, _ in messages(played(transcript, "new"), "oadrCreatedEvent") if each.ven == "ven"]:
        raise Failed("no oadrCreatedEvent follows", exchange)


@check("TR-06", EVERY)
def requests_have_the_right_headers(transcript: Transcript) -> None:
    """Host, Content-Length and Content-Type application/xml; no chunks."""
    for exchange in requests(transcript):
        headers = exchange.request.headers
        kind = (header(headers, "Content-Type") or "").replace(" ", "").lower()
        if kind not in ("application/xml", "application/xml;charset=utf-8", 'application/xml;charset="utf-8"'):
            raise Failed(f"the Content-Type is '{kind}'", exchange)
        if header(headers, "Transfer-Encoding") is not None:
            raise Failed("the request is chunked", exchange)
        for name in ("Host", "Content-Length"):
            if header(headers, name) is None:
                raise Failed(f"the request has no {name}", exchange)


@check("TR-07", EVERY)
def requests_are_utf8(transcript: Transcript) -> None:
    """Messages are in UTF-8."""
    for exchange in requests(transcript):
        try:
            exchange.request.body.decode("utf-8")
        except UnicodeDecodeError:
            raise Failed("a request is not UTF-8", exchange) from None
        if b"encoding=" in (declared := exchange.request.body[:100].lower()) and b"utf-8" not in declared:
            raise Failed("a request declares another encoding", exchange)


@check("TR-08", EVERY)
def it_accepts_xml(transcript: Transcript) -> None:
    """Accept is left out, or takes application/xml; requests are not compressed."""
    for exchange in requests(transcript):
        accept = header(exchange.request.headers, "Accept")
        if accept is not None and not any(kind in accept for kind in ("application/xml", "application/*", "*/*")):
            raise Failed(f"it accepts '{accept}' only", exchange)
        if header(exchange.request.headers, "Content-Encoding") not in (None, "identity"):
            raise Failed("a request is compressed", exchange)


@check("TR-10", "polling")
def it_waits_for_a_slow_answer(transcript: Transcript) -> None:
    """An answer that takes 4.5 seconds is taken."""
    needs_pull(transcript)
    exchanges = played(transcript, "slow")
    for _, document in messages(exchanges, "oadrRegisteredReport"):
        if document.text("ei:eiResponse/pyld:requestID") == "after a pause":
            return
    raise Failed("what came after 4.5 seconds was not answered", *exchanges[:20])


@check("TR-11", "polling")
def it_backs_off_from_a_busy_server(transcript: Transcript) -> None:
    """After 503 the pause is about a second, then two, and so on."""
    needs_pull(transcript)
    busy = [exchange for exchange in played(transcript, "busy") if exchange.answer and exchange.answer.status == _BUSY]
    if len(busy) <= len(_BACK_OFF):
        raise NotObservable("too few polls met a busy server")
    pauses = [gap / float(transcript.facts["speed"]) for gap in _gaps(busy)]
    for pause, least in zip(pauses, _BACK_OFF, strict=False):
        if pause < least:
            raise Failed(f"the pauses are {', '.join(f'{each:.2f} s' for each in pauses)}", *busy)


@check("SX-11", "hostile answers")
def it_outlives_hostile_answers(transcript: Transcript) -> None:
    """After each answer that has the form of an attack it comes again, and takes an event in the end."""
    needs_pull(transcript)
    attacked = played(transcript, "hostile")
    after = tuple(each for each in transcript if each.step.startswith("alive:"))
    if not list(told(after, "oadrDistributeEvent")):
        raise Failed("the VEN does not fetch an event any more", *attacked[-5:])
    if not list(messages(after, "oadrCreatedEvent")):
        raise Failed("the VEN does not answer an event any more", *after[:5])


@check("SX-12", "pushes")
def it_outlives_hostile_pushes(transcript: Transcript) -> None:
    """After messages that have the form of an attack it takes an event."""
    needs_push(transcript)
    attacked = played(transcript, "attack")
    after = tuple(each for each in transcript if each.step.startswith("alive:"))
    if not list(messages(after, "oadrCreatedEvent")):
        raise Failed("the VEN does not answer an event any more", *(after[:5] or attacked[-5:]))


CHECKS: Final[tuple[Check, ...]] = (
    a_pull_ven_polls,
    it_polls_on_until_nothing_waits,
    it_polls_no_faster_than_asked,
    it_answers_before_it_polls_on,
    it_asks_for_events_only_to_get_into_step,
    the_poll_interval_varies,
    it_speaks_http_or_xmpp,
    each_message_goes_to_its_service,
    it_posts,
    a_listener_says_what_it_cannot_take,
    a_pushed_event_is_taken_and_answered_by_a_request,
    requests_have_the_right_headers,
    requests_are_utf8,
    it_accepts_xml,
    it_waits_for_a_slow_answer,
    it_backs_off_from_a_busy_server,
    it_outlives_hostile_answers,
    it_outlives_hostile_pushes,
)
