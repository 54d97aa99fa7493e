"""SE-01 to SE-05: TLS of a VEN, as a client of the kit, and as a server where it is pushed to."""

from collections.abc import Sequence
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from conformance.check import Check, check
from conformance.exchange import Exchange, Transcript
from conformance.vens.checks.said import all_responses, goes_on, needs_push, played
from conformance.verdict import Failed, NotObservable

_LEAST_RSA: Final = 2048
_LEAST_EC: Final = 256
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
_FORBIDDEN: Final = 403
_WITHOUT_KEY: Final = "the kit has no key of the VEN's authority (--ca-key)"


def _needs_tls(transcript: Transcript) -> None:
    if "certificate" not in transcript.facts:
        raise NotObservable("the VEN is not reached by TLS (--cert, --key, --ca)")


def _calls(transcript: Transcript, step: str, otherwise: str) -> int:
    """Return how often the VEN called a server that it was shown. Raises NotObservable if it was not shown."""
    _needs_tls(transcript)
    calls = transcript.facts.get("shown", {}).get(step)
    if calls is None:
        raise NotObservable(otherwise)
    return int(calls)


def _spoken(transcript: Transcript, step: str) -> Sequence[Exchange]:
    return [each for each in transcript if each.step.startswith(f"{step}:")]


def _keeps_away(transcript: Transcript, step: str, otherwise: str) -> None:
    """Raise Failed if the VEN spoke to a server, NotObservable if it never called it."""
    calls = _calls(transcript, step, otherwise)
    if spoken := _spoken(transcript, step):
        raise Failed(f"the VEN speaks to a server with {step.partition(':')[2]}", *spoken[:3])
    if not calls:
        raise NotObservable(f"{step}: the VEN did not call")


def _takes_what_is_issued(transcript: Transcript) -> None:
    """Raise NotObservable unless the VEN takes a good certificate of the kit's making: then only one fault is tried."""
    _calls(transcript, "good:issued", _WITHOUT_KEY)
    if not _spoken(transcript, "good:issued"):
        raise NotObservable("the VEN does not take what the authority of --ca issues")


@check("SE-01", "certificates")
def it_speaks_the_default_suites_and_nothing_weak(transcript: Transcript) -> None:
    """With TLS 1.2 and the two default suites it talks, with TLS 1.1 or without encryption it does not."""
    for weak in ("bad:TLS 1.1", "bad:no encryption"):
        _keeps_away(transcript, weak, f"this machine's OpenSSL has no {weak.partition(':')[2]}")
    _calls(transcript, "good:default suites", "the default suites were not shown")
    if _spoken(transcript, "good:default suites"):
        return
    _takes_what_is_issued(transcript)  # without it the kit has one of the two suites, and the VEN perhaps the other
    raise Failed("the VEN has neither of the default cipher suites of TLS 1.2", *transcript.exchanges[:5])


@check("SE-02", "certificates")
def its_certificate_is_strong(transcript: Transcript) -> None:
    """It shows an X.509v3 certificate: RSA of 2048 bits or EC of 256 at least, signed by SHA-256."""
    _needs_tls(transcript)
    try:
        certificate = x509.load_pem_x509_certificate(transcript.facts["certificate"].encode())
        key, digest = certificate.public_key(), certificate.signature_hash_algorithm
    except (ValueError, TypeError) as error:
        raise Failed(f"its certificate cannot be read: {error}", *transcript.exchanges[:3]) from error
    if certificate.version is not x509.Version.v3:
        raise Failed(f"its certificate is of version {certificate.version.name}", *transcript.exchanges[:3])
    if isinstance(key, rsa.RSAPublicKey):
        name, least = "RSA", _LEAST_RSA
    elif isinstance(key, ec.EllipticCurvePublicKey):
        name, least = "EC", _LEAST_EC
    else:
        raise Failed("its key is neither RSA nor EC", *transcript.exchanges[:3])
    if key.key_size < least:
        raise Failed(f"its {name} key has {key.key_size} bits in place of {least}", *transcript.exchanges[:3])
    if digest is None or digest.name not in _HASHES:
        signed_by = "something unknown" if digest is None else digest.name
        raise Failed(f"its certificate is signed by {signed_by}", *transcript.exchanges[:3])


@check("SE-03", "certificates")
def a_listener_takes_nothing_from_strangers(transcript: Transcript) -> str | None:
    """What is pushed without a certificate, or with a foreign or expired one, is not processed."""
    needs_push(transcript)
    _needs_tls(transcript)
    for exchange in played(transcript, "client"):
        if exchange.ven == "vtn" and exchange.answer is not None and exchange.answer.status != _FORBIDDEN:
            raise Failed(f"{exchange.step}: HTTP {exchange.answer.status}", exchange)
    for each in all_responses(transcript):
        if each.event_id.startswith("of a client with "):
            raise Failed(f"it answers the event '{each.event_id}'", each.exchange)
    goes_on(transcript, "after other clients")
    return None if _spoken(transcript, "client:expired") else f"no expired certificate was shown: {_WITHOUT_KEY}"


@check("SE-04", "certificates")
def it_does_not_talk_to_who_has_expired(transcript: Transcript) -> None:
    """A server whose certificate ended yesterday hears nothing."""
    _calls(transcript, "bad:expired", _WITHOUT_KEY)
    _takes_what_is_issued(transcript)
    _keeps_away(transcript, "bad:expired", _WITHOUT_KEY)


@check("SE-05", "certificates")
def it_checks_the_server(transcript: Transcript) -> str | None:
    """A certificate of another authority, and one of another host, are not taken."""
    _keeps_away(transcript, "bad:foreign authority", "no certificate of a foreign authority was shown")
    host = "bad:another host"
    if host not in transcript.facts.get("shown", {}):
        return "no certificate of another host was shown: it takes --ca-key, and a VEN that checks host names"
    _takes_what_is_issued(transcript)
    _keeps_away(transcript, host, _WITHOUT_KEY)
    return None


CHECKS: Final[tuple[Check, ...]] = (
    it_speaks_the_default_suites_and_nothing_weak,
    its_certificate_is_strong,
    a_listener_takes_nothing_from_strangers,
    it_does_not_talk_to_who_has_expired,
    it_checks_the_server,
)
