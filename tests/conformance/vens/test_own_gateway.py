"""The kit at our own gateway: every dialogue is played to its end, and no rule that must or should hold is broken.

Times are those of a machine on which nothing is slow (`steady`): how a gateway paces itself, tests of the gateway say.
"""

from dataclasses import replace

import pytest

from conformance import judge
from conformance.catalogue import Side, load
from conformance.exchange import Transcript
from conformance.profile import Profile
from conformance.runner import judged
from conformance.vens.checks import CHECKS
from conformance.vens.checks.said import told
from conformance.vens.dialogues import DIALOGUES
from conformance.vens.unrun import UNRUN
from conformance.verdict import Verdict
from support.ven_mutations import steady

SPOILED = {"hostile", "invalid", "attack", "document type"}
"""Steps in which the kit says no valid messages, on purpose."""
_OPTS = {"OP-01", "OP-02", "OP-03", "OP-04", "OP-05", "OP-08", "OP-10", "OP-11", "OP-12", "OP-13"}
"""Nobody opts at the gateway that is pushed to."""
_SIGNATURES = {"SE-08", "SE-09", "SE-10"}
"""They need TLS, and have runs of their own."""
_TLS = {"SE-01", "SE-02", "SE-03", "SE-04", "SE-05"}
"""They, too."""
_OLD = {"PA-02", "PA-05"}
"""Our gateway speaks 2.0b."""
UNSEEN = {
    "transcripts": _OLD | _SIGNATURES | _TLS | {"GN-12", "RG-13", "TR-05", "TR-13", "SX-12"},
    "pushed": _OLD
    | _OPTS
    | _SIGNATURES
    | _TLS
    | {"PL-05", "PL-06", "PL-08", "PL-09", "PL-10", "TR-10", "TR-11", "SX-11"},
}


@pytest.fixture(params=["transcripts", "pushed"])
def mode(request):
    return request.param


@pytest.fixture
def played(request, mode):
    return request.getfixturevalue(mode)


def _results(transcripts):
    return judged(CHECKS, [steady(transcript) for transcript in transcripts], Profile())


def test_every_dialogue_comes_to_its_end(played):
    assert [transcript.dialogue for transcript in played] == list(DIALOGUES)
    assert {transcript.dialogue: transcript.broke for transcript in played if transcript.broke} == {}


def test_no_rule_is_broken(played):
    broken = {result.rule: result.reason for result in _results(played) if result.verdict is Verdict.FAIL}
    assert broken == {}


def test_every_rule_was_seen(played, mode):
    unseen = {result.rule for result in _results(played) if result.verdict is not Verdict.PASS}
    assert unseen == UNSEEN[mode]


def test_what_the_kit_says_fits_the_schema(played):
    """Else the VEN would be blamed for refusing it."""
    seen = set()
    for transcript in played:
        for exchange, document in told(transcript):
            if exchange.step.partition(":")[0] not in SPOILED:
                assert judge.schema_fault(document.root) == "", (transcript.dialogue, exchange.step, document.name)
                seen.add(document.name)
    assert len(seen) > 10


@pytest.mark.parametrize("mode", ["signed", "signed_and_pushed"])
def test_a_gateway_that_signs_breaks_no_rule(request, mode):
    played = request.getfixturevalue(mode)
    assert {transcript.dialogue: transcript.broke for transcript in played if transcript.broke} == {}
    results = {result.rule: (result.verdict, result.reason) for result in _results(played)}
    assert {rule: result for rule, result in results.items() if result[0] is Verdict.FAIL} == {}
    seen = (_SIGNATURES | _TLS) - ({"SE-03"} if mode == "signed" else set())
    assert {rule: results[rule] for rule in seen} == dict.fromkeys(seen, (Verdict.PASS, ""))


@pytest.mark.parametrize("mode", ["signed", "signed_and_pushed"])
def test_what_the_kit_signs_fits_the_schema(request, mode):
    for transcript in request.getfixturevalue(mode):
        for exchange, document in told(transcript):
            assert judge.schema_fault(document.root) == "", (transcript.dialogue, exchange.step, document.name)


def test_without_the_key_of_the_authority_less_is_seen(signed):
    """Nothing is asserted of what could not be shown; what is missing is said."""
    with_key = {"good:issued", "bad:another host", "bad:expired"}
    played = []
    for each in signed:
        shown = {step: calls for step, calls in each.facts.get("shown", {}).items() if step not in with_key}
        kept = tuple(one for one in each if not one.step.startswith(tuple(f"{step}:" for step in with_key)))
        played.append(replace(each, exchanges=kept, facts={**each.facts, "shown": shown}))
    results = {result.rule: result for result in _results(played)}
    assert results["SE-04"].verdict is Verdict.NOT_OBSERVABLE
    assert "--ca-key" in results["SE-04"].reason
    assert results["SE-05"].verdict is Verdict.PASS
    assert "no certificate of another host was shown: it takes --ca-key" in results["SE-05"].reason


def test_a_vtn_that_cannot_sign_sees_nothing_of_it(signed):
    played = [replace(each, facts={**each.facts, "can_sign": False}) for each in signed]
    unseen = {result.rule for result in _results(played) if result.verdict is Verdict.NOT_OBSERVABLE}
    assert {"SE-08", "SE-10"} <= unseen


def test_signatures_that_the_profile_does_not_have_are_not_asked_for(signed):
    results = judged(CHECKS, signed, Profile(frozenset({"signatures"})))
    assert {each.verdict for each in results if each.rule in _SIGNATURES} == {Verdict.NOT_APPLICABLE}


def test_every_check_has_a_rule_of_its_own():
    rules = [check.rule for check in CHECKS]
    assert len(rules) == len(set(rules))


def test_what_was_not_played_is_nobodys_fault():
    assert {check.of_transcript(Transcript(check.dialogue)).verdict for check in CHECKS} & {Verdict.FAIL} == set()


def test_a_rule_for_vens_has_a_check_or_a_reason_why_not():
    sides = {rule.id: rule.side for rule in load()}
    checked = {check.rule for check in CHECKS if not check.rule.startswith("SX-")}
    assert checked & UNRUN.keys() == set()
    assert checked <= sides.keys()
    assert {rule for rule, side in sides.items() if side is not Side.VTN} - checked == UNRUN.keys()
