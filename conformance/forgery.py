"""Ways to spoil a signature on purpose, all from the textbook: the kit asks whether they are refused, no more."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Final

from lxml import etree

from conformance.judge import parse
from conformance.signing import OBJECT_ID, PROTECTION, Signer, serialized
from conformance.templates import NAMESPACES, Message
from core.clock import machine_now

Spoil = Callable[[Message], Message]
"""Makes of a message one that has to be passed over."""
FAR: Final = timedelta(days=1)
"""Farther away than any limit for the time of a signature."""


def badly_signed(signer: Signer, strangers: Mapping[str, Signer]) -> Mapping[str, Spoil]:
    """Return the ways to have no good signature (SE-08); `strangers` sign with what does not speak for the sender."""
    return {
        "unsigned": lambda message: message,
        "stripped": _after(signer, _strip),
        "tampered": _after(signer, _tamper),
        "moved": _after(signer, _move),
        "not covered": partial(signer.sign, covers=(PROTECTION,)),
        **{name: stranger.sign for name, stranger in strangers.items()},
    }


def badly_protected(signer: Signer) -> Mapping[str, Spoil]:
    """Return the ways to have a signature without a good ReplayProtect (SE-10)."""
    return {
        "without ReplayProtect": partial(signer.sign, protected=False),
        "of yesterday": lambda message: signer.sign(message, machine_now() - FAR),
        "of tomorrow": lambda message: signer.sign(message, machine_now() + FAR),
        "time changed": _after(signer, _change_time),
        "taken away": _after(signer, _take_away),
    }


def _after(signer: Signer, change: Callable[[Any], None]) -> Spoil:
    def spoil(message: Message) -> Message:
        root = parse(signer.sign(message).body).root
        change(root)
        return replace(message, body=serialized(root))

    return spoil


def _strip(root: Any) -> None:
    root.remove(root.find("ds:Signature", NAMESPACES))


def _tamper(root: Any) -> None:
    """Change what was signed: a requestID."""
    request_id = root.find(".//pyld:requestID", NAMESPACES)
    request_id.text = f"{request_id.text or ''}x"


def _move(root: Any) -> None:
    """Leave what was signed in a corner, and put something else where messages stand."""
    signed = root.find("oadr:oadrSignedObject", NAMESPACES)
    other = deepcopy(signed)
    other.set(OBJECT_ID, "another")
    _tamper(other)
    corner = etree.SubElement(root.find("ds:Signature", NAMESPACES), f"{{{NAMESPACES['ds']}}}Object")
    corner.append(signed)
    root.append(other)


def _change_time(root: Any) -> None:
    stamp = root.find(".//dsp:timestamp", NAMESPACES)
    stamp.text = f"{machine_now().year + 1}{stamp.text[4:]}"


def _take_away(root: Any) -> None:
    root.find("ds:Signature", NAMESPACES).remove(root.find("ds:Signature/ds:Object", NAMESPACES))
