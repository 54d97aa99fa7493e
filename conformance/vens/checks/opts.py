"""OP: what a VEN's user opts. Some is judged wherever it occurs, the rest where the kit has it done."""

from typing import Final

from conformance import judge
from conformance.check import EVERY, Check, check
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.vens.checks.said import all_responses, messages, played
from conformance.verdict import Failed, NotObservable
from conformance.vocabulary import DEVICE_CLASSES

_ANSWERED: Final = ".//ei:qualifiedEventID/ei:eventID"


def _opts(transcript: Transcript) -> list[tuple[Exchange, Document]]:
    opts = list(messages(transcript, "oadrCreateOpt"))
    if not opts:
        raise NotObservable("the VEN sent no oadrCreateOpt")
    return opts


def _done(transcript: Transcript, step: str) -> tuple[Exchange, ...]:
    """Return the exchanges of what the user did. Raises NotObservable if nobody did it."""
    unable = transcript.facts.get("opted", {}).get(step, "nobody is there to opt at the VEN (--user, --ask)")
    if unable:
        raise NotObservable(unable)
    return played(transcript, step)


def _of_event(exchanges: tuple[Exchange, ...], event_id: str) -> list[tuple[Exchange, Document]]:
    """Return the opts for an event."""
    return [
        (exchange, document)
        for exchange, document in messages(exchanges, "oadrCreateOpt")
        if document.text("ei:qualifiedEventID/ei:eventID") == event_id
    ]


def _qualified(transcript: Transcript, step: str, opt: str, modification: str) -> None:
    """Raise Failed unless the user's opt for the event is said by oadrCreateOpt, and of its version."""
    exchanges = _done(transcript, step)
    said = _of_event(exchanges, "chosen")
    if not said:
        otherwise = any(
            document.texts(_ANSWERED).count("chosen") for _, document in messages(exchanges, "oadrCreatedEvent")
        )
        hint = ", but by oadrCreatedEvent; if it can say it by either, have it use oadrCreateOpt" if otherwise else ""
        raise Failed(f"{step}: the user's opt is not said by oadrCreateOpt{hint}", *exchanges[:20])
    exchange, document = said[-1]
    got = (document.text("ei:optType") or "").strip()
    if got != opt:
        raise Failed(f"{step}: {got} in place of {opt}", exchange)
    got = (document.text("ei:qualifiedEventID/ei:modificationNumber") or "").strip()
    if got != modification:
        raise Failed(f"{step}: modification {got} in place of {modification}", exchange)


@check("OP-01", "opts")
def an_event_is_qualified_by_ei_opt(transcript: Transcript) -> None:
    """When the user opts out of an event, oadrCreateOpt says so."""
    _qualified(transcript, "opted out", "optOut", "0")


@check("OP-02", EVERY)
def an_opt_is_for_an_event_or_for_a_time(transcript: Transcript) -> None:
    """One for an event has neither vavailability nor market context; any other has a vavailability."""
    for exchange, document in _opts(transcript):
        is_event = bool(document.all("ei:qualifiedEventID"))
        if is_event and document.all("xcal:vavailability | emix:marketContext"):
            raise Failed("an opt for an event has a vavailability or a market context", exchange)
        if not is_event and not document.all("xcal:vavailability"):
            raise Failed("an opt for no event has no vavailability", exchange)


@check("OP-03", EVERY)
def a_schedule_is_plain(transcript: Transcript) -> None:
    """Its vavailability has no tolerance, ramp-up, recovery or notification."""
    paths = "xcal:tolerance | ei:x-eiNotification | ei:x-eiRampUp | ei:x-eiRecovery"
    for exchange, document in _opts(transcript):
        if Document(document.message).all(".//xcal:available/xcal:properties/*[" + _selfs(paths) + "]"):
            raise Failed("a schedule has more than times", exchange)


def _selfs(paths: str) -> str:
    return " or ".join(f"self::{path.strip()}" for path in paths.split("|"))


@check("OP-04", "opts")
def a_cancellation_names_the_schedule(transcript: Transcript) -> None:
    """Every oadrCreateOpt has an optID, and the one of a schedule is that of its oadrCancelOpt."""
    for exchange, document in _opts(transcript):
        if not (document.text("ei:optID") or "").strip():
            raise Failed("an oadrCreateOpt has no optID", exchange)
    schedules = [document for _, document in messages(_done(transcript, "away"), "oadrCreateOpt")]
    exchanges = _done(transcript, "back")
    cancels = list(messages(exchanges, "oadrCancelOpt"))
    if not cancels:
        raise Failed("the end of the schedule is not said by oadrCancelOpt", *exchanges[:20])
    for exchange, document in cancels:
        if document.text("ei:optID") not in [schedule.text("ei:optID") for schedule in schedules]:
            raise Failed(
                f"oadrCancelOpt names the optID '{document.text('ei:optID')}', and no schedule has it", exchange
            )


@check("OP-05", EVERY)
def an_opt_is_for_the_ven_or_some_of_its_resources(transcript: Transcript) -> None:
    """Its target is empty, the VEN's own venID, or resources that the VEN has."""
    ven_ids, resources = transcript.facts.get("ven_ids", ()), transcript.facts.get("resources", ())
    for exchange, document in _opts(transcript):
        for ven_id in document.texts("ei:eiTarget/ei:venID"):
            if ven_id not in ven_ids:
                raise Failed(f"an opt is for the VEN '{ven_id}'", exchange)
        for resource in document.texts("ei:eiTarget/ei:resourceID"):
            if resources and resource not in resources:
                raise Failed(f"an opt is for the resource '{resource}', which its metadata does not name", exchange)


@check("OP-08", "opts")
def only_another_opt_changes_an_opt(transcript: Transcript) -> str | None:
    """When the user opts in again, to a version that came since, that is said by oadrCreateOpt, too."""
    if not _of_event(_done(transcript, "opted out"), "chosen"):
        raise NotObservable("the event was not opted out of by oadrCreateOpt")
    _qualified(transcript, "opted in", "optIn", "1")
    between = played(transcript, "changed")
    for each in all_responses(transcript):
        if each.exchange in between and (each.event_id, each.opt) == ("chosen", "optIn"):
            return "the answer to a changed event says optIn after an oadrCreateOpt with optOut: it counts for nothing"
    return None


@check("OP-10", "opts")
def what_wants_no_answer_is_not_opted_out_of(transcript: Transcript) -> None:
    """No oadrCreateOpt is for an event with responseRequired never, whatever the user does."""
    _done(transcript, "opted out")
    if "opted unasked" not in transcript.facts["opted"]:
        raise NotObservable("the user did not come so far")
    for exchange, _ in _of_event(tuple(transcript), "unasked"):
        raise Failed("an oadrCreateOpt is for an event that wants no answer", exchange)


@check("OP-11", EVERY)
def a_device_class_is_of_the_list(transcript: Transcript) -> None:
    """OadrDeviceClass has endDeviceAssets with classes of the list, or is left out."""
    for exchange, document in _opts(transcript):
        if document.all("oadr:oadrDeviceClass/*[not(self::power:endDeviceAsset)]"):
            raise Failed("an oadrDeviceClass has something else than endDeviceAssets", exchange)
        for name in document.texts("oadr:oadrDeviceClass/power:endDeviceAsset/power:mrid"):
            if name not in DEVICE_CLASSES and not name.startswith("x-"):
                raise Failed(f"there is no device class '{name}'", exchange)


@check("OP-12", "opts")
def a_schedule_lasts_as_the_user_said(transcript: Transcript) -> None:
    """Its spans are what the user asked for; a duration of 0 would have no end."""
    exchanges, asked = _done(transcript, "away"), transcript.facts["away"]
    schedules = [pair for pair in messages(exchanges, "oadrCreateOpt") if pair[1].all("xcal:vavailability")]
    if not schedules:
        raise Failed("the time is not said by an oadrCreateOpt with vavailability", *exchanges[:20])
    for exchange, document in schedules:
        spans = [Document(each) for each in document.all(".//xcal:available/xcal:properties")]
        starts = [judge.date_time((span.text("xcal:dtstart/xcal:date-time") or "").strip()) for span in spans]
        lengths = [judge.seconds((span.text("xcal:duration/xcal:duration") or "").strip()) for span in spans]
        if not spans or min(starts) != judge.date_time(asked["start"]):
            raise Failed(f"the schedule does not begin at {asked['start']}", exchange)
        if 0 in lengths:
            raise Failed("a schedule that has an end has the duration 0", exchange)
        if sum(lengths) != asked["lasts_s"]:
            raise Failed(f"the schedule lasts {sum(lengths)} s in place of {asked['lasts_s']}", exchange)


@check("OP-13", EVERY)
def an_opt_for_an_event_is_never_cancelled(transcript: Transcript) -> None:
    """No oadrCancelOpt names the optID of an opt for an event."""
    cancels = list(messages(transcript, "oadrCancelOpt"))
    if not cancels:
        raise NotObservable("the VEN sent no oadrCancelOpt")
    of_events = {
        document.text("ei:optID")
        for _, document in messages(transcript, "oadrCreateOpt")
        if document.all("ei:qualifiedEventID")
    }
    for exchange, document in cancels:
        if document.text("ei:optID") in of_events:
            raise Failed("an opt for an event is cancelled", exchange)


CHECKS: Final[tuple[Check, ...]] = (
    an_event_is_qualified_by_ei_opt,
    an_opt_is_for_an_event_or_for_a_time,
    a_schedule_is_plain,
    a_cancellation_names_the_schedule,
    an_opt_is_for_the_ven_or_some_of_its_resources,
    only_another_opt_changes_an_opt,
    what_wants_no_answer_is_not_opted_out_of,
    a_device_class_is_of_the_list,
    a_schedule_lasts_as_the_user_said,
    an_opt_for_an_event_is_never_cancelled,
)
