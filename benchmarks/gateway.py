"""What the simulated VENs do, as scripts for `benchmarks.load`. They know both servers' ways to ask for a report."""

import contextlib
import re
from typing import Final

from benchmarks import messages
from benchmarks.load import DriveError, Script, Ven
from openadr.signature.sign import Signer

R_IDS: Final = ("import", "export")
_DEEPEST: Final = 10

_KIND: Final = re.compile(rb"oadrSignedObject[^>]*>\s*<(?:\w+:)?(oadr\w+)")
_CODE: Final = re.compile(rb"responseCode>\s*(\d+)\s*<")
_REQUEST: Final = re.compile(rb"reportRequestID>\s*([^<\s]+)\s*<")
_EVENT: Final = re.compile(rb"eventID>\s*([^<\s]+)\s*</(?:\w+:)?eventID>\s*<(?:\w+:)?modificationNumber>\s*(\d+)")


def sign_up(ven: Ven, *, reports: bool) -> Script:
    """Register, offer reports if so wished, and take what the server wants until nothing waits any more."""
    _good(
        (yield "EiRegisterParty", messages.create_registration(ven.ven_id, ven.name)), b"oadrCreatedPartyRegistration"
    )
    if reports:
        answer = yield "EiReport", messages.register_report(ven.ven_id, R_IDS)
        _good(answer, b"oadrRegisteredReport")
        yield from _agree(ven, answer)
    for _ in range(_DEEPEST):
        answer = yield "OadrPoll", messages.poll(ven.ven_id)
        match _kind(answer):
            case b"oadrResponse":
                break
            case b"oadrRegisterReport":
                yield "EiReport", messages.registered_report(ven.ven_id)
            case b"oadrCreateReport":
                yield from _agree(ven, answer)
            case other:
                raise DriveError(f"{ven.name} did not expect {other.decode()}: {answer[:500]!r}")
    if reports and not ven.report_request_id:
        raise DriveError(f"{ven.name} was asked for no report.")


def _agree(ven: Ven, answer: bytes) -> Script:
    """Agree to the report that an answer asks for, if it does."""
    found = _REQUEST.search(answer)
    if found is not None:
        ven.report_request_id = found[1].decode()
        yield "EiReport", messages.created_report(ven.ven_id, ven.report_request_id)


def poll_for_ever(ven: Ven) -> Script:
    """Poll while nothing waits."""
    request = "OadrPoll", messages.poll(ven.ven_id)
    while True:
        _good((yield request), b"oadrResponse")


def signed(script: Script, signer: Signer) -> Script:
    """Have everything that a script says signed; a server that does not sign its answer ends the measurement."""
    with contextlib.closing(script):
        service, body = next(script)
        while True:
            answer = yield service, messages.signed(body, signer)
            _signed(answer)
            try:
                service, body = script.send(answer)
            except StopIteration:
                return


def prepare_polls(ven: Ven, count: int) -> None:
    """Sign polls before they are needed: the driver must cost far less than the server. Older ones are thrown away."""
    if ven.signer is not None:
        plain = messages.poll(ven.ven_id)
        ven.prepared.clear()
        ven.prepared.extend(messages.signed(plain, ven.signer) for _ in range(count))


def signed_polls(ven: Ven) -> Script:
    """Poll while nothing waits, each poll signed anew."""
    while True:
        if not ven.prepared:
            prepare_polls(ven, 1)
        answer = yield "OadrPoll", ven.prepared.popleft()
        _good(answer, b"oadrResponse")
        _signed(answer)


def poll_once(ven: Ven) -> Script:
    """Poll while nothing waits, once."""
    _good((yield "OadrPoll", messages.poll(ven.ven_id)), b"oadrResponse")


def report_for_ever(ven: Ven, values: int) -> Script:
    """Send reports of so many values, each with values that are new: a server might store repetitions once."""
    while True:
        yield from report_once(ven, values)


def report_once(ven: Ven, values: int) -> Script:
    """Send one report."""
    first = ven.reports * values
    ven.reports += 1
    body = messages.update_report(ven.ven_id, ven.report_request_id, R_IDS[0], first, values)
    _good((yield "EiReport", body), b"oadrUpdatedReport")


def follow_event(ven: Ven) -> Script:
    """Poll for one event and opt in."""
    answer = yield "OadrPoll", messages.poll(ven.ven_id)
    _good(answer, b"oadrDistributeEvent")
    found = _EVENT.search(answer)
    if found is None:
        raise DriveError(f"{ven.name} got no event: {answer[:500]!r}")
    _good((yield "EiEvent", messages.created_event(ven.ven_id, found[1].decode(), found[2].decode())), b"oadrResponse")


def _kind(answer: bytes) -> bytes:
    found = _KIND.search(answer)
    return found[1] if found else b""


def _signed(answer: bytes) -> None:
    if b":SignatureValue>" not in answer:
        raise DriveError(f"The answer has no signature: {answer[:500]!r}")


def _good(answer: bytes, kind: bytes) -> None:
    """Raise DriveError unless the answer is of a kind and its first response code is 200."""
    code = _CODE.search(answer)
    if kind not in answer or (code is not None and code[1] != b"200"):
        raise DriveError(f"Expected {kind.decode()} with 200, got: {answer[:500]!r}")
