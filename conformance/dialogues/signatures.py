"""Messages of a VEN that has to sign: signed well, badly, without protection from replays, and replayed.

It is played last: other dialogues may speak for the same VEN, and do not sign.
"""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from conformance import forgery
from conformance import templates as t
from conformance.forgery import Spoil
from conformance.judge import Document
from conformance.operator import UnableError
from conformance.signing import WITH_COMMENTS, Signer
from conformance.stage import BrokenOffError, Stage, Ven

_DISTANT: Final = 1000
"""Paces until an event that is only there to be answered."""


def signatures(stage: Stage) -> None:
    """Sign by both methods, and in every wrong way."""
    with stage.signing_ven("EC") as (ven, signer):
        _sign_all(stage, ven, signer, "EC")
        ven.register("setup")
        _spoil(stage, ven, signer)
    try:
        with stage.signing_ven("RSA", rsa=True) as (ven, signer):
            _sign_all(stage, ven, signer, "RSA")
    except UnableError as error:
        stage.fact("no RSA", str(error))


def _sign_all(stage: Stage, ven: Ven, signer: Signer, label: str) -> None:
    """Send messages of every kind; the last ends the registration."""
    with_comments = signer.sign(t.poll(ven.ven_id), canonical=WITH_COMMENTS)
    replace(ven, signer=None).post(f"signed:oadrPoll:{label}, with comments", with_comments)
    for message in _of_every_kind(stage, ven):
        ven.post(f"signed:{message.name}:{label}", message)


def _of_every_kind(stage: Stage, ven: Ven) -> tuple[t.Message, ...]:
    answers = (t.registered_report, t.created_report, t.canceled_report)
    return (
        t.query(stage.token()),
        ven.again(),
        *(answer(ven.ven_id, "no such request") for answer in answers),
        *t.of_every_kind(ven.ven_id, ven.registration_id),
    )


def _spoil(stage: Stage, ven: Ven, signer: Signer) -> None:
    """Opt in, and cancel the registration, with signatures that are not good; after each see whether it did harm."""
    other = stage.newcomer("another").identity.credentials
    handle = stage.event([ven], starts_in=_DISTANT)
    delivered = ven.drain("setup", opt=None)
    mute = replace(ven, signer=None)
    for message in _of_every_kind(stage, ven):
        mute.post(f"unsigned:{message.name}", message)
    ven.post("after unsigned", t.poll(ven.ven_id))
    stage.fact("opt after unsigned", stage.operator.opt(handle, ven.ven_id))
    foreign = stage.foreign_credentials()
    strangers = {"of a foreign authority": Signer(foreign), "of a foreign key": Signer(foreign, shows=signer.own)}
    if other not in (None, signer.own):  # a file of VENs may name one only
        strangers["of another VEN"] = Signer(other)
    _try(stage, ven, "bad", forgery.badly_signed(signer, strangers), delivered)
    stage.fact("opt after bad", stage.operator.opt(handle, ven.ven_id))
    _try(stage, ven, "unprotected", forgery.badly_protected(signer), delivered)
    stage.fact("opt after unprotected", stage.operator.opt(handle, ven.ven_id))
    _replay(ven, signer, delivered)
    stage.fact("opt after replay", stage.operator.opt(handle, ven.ven_id))


def _try(stage: Stage, ven: Ven, group: str, spoils: Mapping[str, Spoil], delivered: list[Document]) -> None:
    mute = replace(ven, signer=None)
    for name, spoil in spoils.items():
        mute.post(f"{group}:{name}", spoil(_opting(ven, delivered, "optIn")))
        mute.post(f"{group}:{name}", spoil(t.cancel_registration(ven.ven_id, ven.registration_id, stage.token())))
        ven.post(f"after {group}:{name}", t.poll(ven.ven_id))


def _replay(ven: Ven, signer: Signer, delivered: list[Document]) -> None:
    """Opt in, opt out, and send what opted in once more, byte for byte."""
    mute = replace(ven, signer=None)
    opting_in = signer.sign(_opting(ven, delivered, "optIn"))
    mute.post("replay:first", opting_in)
    ven.post("replay:then", _opting(ven, delivered, "optOut"))
    mute.post("replay:again", opting_in)


def _opting(ven: Ven, delivered: list[Document], opt: str) -> t.Message:
    for document in delivered:
        if document.name == "oadrDistributeEvent" and (message := ven.opting(document, opt)) is not None:
            return message
    raise BrokenOffError("the event did not come")


DIALOGUES: Final = MappingProxyType({"signatures": signatures})
