"""Who may speak, and what a VTN does with those who may not, or who mean harm."""

from types import MappingProxyType
from typing import Final

from conformance import damage, keys
from conformance import templates as t
from conformance.operator import UnableError
from conformance.stage import BrokenOffError, Stage

SUITES: Final = ("ECDHE-ECDSA-AES128-SHA256", "AES128-SHA256")
"""The suites of the specification, by OpenSSL's names."""
_LARGE: Final = 8 << 20
_DEEP: Final = 400
"""Deeper than any message, and harmless: the kit asks whether there is a bound, and does not look for what breaks."""
_PAUSE_S: Final = 0.2


def certificates(stage: Stage) -> None:
    """Speak with no certificate, a foreign, an expired and another VEN's one."""
    _need_tls(stage)
    first, second = stage.ven("a"), stage.ven("b")
    nobody = stage.stranger("nobody", None)
    foreign = stage.stranger("foreign", stage.foreign_credentials())
    for label, stranger in (("nobody", nobody), ("foreign", foreign)):
        stranger.post(f"outside:{label}", t.query(stage.token()))
        stranger.post(f"outside:{label}", t.poll(first.ven_id))
    if stage.expired is not None:
        expired = stage.stranger("expired", stage.expired)
        expired.post("expired", t.query(stage.token()))
    for message in t.of_every_kind(second.ven_id, second.registration_id):
        first.post(f"another:{message.name}", message)
    first.post("another:oadrCreatePartyRegistration", second.again())
    second.post("unharmed", t.poll(second.ven_id))
    credentials = first.identity.credentials
    if credentials is not None:
        shown = stage.operator.fingerprint(first.ven_id)
        stage.fact("fingerprints", {"shown": shown, "own": keys.fingerprint(credentials.certificate)})


def suites(stage: Stage) -> None:
    """Speak with each of the specification's cipher suites alone, and with certificates of both kinds."""
    _need_tls(stage)
    ven = stage.ven("a")
    ven.post("certificate:EC", t.poll(ven.ven_id))
    for suite in SUITES:
        alone = stage.stranger("a", ven.identity.credentials, suite)
        alone.post(f"suite:{suite}", t.poll(ven.ven_id))
    try:
        other = stage.newcomer("rsa", rsa=True)
    except UnableError as error:
        stage.fact("no RSA", str(error))
    else:
        other.post("certificate:RSA", t.query(stage.token()))


def _need_tls(stage: Stage) -> None:
    if not stage.access.is_secure:
        raise BrokenOffError("the VTN is reached without TLS")


def hostile(stage: Stage) -> None:
    """Send what has the form of an attack, too small to hurt anybody; after each see whether the VTN still answers."""
    ven = stage.ven("a")
    query = t.query("entity")
    inner = damage.with_text(query, "entity</", "&e;</")
    secret = damage.with_doctype(inner, '<!ENTITY e SYSTEM "file:///etc/hostname">')
    nested = "".join(f'<!ENTITY e{number} "{f"&e{number - 1};" * 10}">' for number in range(1, 4))
    laughs = damage.with_doctype(damage.with_text(query, "entity</", "&e3;</"), f'<!ENTITY e0 "ha">{nested}')
    deep = "<oadr:oadrExtension>" * _DEEP + "</oadr:oadrExtension>" * _DEEP
    poll = t.poll(ven.ven_id)
    attacks = {
        "hostile:doctype": damage.with_doctype(query),
        "hostile:entity": damage.with_doctype(inner, '<!ENTITY e "expanded">'),
        "hostile:external": secret,
        "hostile:expansion": laughs,
        "hostile:depth": damage.with_text(poll, "<ei:venID>", f"{deep}<ei:venID>"),
        "hostile:size": damage.padded(poll, _LARGE),
    }
    for step, message in attacks.items():
        ven.post(step, message)
        ven.post("alive", poll)
    half = len(poll.body) // 2
    ven.post("slow", poll, parts=(poll.body[:half], poll.body[half:-1], poll.body[-1:]), pause_s=_PAUSE_S)
    ven.post("alive", poll)


DIALOGUES: Final = MappingProxyType({"certificates": certificates, "suites": suites, "hostile": hostile})
