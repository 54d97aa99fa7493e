"""What the simulated VENs do, as scripts for `benchmarks.load`. They know both servers' ways to ask for a report."""

import re
from typing import Final

from benchmarks import messages
from benchmarks.load import DriveError, Script, Ven

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


def _good(answer: bytes, kind: bytes) -> None:
    """Raise DriveError unless the answer is of a kind and its first response code is 200."""
    code = _CODE.search(answer)
    if kind not in answer or (code is not None and code[1] != b"200"):
        raise DriveError(f"Expected {kind.decode()} with 200, got: {answer[:500]!r}")
