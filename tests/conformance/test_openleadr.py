"""The kit at openleadr's VTN: it is played at through its own adapter, and its known faults are found."""

import pytest

from conformance import keys
from conformance.checks import CHECKS
from conformance.dialogues import DIALOGUES
from conformance.operator import ReportOrder, UnableError
from conformance.operators.openleadr import started
from conformance.profile import Profile
from conformance.runner import Setting, judged, play
from conformance.stage import Timeline
from conformance.verdict import Verdict
from conformance.wire import Access
from core.clock import machine_now

PLAYED = (
    "transport",
    "request ids",
    "invalid",
    "registration",
    "delivery",
    "changes",
    "order",
    "answers",
    "event opts",
    "restart",
)
FAULTS = {
    "GN-06": "a request of an unknown kind loses its requestID",
    "GN-12": "400 in place of 406",
    "TR-08": "nothing is compressed",
    "EV-12": "the start counts more than the priority",
    "EV-15": "without events there is no list",
    "EV-18": "replyLimit is ignored",
    "EV-23": "the notice that add_event is given is lost",
    "EV-47": "only the first answer to an event is told",
    "OP-01": "there is no EiOpt",
}
"""What is known of version 0.5.36."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    with started() as operator:
        timeline = Timeline(operator.now(), machine_now())
        setting = Setting(Access(operator.url), operator, timeline, tmp_path_factory.mktemp("keys"), 1, 1)
        transcripts = [play(name, DIALOGUES[name], setting) for name in PLAYED]
        with pytest.raises(UnableError):
            operator.request_report("Ven-1", ReportOrder("usage", ("power",)))
    return {result.rule: result for result in judged(CHECKS, transcripts, Profile())}


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    place = tmp_path_factory.mktemp("secure")
    with started(place) as operator:
        authority = operator.authority
        expired = keys.expired(place, "expired", authority.certificate, authority.key)
        access = Access(operator.url, authority.certificate)
        setting = Setting(access, operator, Timeline(operator.now(), machine_now()), place, 1, 1, expired)
        transcripts = [play(name, DIALOGUES[name], setting) for name in ("certificates", "suites", "signatures")]
    assert [transcript.broke for transcript in transcripts] == ["", "", ""]
    return {result.rule: result for result in judged(CHECKS, transcripts, Profile())}


def test_by_tls_it_lets_nobody_in_whom_it_does_not_know(secure):
    for rule in ("SE-02", "SE-03", "SE-04", "SE-06"):
        assert secure[rule].verdict is Verdict.PASS, secure[rule]


def test_it_has_one_certificate_and_so_one_of_the_suites(secure):
    assert secure["SE-01"].verdict is Verdict.FAIL
    assert secure["SE-01"].reason.startswith("suite:AES128-SHA256")


def test_an_unsigned_message_that_names_no_ven_is_taken_and_others_are_an_inner_fault(secure):
    taken, _, broken = secure["SE-08"].reason.partition("; ")
    assert taken == "taken: unsigned:oadrQueryRegistration"
    assert broken.startswith("an inner fault, HTTP 500: ")
    assert "unsigned:oadrPoll" in broken


def test_a_signature_of_tomorrow_is_taken(secure):
    assert secure["SE-10"].verdict is Verdict.FAIL
    assert secure["SE-10"].reason.startswith("taken: unprotected:of tomorrow")


@pytest.mark.parametrize("rule", FAULTS)
def test_a_known_fault_is_found(results, rule):
    assert results[rule].verdict is Verdict.FAIL, results[rule]
    assert results[rule].exchanges


def test_what_it_does_well_passes(results):
    for rule in ("RG-05", "RG-06", "GN-02", "GN-04", "EV-05", "EV-10", "EV-20", "TR-06"):
        assert results[rule].verdict is Verdict.PASS, results[rule]


def test_a_restart_costs_it_its_events_and_not_its_vens(results):
    assert results["RG-06"].verdict is Verdict.PASS


def test_what_it_cannot_do_is_not_held_against_it(results):
    assert results["EV-07"].verdict is Verdict.NOT_OBSERVABLE
    assert "no way to change an event" in results["EV-07"].reason
    assert results["SE-07"].verdict is Verdict.NOT_OBSERVABLE
