"""The kit at our own VTN: every dialogue is played to its end, and no rule that must or should hold is broken."""

from conformance import judge
from conformance.catalogue import Level, Side, load
from conformance.checks import CHECKS
from conformance.dialogues.profile_a import PROFILE_A
from conformance.profile import Profile
from conformance.runner import judged
from conformance.unrun import UNRUN
from conformance.verdict import Verdict

SPOILED = ("broken", "invalid", "hostile")
"""Steps whose requests are no valid messages, on purpose."""

UNSEEN = {
    "RP-44": Verdict.NOT_OBSERVABLE,  # each interval of its reports has a dtstart,
    "RP-45": Verdict.NOT_OBSERVABLE,  # no report a duration,
    "RP-49": Verdict.NOT_OBSERVABLE,  # and no value a confidence
}


def test_every_dialogue_comes_to_its_end(transcripts):
    assert {transcript.dialogue: transcript.broke for transcript in transcripts if transcript.broke} == {}


def test_no_rule_is_broken(transcripts):
    results = judged(CHECKS, transcripts, Profile())
    broken = {result.rule: result.reason for result in results if result.verdict is Verdict.FAIL}
    assert broken == {}


def test_every_rule_was_seen(transcripts):
    results = judged(CHECKS, transcripts, Profile())
    unseen = {result.rule: result.verdict for result in results if result.verdict is not Verdict.PASS}
    assert unseen == UNSEEN


def test_what_the_kit_sends_fits_the_schema(transcripts):
    """Else the VTN would be blamed for refusing it."""
    sent = 0
    for transcript in transcripts:
        for exchange in transcript if transcript.dialogue != PROFILE_A else ():
            if exchange.step.partition(":")[0] not in SPOILED:
                document = judge.request(exchange)
                assert judge.schema_fault(document.root) == "", (transcript.dialogue, exchange.step)
                sent += 1
    assert sent > 100


def test_every_check_has_a_rule_of_its_own():
    rules = [check.rule for check in CHECKS]
    assert len(rules) == len(set(rules))


def test_a_rule_for_vtns_has_a_check_or_a_reason_why_not():
    rules = {rule.id: rule.side for rule in load()}
    checked = {check.rule for check in CHECKS if not check.rule.startswith("SX-")}
    assert checked & UNRUN.keys() == set()
    assert checked <= rules.keys(), "some rules for VENs have a side that a VTN sees"
    assert {rule for rule, side in rules.items() if side is not Side.VEN} - checked == UNRUN.keys()


def test_what_leaves_nothing_to_see_is_not_checked():
    assert {rule.id for rule in load() if rule.level is Level.OPEN} & {check.rule for check in CHECKS} == set()
