"""OP: EiOpt."""

from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.exchange import Exchange, Transcript
from conformance.verdict import Failed, NotObservable

_OK: Final = 200
_CREATED: Final = "oadrCreatedOpt"
_CANCELED: Final = "oadrCanceledOpt"


def _taken(transcript: Transcript, *steps: str, name: str = _CREATED) -> None:
    """Raise Failed unless the opts of these steps are taken."""
    for step in steps:
        for exchange in needed(transcript, step):
            judge.accepted(exchange, name)


@check("OP-01", "event opts")
def an_event_can_be_qualified(transcript: Transcript) -> None:
    """An opt for an event is taken, and seen by the operator."""
    _taken(transcript, "qualified")
    opt = transcript.facts.get("opt after createOpt", "optOut")
    if opt != "optOut":
        raise Failed(f"the operator sees {opt} after optOut", *needed(transcript, "qualified"))


@check("OP-02", "event opts")
def an_opt_is_for_an_event_or_a_time(transcript: Transcript) -> None:
    """With an event no schedule and no market context, without one a schedule: else 4xx."""
    for exchange in needed(transcript, "contradiction"):
        judge.refused(exchange, _CREATED)


@check("OP-04", "schedules")
def cancelling_ends_all_of_an_opt_id(transcript: Transcript) -> None:
    """Two schedules may share an optID, and are cancelled together."""
    _taken(transcript, "shared")
    _taken(transcript, "cancels shared", name=_CANCELED)


@check("OP-05", "schedules", feature="targets")
def an_opt_is_for_the_ven_or_some_of_its_resources(transcript: Transcript) -> None:
    """An empty target, the VEN's own id, and resources are taken."""
    _taken(transcript, "schedule", "the VEN itself", "some resources")


@check("OP-06", "effects")
def a_new_schedule_replaces_earlier_ones(transcript: Transcript) -> None:
    """A schedule for the whole VEN takes the place of its earlier ones of the same kind."""
    if _opts(transcript, "opts with a schedule")[0] != "optOut":
        raise NotObservable("the operator does not see what schedules say of events")
    if (opt := _opts(transcript, "opts with a later schedule")[0]) is not None:
        raise Failed(f"the operator sees {opt} by a schedule that was replaced", *needed(transcript, "schedule:second"))


@check("OP-07", "effects")
def a_schedule_counts_in_its_market_context(transcript: Transcript) -> None:
    """A schedule with a market context says nothing of events in others."""
    if _opts(transcript, "opts with a schedule")[0] != "optOut":
        raise NotObservable("the operator does not see what schedules say of events")
    if (opt := _opts(transcript, "opts with a schedule for the other context")[0]) is not None:
        raise Failed(f"the operator sees {opt}", *needed(transcript, "schedule:other context"))


def _opts(transcript: Transcript, name: str) -> list[str | None]:
    """Return what the operator sees of the events. Raises NotObservable if nobody said it."""
    opts = transcript.facts.get(name)
    if opts is None:
        raise NotObservable("the operator did not say what counts")
    return list(opts)


@check("OP-08", "event opts")
def an_opt_outlasts_later_answers(transcript: Transcript) -> None:
    """What oadrCreateOpt said of an event is not changed by oadrCreatedEvent."""
    for exchange in needed(transcript, "qualified"):
        if exchange.answer is None or exchange.answer.status != _OK or judge.answer(exchange).code != _OK:
            raise NotObservable("no opt for the event was taken before")
    for exchange in needed(transcript, "answered"):
        judge.answer(exchange, "oadrResponse")
    if "opt after createdEvent" not in transcript.facts:
        raise NotObservable("the operator did not say what counts")
    if (opt := transcript.facts["opt after createdEvent"]) != "optOut":
        raise Failed(f"the operator sees {opt}", *needed(transcript, "answered"))


@check("OP-09", "event opts", feature="targets")
def an_opt_is_for_a_part_of_the_event(transcript: Transcript) -> None:
    """Resources of the event are taken, others get 4xx."""
    _taken(transcript, "part:own")
    for exchange in needed(transcript, "part:foreign"):
        judge.refused(exchange, _CREATED)


@check("OP-10", "silent", feature="response_never")
def what_wants_no_answer_gets_none(transcript: Transcript) -> None:
    """An opt for an event with responseRequired=never gets 4xx."""
    for exchange in needed(transcript, "never"):
        judge.refused(exchange, _CREATED)


@check("OP-11", "schedules", feature="targets")
def an_opt_may_name_classes_of_devices(transcript: Transcript) -> None:
    """An oadrDeviceClass with a class of the list is taken; another class, and what is no class, get 4xx."""
    _taken(transcript, "class:own")
    for step in ("class:not of the list", "class:by resource"):
        for exchange in needed(transcript, step):
            judge.refused(exchange, _CREATED)


@check("OP-12", "schedules")
def a_schedule_may_have_no_end(transcript: Transcript) -> None:
    """A duration of zero is taken."""
    _taken(transcript, "open-ended")


@check("OP-14", "schedules")
def cancelling_what_was_superseded_is_no_error(transcript: Transcript) -> None:
    """A schedule that another one took the place of can be cancelled."""
    _taken(transcript, "schedule", "supersedes")
    _taken(transcript, "cancels superseded", name=_CANCELED)


@check("OP-15", "schedules")
def an_unknown_opt_is_refused(transcript: Transcript) -> None:
    """Cancelling an optID that never was gets 452."""
    for exchange in needed(transcript, "unknown"):
        judge.refused(exchange, _CANCELED, code=452)


@check("OP-16", "schedules")
def the_opt_id_comes_back(transcript: Transcript) -> None:
    """Both answers repeat the optID; an empty requestID is empty in the answer."""
    for step in ("schedule", "supersedes", "cancels superseded", "no request id"):
        for exchange in needed(transcript, step):
            _echoes(exchange)
    for exchange in needed(transcript, "no request id"):
        if judge.answer(exchange).text("ei:eiResponse/pyld:requestID"):
            raise Failed("an empty requestID is not returned empty", exchange)


def _echoes(exchange: Exchange) -> None:
    wanted, got = judge.request(exchange).text("ei:optID"), judge.answer(exchange).text("ei:optID")
    if got != wanted:
        raise Failed(f"{exchange.step}: optID {got} in place of {wanted}", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    an_event_can_be_qualified,
    an_opt_is_for_an_event_or_a_time,
    cancelling_ends_all_of_an_opt_id,
    an_opt_is_for_the_ven_or_some_of_its_resources,
    a_new_schedule_replaces_earlier_ones,
    a_schedule_counts_in_its_market_context,
    an_opt_outlasts_later_answers,
    an_opt_is_for_a_part_of_the_event,
    what_wants_no_answer_gets_none,
    an_opt_may_name_classes_of_devices,
    a_schedule_may_have_no_end,
    cancelling_what_was_superseded_is_no_error,
    an_unknown_opt_is_refused,
    the_opt_id_comes_back,
)
