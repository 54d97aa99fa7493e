"""A VTN with one deliberate fault: answers of a recorded dialogue, changed in one place."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conformance import judge, keys, signatures
from conformance.exchange import Answer, Exchange, Transcript
from conformance.signing import Signer
from conformance.templates import NAMESPACES, Message

Change = Callable[[Exchange], Exchange]


@dataclass(frozen=True)
class Mutation:
    """A fault that the check of `rule` must catch; `also` are other rules that it breaks, too.

    It is made in all answers of a step (the exact name, or the part before a colon) that it fits.
    """

    rule: str
    dialogue: str
    step: str
    change: Change
    also: frozenset[str] = field(default_factory=frozenset)
    name: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)
    """What the operator of the faulty VTN did otherwise."""

    def __str__(self) -> str:
        return f"{self.rule}: {self.dialogue}: {self.step}{self.name and ': '}{self.name}"


def mutated(transcript: Transcript, mutation: Mutation) -> Transcript:
    """Return the transcript with the fault. Nothing to change is a fault of the test."""
    changed = 0
    exchanges = []
    for exchange in transcript:
        if exchange.step == mutation.step or exchange.step.partition(":")[0] == mutation.step:
            other = mutation.change(exchange)
            changed += other is not exchange and other != exchange
            exchanges.append(other)
        else:
            exchanges.append(exchange)
    assert changed or mutation.facts, f"{mutation} changes nothing"
    return replace(transcript, exchanges=tuple(exchanges), facts={**transcript.facts, **mutation.facts})


def _answered(exchange: Exchange, change: Callable[[Answer], Answer]) -> Exchange:
    return exchange if exchange.answer is None else replace(exchange, answer=change(exchange.answer))


def _with_body(answer: Answer, body: bytes) -> Answer:
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-encoding"]
    headers = [(name, str(len(body)) if name.lower() == "content-length" else value) for name, value in headers]
    return Answer(answer.status, tuple(headers), body)


def text(old: str, new: str, *, count: int = 0) -> Change:
    """Replace what a regular expression matches in the body; answers without it stay."""

    def change(exchange: Exchange) -> Exchange:
        if exchange.answer is None or re.search(old.encode(), exchange.answer.content, re.DOTALL) is None:
            return exchange
        pattern = re.compile(old.encode(), re.DOTALL)
        return _answered(exchange, lambda answer: _with_body(answer, pattern.sub(new.encode(), answer.content, count)))

    return change


def code(number: int) -> Change:
    """Say another responseCode in eiResponse."""
    return text(r"(<ei:eiResponse>\s*<ei:responseCode>)\d+", rf"\g<1>{number}", count=1)


def status(number: int) -> Change:
    """Answer with another HTTP status, and a body that is none of OpenADR's."""
    return lambda exchange: _answered(exchange, lambda _answer: Answer(number, (("Content-Length", "2"),), b"no"))


def header(name: str, value: str | None) -> Change:
    """Set a header, or leave it out."""

    def change(answer: Answer) -> Answer:
        kept = tuple(pair for pair in answer.headers if pair[0].lower() != name.lower())
        return replace(answer, headers=kept if value is None else (*kept, (name, value)))

    return lambda exchange: _answered(exchange, change)


def silence(exchange: Exchange) -> Exchange:
    """Close the connection without an answer."""
    return replace(exchange, answer=None, trouble="the connection was closed without an answer")


def empty(exchange: Exchange) -> Exchange:
    """Answer as if nothing were there: oadrResponse with 200."""
    if exchange.answer is None:
        return exchange
    return replace(exchange, answer=_with_body(exchange.answer, response("OK").encode()))


def response(description: str) -> str:
    """Return an oadrResponse with 200."""
    return (
        '<p:oadrPayload xmlns:p="http://openadr.org/oadr-2.0b/2012/07" '
        'xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110" '
        'xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads"><p:oadrSignedObject>'
        '<p:oadrResponse ei:schemaVersion="2.0b"><ei:eiResponse><ei:responseCode>200</ei:responseCode>'
        f"<ei:responseDescription>{description}</ei:responseDescription><pyld:requestID/></ei:eiResponse>"
        "</p:oadrResponse></p:oadrSignedObject></p:oadrPayload>"
    )


def brought(name: str, change: Change) -> Change:
    """Make the change only in messages of this name."""

    def only(exchange: Exchange) -> Exchange:
        if exchange.answer is None or exchange.answer.status != 200:
            return exchange
        return change(exchange) if judge.parse(exchange.answer.content).name == name else exchange

    return only


def offering(*reports: str) -> Change:
    """Have the VTN's oadrRegisterReport offer reports, which are written with the kit's prefixes."""
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items() if prefix != "ds")
    content = "".join(report.replace("<oadr:oadrReport>", f"<oadr:oadrReport {declared}>") for report in reports)
    return brought("oadrRegisterReport", text("</pyld:requestID>", f"</pyld:requestID>{content}"))


def same(exchange: Exchange) -> Exchange:
    """Change nothing: the fault is the operator's interface's."""
    return exchange


@cache
def somebody() -> Signer:
    """Return who signs, and is nobody in particular."""
    with TemporaryDirectory() as place:
        return Signer(keys.stranger(Path(place), "somebody"))


def resigned(body: bytes, *, later: timedelta = timedelta(), **how: Any) -> bytes:
    """Return a signed message with another signature, by the time of the one it had; `how` is `Signer.sign`'s."""
    at = signatures.protection(judge.parse(body)).at + later
    plain = re.sub(b"<ds:Signature .*</ds:Signature>", b"", body, flags=re.DOTALL)
    plain = re.sub(b"<oadr:oadrSignedObject[^>]*>", b"<oadr:oadrSignedObject>", plain)
    return somebody().sign(Message("", "", plain), at, **how).body


def signed_anew(**how: Any) -> Change:
    """Sign answers that are signed otherwise, as `resigned` does."""

    def change(exchange: Exchange) -> Exchange:
        if exchange.answer is None or b"<ds:Signature" not in exchange.answer.content:
            return exchange
        return _answered(exchange, lambda answer: _with_body(answer, resigned(answer.content, **how)))

    return change


def stored(name: str) -> Change:
    """Answer by what was answered first by a message of this name, whenever it is one of this name."""
    first: list[Answer] = []

    def change(exchange: Exchange) -> Exchange:
        assert exchange.answer is not None
        first.append(exchange.answer)
        return replace(exchange, answer=first[0])

    return brought(name, change)
