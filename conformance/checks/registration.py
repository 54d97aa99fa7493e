"""RG: EiRegisterParty."""

from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.exchange import Exchange, Transcript
from conformance.judge import Document
from conformance.templates import ANSWERS
from conformance.verdict import Failed

_CREATED: Final = "oadrCreatedPartyRegistration"


def _ids(document: Document) -> tuple[str | None, str | None]:
    """Return registrationID and venID; an empty one is none (GN-13)."""
    return document.text("ei:registrationID") or None, document.text("ei:venID") or None


def _lists_profiles(exchange: Exchange, document: Document) -> None:
    """Raise Failed unless 2.0b over simple HTTP is among the profiles and transports."""
    names = "oadr:oadrProfiles/oadr:oadrProfile[oadr:oadrProfileName='2.0b']"
    if "simpleHttp" not in document.texts(f"{names}/oadr:oadrTransports/oadr:oadrTransport/oadr:oadrTransportName"):
        raise Failed(f"{exchange.step}: 2.0b over simpleHttp is not listed", exchange)


@check("RG-01", "misplaced")
def only_a_vtn_asks_to_reregister(transcript: Transcript) -> None:
    """A VEN's oadrRequestReregistration is not acted on."""
    for exchange in needed(transcript, "misplaced:oadrRequestReregistration"):
        if exchange.answer is None or exchange.answer.status != 404:  # noqa: PLR2004
            judge.refused(exchange)


@check("RG-02", "registration")
def a_query_is_answered_with_what_there_is(transcript: Transcript) -> None:
    """All profiles and transports; ids only for a VEN that is registered, and no other ones than its own."""
    registered = _ids(judge.accepted(needed(transcript, "create")[0], _CREATED))
    for exchange in needed(transcript, "query"):
        document = judge.accepted(exchange, _CREATED)
        _lists_profiles(exchange, document)
        allowed = registered if exchange.step == "query:after" else ()
        if strange := [text for text in _ids(document) if text is not None and text not in allowed]:
            raise Failed(f"{exchange.step}: the answer names {' and '.join(strange)}", exchange)


@check("RG-03", "registration")
def an_unknown_ven_id_is_refused(transcript: Transcript) -> None:
    """A venID at registration is one that the VTN gave out."""
    for exchange in needed(transcript, "create:unknown ven"):
        judge.refused(exchange, _CREATED, code=452)


@check("RG-04", "registration")
def push_needs_an_address(transcript: Transcript) -> None:
    """Without a transport address there is nowhere to push to."""
    for exchange in needed(transcript, "create:push without address"):
        judge.refused(exchange, _CREATED)


@check("RG-05", "registration")
def a_registration_is_answered_in_full(transcript: Transcript) -> None:
    """registrationID, venID, vtnID, profiles, and the poll frequency for a pull VEN."""
    (exchange, *_) = needed(transcript, "create")
    document = judge.accepted(exchange, _CREATED)
    _lists_profiles(exchange, document)
    for path in ("ei:registrationID", "ei:venID", "ei:vtnID", "oadr:oadrRequestedOadrPollFreq/xcal:duration"):
        if not document.text(path):
            raise Failed(f"the answer has no {path}", exchange)


@check("RG-06", "registration", also="restart")
def registering_again_keeps_the_registration(transcript: Transcript) -> str | None:
    """With its ids a VEN gets the same ids, as often as it asks, and also after a restart of the VTN."""
    first = _ids(judge.accepted(needed(transcript, "create")[0], _CREATED))
    for exchange in needed(transcript, "again"):
        if (ids := _ids(judge.accepted(exchange, _CREATED))) != first:
            raise Failed(f"{exchange.step}: the ids are {ids}, and were {first}", exchange)
    for exchange in transcript.steps("restarted:again"):
        first = _ids(judge.accepted(needed(transcript, "before:create")[0], _CREATED))
        if (ids := _ids(judge.accepted(exchange, _CREATED))) != first:
            raise Failed(f"after a restart the ids are {ids}, and were {first}", exchange)
    for exchange in transcript.steps("restarted:data"):
        document = judge.answer(exchange)
        if document.code != judge.OK or document.all("oadr:oadrCancelReport"):
            return "After a restart the VTN wants no data for a report that it had requested before."
    return None


@check("RG-07", "asked")
def registering_again_needs_no_new_metadata(transcript: Transcript) -> None:
    """After a re-registration with ids the VTN does not register its reports once more."""
    for exchange in needed(transcript, "between"):
        if judge.answer(exchange).name == "oadrRegisterReport":
            raise Failed("oadrRegisterReport came after a re-registration", exchange)


@check("RG-08", "renewals")
def a_new_registration_begins_afresh(transcript: Transcript) -> None:
    """A registration without ids wipes what was requested before."""
    for exchange in needed(transcript, "afresh:create"):
        judge.accepted(exchange, _CREATED)
    for exchange in needed(transcript, "afresh:old request"):
        document = judge.answer(exchange, "oadrUpdatedReport")
        cancels = document.texts("oadr:oadrCancelReport/ei:reportRequestID")
        if document.code == 200 and not cancels:  # noqa: PLR2004
            raise Failed("data for a request of the old registration is taken", exchange)


@check("RG-09", "asked")
def a_ven_can_be_asked_to_register_again(transcript: Transcript) -> None:
    """The request comes out of a poll; the answer and the registration with ids are taken."""
    for exchange in needed(transcript, "asked to reregister"):
        document = judge.answer(exchange, "oadrRequestReregistration")
        if document.text("ei:venID") != judge.request(exchange).text("ei:venID"):
            raise Failed("it names another VEN", exchange)
    for exchange in needed(transcript, "reregister:again"):
        judge.accepted(exchange, _CREATED)


@check("RG-10", "registration")
def after_a_cancellation_nothing_is_left(transcript: Transcript) -> None:
    """The VEN is a stranger again."""
    for exchange in needed(transcript, "cancel"):
        if exchange.step == "cancel":
            judge.accepted(exchange, "oadrCanceledPartyRegistration")
    for exchange in needed(transcript, "left"):
        judge.refused(exchange, "oadrResponse", code=463)
    for exchange in needed(transcript, "query:left"):
        if judge.accepted(exchange, _CREATED).text("ei:registrationID"):
            raise Failed("the registration is still shown", exchange)


@check("RG-11", "registration")
def a_wrong_cancellation_changes_nothing(transcript: Transcript) -> None:
    """Wrong ids get 452 (another's venID may get 463), and the registration stays."""
    for exchange in needed(transcript, "cancel:wrong registration"):
        judge.refused(exchange, "oadrCanceledPartyRegistration", code=452)
    for exchange in needed(transcript, "cancel:wrong ven"):
        judge.refused(exchange, "oadrCanceledPartyRegistration", code=452)
    for exchange in needed(transcript, "still registered"):
        judge.answer(exchange, "oadrResponse", "oadrRegisterReport", "oadrCreateReport", "oadrDistributeEvent")
        if judge.answer(exchange).name == "oadrResponse":
            judge.accepted(exchange)


@check("RG-14", "unregistered")
def before_registration_only_registration(transcript: Transcript) -> None:
    """Everything else gets 463 in its own kind of answer."""
    for exchange in needed(transcript, "unregistered"):
        judge.refused(exchange, ANSWERS[exchange.step.partition(":")[2]], code=463)


@check("RG-15", "wrong ids")
def a_registered_ven_with_a_wrong_id_is_refused(transcript: Transcript) -> None:
    """452 for a VEN that is registered and says a venID that is not its own."""
    for exchange in needed(transcript, "wrong ven"):
        judge.refused(exchange, code=452)


@check("RG-16", "asked")
def a_registration_can_be_cancelled_at_a_poll(transcript: Transcript) -> None:
    """The VTN's cancellation comes out of a poll; after its answer the VEN is a stranger."""
    for exchange in needed(transcript, "told to leave"):
        document = judge.answer(exchange, "oadrCancelPartyRegistration")
        if not document.text("ei:registrationID"):
            raise Failed("it names no registration", exchange)
    for exchange in needed(transcript, "leaves"):
        judge.accepted(exchange, "oadrResponse")
    for exchange in needed(transcript, "left"):
        judge.refused(exchange, "oadrResponse", code=463)


CHECKS: Final[tuple[Check, ...]] = (
    only_a_vtn_asks_to_reregister,
    a_query_is_answered_with_what_there_is,
    an_unknown_ven_id_is_refused,
    push_needs_an_address,
    a_registration_is_answered_in_full,
    registering_again_keeps_the_registration,
    registering_again_needs_no_new_metadata,
    a_new_registration_begins_afresh,
    a_ven_can_be_asked_to_register_again,
    after_a_cancellation_nothing_is_left,
    a_wrong_cancellation_changes_nothing,
    before_registration_only_registration,
    a_registered_ven_with_a_wrong_id_is_refused,
    a_registration_can_be_cancelled_at_a_poll,
)
