"""SE: security; and SX: hostile input, of which the specification says nothing."""

from typing import Final

from conformance import judge
from conformance.check import Check, check, needed
from conformance.exchange import Exchange, Transcript
from conformance.verdict import Failed, NotObservable

_OK: Final = 200
_FORBIDDEN: Final = 403


def _shut_out(exchange: Exchange) -> None:
    """Raise Failed unless the connection ended, or there was HTTP 403."""
    if exchange.answer is not None and exchange.answer.status != _FORBIDDEN:
        raise Failed(f"{exchange.step}: HTTP {exchange.answer.status} for who must not speak", exchange)


@check("SE-01", "suites")
def both_suites_are_served(transcript: Transcript) -> None:
    """A VEN that has only one of the specification's two cipher suites is served."""
    for exchange in needed(transcript, "suite"):
        judge.answer(exchange)


@check("SE-02", "suites")
def both_kinds_of_certificate_are_served(transcript: Transcript) -> None:
    """VENs with an EC certificate and with an RSA one are served."""
    for exchange in needed(transcript, "certificate:EC"):
        judge.answer(exchange)
    if "no RSA" in transcript.facts:
        raise NotObservable(f"no VEN with an RSA certificate: {transcript.facts['no RSA']}")
    for exchange in needed(transcript, "certificate:RSA"):
        judge.answer(exchange)


@check("SE-03", "certificates")
def strangers_are_shut_out(transcript: Transcript) -> None:
    """Without a certificate, or with one of a foreign authority, nothing is processed."""
    for exchange in needed(transcript, "outside"):
        _shut_out(exchange)


@check("SE-04", "certificates")
def an_expired_certificate_is_none(transcript: Transcript) -> None:
    """Whose certificate has expired is shut out."""
    if not transcript.steps("expired"):
        raise NotObservable("no expired certificate of the VTN's authority is at hand (--vens, [expired])")
    for exchange in needed(transcript, "expired"):
        _shut_out(exchange)


@check("SE-06", "certificates")
def fingerprints_are_the_last_ten_bytes(transcript: Transcript) -> None:
    """The VTN shows a certificate's fingerprint as the last ten bytes of its SHA-256."""
    prints = transcript.facts.get("fingerprints")
    if prints is None:
        raise NotObservable("the operator did not say which fingerprint the VTN shows")
    if prints["shown"] != prints["own"]:
        raise Failed(f"{prints['shown']} in place of {prints['own']}", *needed(transcript, "unharmed"))


@check("SE-07", "certificates")
def nobody_speaks_for_another(transcript: Transcript) -> None:
    """A VEN's certificate with another's venID gets 463, and the other is unharmed."""
    for exchange in needed(transcript, "another"):
        judge.refused(exchange, code=463)
    for exchange in needed(transcript, "unharmed"):
        judge.accepted(exchange, "oadrResponse")


@check("SX-01", "hostile")
def document_types_are_refused(transcript: Transcript) -> None:
    """A message with a DOCTYPE is not acceptable, whatever it declares."""
    for step in ("hostile:doctype", "hostile:entity", "hostile:external", "hostile:expansion"):
        for exchange in needed(transcript, step):
            if exchange.answer is not None:
                judge.status(exchange, 400, 406)


@check("SX-02", "hostile")
def entities_are_not_expanded(transcript: Transcript) -> None:
    """No answer holds what an entity stands for."""
    for step in ("hostile:entity", "hostile:external", "hostile:expansion"):
        for exchange in needed(transcript, step):
            if exchange.answer is not None and exchange.answer.status == _OK:
                raise Failed(f"{step}: it was taken", exchange)
            if exchange.answer is not None and b"expanded" in exchange.answer.body:
                raise Failed(f"{step}: the entity was expanded", exchange)


@check("SX-03", "hostile")
def too_much_is_refused(transcript: Transcript) -> None:
    """What is very large or deep is refused, or the connection ends."""
    for step in ("hostile:depth", "hostile:size"):
        for exchange in needed(transcript, step):
            if exchange.answer is not None:
                judge.status(exchange, 400, 406, 413)


@check("SX-04", "hostile")
def nothing_brings_it_down(transcript: Transcript) -> None:
    """After each attack the VTN answers as before."""
    for exchange in needed(transcript, "alive"):
        judge.accepted(exchange, "oadrResponse")


@check("SX-05", "hostile")
def a_slow_client_is_served(transcript: Transcript) -> None:
    """A body that comes in pieces, with pauses, is taken."""
    for exchange in needed(transcript, "slow"):
        judge.accepted(exchange, "oadrResponse")


CHECKS: Final[tuple[Check, ...]] = (
    both_suites_are_served,
    both_kinds_of_certificate_are_served,
    strangers_are_shut_out,
    an_expired_certificate_is_none,
    fingerprints_are_the_last_ten_bytes,
    nobody_speaks_for_another,
    document_types_are_refused,
    entities_are_not_expanded,
    too_much_is_refused,
    nothing_brings_it_down,
    a_slow_client_is_served,
)
