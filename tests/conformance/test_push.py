"""The kit's VENs in push mode, at VTNs that push well or with one deliberate fault."""

from dataclasses import replace

import pytest

from conformance.check import EVERY
from conformance.checks import CHECKS
from conformance.dialogues import DIALOGUES
from conformance.dialogues import push as dialogues
from conformance.profile import Profile
from conformance.runner import Setting, judged, play
from conformance.stage import Timeline
from conformance.verdict import Verdict
from conformance.wire import Access
from core.clock import machine_now
from evenload.demo.processes import free_port
from support.pki import make_pki
from support.pushing_vtn import Faults, pushing_vtn


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch):
    monkeypatch.setattr(dialogues, "SLOW_S", 1.5)
    monkeypatch.setattr(dialogues, "SETTLED_S", 1.2)


def _played(tmp_path, dialogue, faults, home=None):
    """Play a dialogue at such a VTN; return its transcript and what all checks say, by rule."""
    with pushing_vtn(faults, home) as (vtn, access):
        timeline = Timeline(machine_now(), machine_now())
        transcript = play(dialogue, DIALOGUES[dialogue], Setting(access, vtn, timeline, tmp_path))
    checks = [check for check in CHECKS if check.dialogue in (EVERY, dialogue)]
    return transcript, {result.rule: result for result in judged(checks, [transcript], Profile())}


def _failed(results):
    return {rule for rule, result in results.items() if result.verdict is Verdict.FAIL}


@pytest.mark.parametrize(
    ("dialogue", "faults", "broken", "words"),
    [
        ("push", Faults(), set(), ""),
        ("push", Faults(prefix=""), {"TR-01"}, "went to /conformance/EiReport"),
        ("push", Faults(pushes_events=False), {"TR-01"}, "event:new: no oadrDistributeEvent was pushed"),
        ("push", Faults(takes_push=False), {"TR-01"}, "a VEN in push mode is refused with 459 Refused"),
        ("push trouble", Faults(), set(), ""),
        ("push trouble", Faults(patience_s=1.0), {"TR-10"}, "the VTN hung up within"),
        ("push trouble", Faults(first_pause_s=0.05), {"TR-11"}, "the VTN pushes again, not after 0.9 s"),
        ("push trouble", Faults(repeats_useless=True), {"TR-11"}, "after HTTP 404 the same message came again"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_fault_of_pushing_is_caught_and_nothing_else(tmp_path, dialogue, faults, broken, words):
    transcript, results = _played(tmp_path, dialogue, faults)
    assert _failed(results) == broken, {rule: results[rule].reason for rule in _failed(results)}
    for rule in broken:
        assert words in results[rule].reason
        assert results[rule].exchanges
    assert broken or not transcript.broke
    for rule in () if broken else {"push": ("TR-01",), "push trouble": ("TR-10", "TR-11")}[dialogue]:
        assert results[rule].verdict is Verdict.PASS


@pytest.mark.parametrize("checks_servers", [True, False])
def test_a_vtn_that_trusts_any_server_is_caught(tmp_path, checks_servers):
    pki = make_pki(tmp_path)
    ven = pki.authority.issue_server(["127.0.0.1"], calls_clients=True)
    (tmp_path / "ven.pem").write_text(ven.chain_pem)
    (tmp_path / "ven.key").write_text(ven.key_pem)
    faults = Faults(checks_servers=checks_servers)
    _, results = _played(tmp_path, "wrong server", faults, tmp_path)
    assert _failed(results) == (set() if checks_servers else {"SE-05"})
    assert results["SE-05"].verdict is (Verdict.PASS if checks_servers else Verdict.FAIL), results["SE-05"]
    transcript, results = _played(tmp_path, "push", faults, tmp_path)
    assert _failed(results) == set(), "its good VENs it pushes to"
    assert not transcript.broke
    assert results["TR-01"].verdict is Verdict.PASS


def test_without_tls_there_are_no_certificates(tmp_path):
    _, results = _played(tmp_path, "wrong server", Faults())
    assert results["SE-05"].verdict is Verdict.NOT_OBSERVABLE
    assert "without TLS" in results["SE-05"].reason


def test_what_overtakes_a_slow_or_refused_push_is_a_remark_and_no_fault(transcripts):
    (trouble,) = (each for each in transcripts if each.dialogue == "push trouble")
    checks = [check for check in CHECKS if check.rule in ("TR-10", "TR-11")]

    def remarks(transcript):
        return {each.rule: (each.verdict, each.reason) for each in judged(checks, [transcript], Profile())}

    assert set(remarks(trouble).values()) == {(Verdict.PASS, "")}
    times = [dict(each) for each in trouble.facts["times"]]
    slow = [number for number, each in enumerate(_pushes(trouble)) if each.step == "slow"]
    times[slow[1]]["came"] = times[slow[0]]["came"] + 1
    verdict, remark = remarks(replace(trouble, facts={**trouble.facts, "times": times}))["TR-10"]
    assert (verdict, remark) == (
        Verdict.PASS,
        "A second message was pushed to the VEN while the first one was still on its way.",
    )


def _pushes(transcript):
    return [exchange for exchange in transcript if exchange.is_push]


def test_a_vtn_elsewhere_has_to_know_where_to_push(tmp_path):
    timeline = Timeline(machine_now(), machine_now())
    with pushing_vtn(Faults()) as (vtn, _):
        setting = Setting(Access("http://vtn.example/OpenADR2/Simple/2.0b"), vtn, timeline, tmp_path)
        assert "--push-address" in play("push", DIALOGUES["push"], setting).broke
        given = replace(setting, push_address="http://10.0.0.1:1/x")
        assert "Plain HTTP is spoken on this machine only" in play("push", DIALOGUES["push"], given).broke


def test_a_vtn_is_given_the_address_that_the_tester_says(tmp_path):
    with pushing_vtn(Faults()) as (vtn, access):
        timeline = Timeline(machine_now(), machine_now())
        address = f"http://localhost:{free_port()}/lab"
        setting = Setting(access, vtn, timeline, tmp_path, push_address=address)
        transcript = play("push", DIALOGUES["push"], setting)
    assert not transcript.broke
    assert {each.request.target.rpartition("/OpenADR2/")[0] for each in _pushes(transcript)} == {"/lab"}
    results = judged([check for check in CHECKS if check.rule == "TR-01"], [transcript], Profile())
    assert [result.verdict for result in results] == [Verdict.PASS]


def test_a_profile_without_push_is_not_judged_by_it(tmp_path):
    transcript, _ = _played(tmp_path, "push", Faults(pushes_events=False))
    checks = [check for check in CHECKS if check.rule in ("TR-01", "TR-10", "TR-11", "SE-05")]
    results = judged(checks, [transcript], Profile(frozenset({"push"})))
    assert {result.verdict for result in results} == {Verdict.NOT_APPLICABLE}
    assert {result.reason for result in results} == {"the profile declares no push"}
