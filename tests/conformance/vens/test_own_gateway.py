"""The kit at our own gateway: every dialogue is played to its end, and no rule that must or should hold is broken.

Times are those of a machine on which nothing is slow (`steady`): how a gateway paces itself, tests of the gateway say.
"""

from conformance import judge
from conformance.catalogue import Side, load
from conformance.profile import Profile
from conformance.runner import judged
from conformance.vens.checks import CHECKS
from conformance.vens.checks.said import told
from conformance.vens.dialogues import DIALOGUES
from conformance.vens.unrun import UNRUN
from conformance.verdict import Verdict
from support.ven_mutations import steady

UNSEEN = {"OP-02", "OP-03", "OP-13"}
"""Nobody opts at this gateway."""


def _results(transcripts):
    return judged(CHECKS, [steady(transcript) for transcript in transcripts], Profile())


def test_every_dialogue_comes_to_its_end(transcripts):
    assert [transcript.dialogue for transcript in transcripts] == list(DIALOGUES)
    assert {transcript.dialogue: transcript.broke for transcript in transcripts if transcript.broke} == {}


def test_no_rule_is_broken(transcripts):
    broken = {result.rule: result.reason for result in _results(transcripts) if result.verdict is Verdict.FAIL}
    assert broken == {}


def test_every_rule_was_seen(transcripts):
    unseen = {result.rule for result in _results(transcripts) if result.verdict is not Verdict.PASS}
    assert unseen == UNSEEN


def test_what_the_kit_says_fits_the_schema(transcripts):
    """Else the VEN would be blamed for refusing it."""
    seen = set()
    for transcript in transcripts:
        for exchange, document in told(transcript):
            if not exchange.step.startswith("hostile:"):
                assert judge.schema_fault(document.root) == "", (transcript.dialogue, exchange.step, document.name)
                seen.add(document.name)
    assert len(seen) > 10


def test_every_check_has_a_rule_of_its_own():
    rules = [check.rule for check in CHECKS]
    assert len(rules) == len(set(rules))


def test_a_rule_for_vens_has_a_check_or_a_reason_why_not():
    sides = {rule.id: rule.side for rule in load()}
    checked = {check.rule for check in CHECKS if not check.rule.startswith("SX-")}
    assert checked & UNRUN.keys() == set()
    assert checked <= sides.keys()
    assert {rule for rule, side in sides.items() if side is not Side.VTN} - checked == UNRUN.keys()
