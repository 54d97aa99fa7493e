"""A VEN with one deliberate fault: its requests of a recorded dialogue, changed in one place."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import Any

from conformance import judge, signatures, templates
from conformance.exchange import Answer, Exchange, Transcript
from conformance.templates import Message
from support.mutations import Change, resigned, somebody

_POLL_SPREAD = (0.95, 1.05)
_BACK_OFF_S = (0.0, 1.0, 2.0, 4.0)


def said(name: str, old: str, new: str, *, count: int = 0) -> Change:
    """Replace what a regular expression matches in the VEN's messages of a name ("" for all); `count` times in each."""

    def change(exchange: Exchange) -> Exchange:
        if name and not exchange.step.endswith(f":{name}"):
            return exchange
        body = re.sub(old.encode(), new.encode(), exchange.request.body, count=count, flags=re.DOTALL)
        return _with(exchange, body=body)

    return change


def silent(name: str) -> Change:
    """Have the VEN poll in place of saying messages of a name."""
    return instead(name, lambda exchange: templates.poll(ven_of(exchange)))


def instead(name: str, *says: Callable[[Exchange], Message]) -> Change:
    """Have the VEN say something else in place of messages of a name: first the first, and the last ever after."""
    left = list(says)

    def change(exchange: Exchange) -> Exchange:
        if not exchange.step.endswith(f":{name}"):
            return exchange
        message = (left.pop(0) if len(left) > 1 else left[0])(exchange)
        target = re.sub(r"\w+$", message.service, exchange.request.target)
        step = exchange.step.removesuffix(name) + message.name
        return replace(_with(exchange, body=message.body, target=target), step=step)

    return change


def ven_of(exchange: Exchange) -> str:
    """Return the venID in a message of the VEN."""
    return judge.parse(exchange.request.body).text(".//ei:venID") or "ven"


def signed_anew(**how: Any) -> Change:
    """Sign the VEN's messages otherwise, as `support.mutations.resigned` does."""

    def change(exchange: Exchange) -> Exchange:
        return _with(exchange, body=resigned(exchange.request.body, **how)) if exchange.ven == "ven" else exchange

    return change


def signed(message: Callable[[Exchange], Message]) -> Callable[[Exchange], Message]:
    """Have what is said instead of a signed message signed, too, and at the same time."""

    def say(exchange: Exchange) -> Message:
        at = signatures.protection(judge.parse(exchange.request.body)).at
        return somebody().sign(message(exchange), at)

    return say


def stored(name: str) -> Change:
    """Say in place of all messages of a name the first, byte for byte."""
    first: list[bytes] = []

    def change(exchange: Exchange) -> Exchange:
        if not exchange.step.endswith(f":{name}"):
            return exchange
        first.append(exchange.request.body)
        return _with(exchange, body=first[0])

    return change


def moved(step: str) -> Change:
    """Have it said in another step."""
    return lambda exchange: replace(exchange, step=step)


def code(name: str, number: int) -> Change:
    """Have messages of a name say another responseCode in eiResponse."""
    return said(name, r"(<ei:eiResponse>\s*<ei:responseCode>)\d+", rf"\g<1>{number}")


def event_code(event: str, number: int) -> Change:
    """Have events, by the beginning of their ids, answered by another code."""
    between = "(?:(?!</ei:eventResponse>).)*?"
    pattern = rf"(<ei:eventResponse>\s*<ei:responseCode>)\d+(</ei:responseCode>{between}<ei:eventID>{event})"
    return said("oadrCreatedEvent", pattern, rf"\g<1>{number}\g<2>")


def header(name: str, value: str | None) -> Change:
    """Set a header of the requests, or leave it out."""

    def change(exchange: Exchange) -> Exchange:
        kept = tuple(pair for pair in exchange.request.headers if pair[0].lower() != name.lower())
        return _with(exchange, headers=kept if value is None else (*kept, (name, value)))

    return change


def posted_to(name: str, service: str) -> Change:
    """Have messages of a name go to another service."""

    def change(exchange: Exchange) -> Exchange:
        if not exchange.step.endswith(f":{name}"):
            return exchange
        return _with(exchange, target=re.sub(r"\w+$", service, exchange.request.target))

    return change


def by(method: str) -> Change:
    """Use another method."""
    return lambda exchange: _with(exchange, method=method)


def took(status: int, body: bytes = b"") -> Change:
    """Have a listener answer otherwise what is pushed to it."""

    def change(exchange: Exchange) -> Exchange:
        return replace(exchange, answer=Answer(status, (), body)) if exchange.ven == "vtn" else exchange

    return change


def spaced(seconds: float) -> Change:
    """Let the requests of a step be so many seconds of world time apart."""
    numbers = count()
    origin: list[Exchange] = []

    def change(exchange: Exchange) -> Exchange:
        origin.append(exchange)
        return replace(exchange, at=origin[0].at + timedelta(seconds=seconds * next(numbers)))

    return change


def _with(exchange: Exchange, **parts: object) -> Exchange:
    return replace(exchange, request=replace(exchange.request, **parts))  # type: ignore[arg-type]


def steady(transcript: Transcript) -> Transcript:
    """Return a transcript with the times of a machine on which nothing is slow: what was said stays."""
    poll_s, speed = float(transcript.facts["poll_s"]), float(transcript.facts["speed"])
    exchanges: list[Exchange] = []
    if not transcript.exchanges:
        return transcript
    at, busy, rest = transcript.exchanges[0].at, 0, 0
    for exchange in transcript.exchanges:
        if exchange.step == "at rest:oadrPoll":
            at += timedelta(seconds=poll_s * _POLL_SPREAD[rest % 2])
            rest += 1
        elif exchange.step == "busy:oadrPoll":
            at += timedelta(seconds=_BACK_OFF_S[min(busy, 3)] * speed)
            busy += 1
        else:
            at += timedelta(seconds=0.01)
        exchanges.append(replace(exchange, at=at))
    return replace(transcript, exchanges=tuple(exchanges))
