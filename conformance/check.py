"""A check: one rule of the catalogue, judged from the transcript of one dialogue.

    @check("RG-05", "registration")
    def created_party_registration_is_complete(transcript: Transcript) -> None: ...

It returns if the rule holds, and raises Failed, NotApplicable or NotObservable if it does not. What it returns is a
remark: something worth knowing that no rule forbids.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conformance.exchange import Exchange, Transcript
from conformance.verdict import Failed, NotApplicable, NotObservable, Result, Verdict, printable

EVERY: Final = "every"
"""In place of a dialogue's name: all exchanges of all dialogues."""
_NOT_THERE: Final = 404
Judge = Callable[[Transcript], str | None]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule's check. `feature` is the optional one without which it does not apply.

    `also` is a second dialogue that shows the rule, if it was played: its exchanges follow those of the first.
    """

    rule: str
    dialogue: str
    judge: Judge
    feature: str = ""
    also: str = ""

    def of_transcript(self, transcript: Transcript, *, also_broke: str = "") -> Result:
        """Judge a transcript. What broke off the dialogue is the reason where nothing can be seen.

        `also_broke`: what broke off the second dialogue; of a rule that holds without it, it is a remark.
        """
        try:
            remark = self.judge(transcript)
        except Failed as failed:
            return Result(self.rule, Verdict.FAIL, printable(str(failed)), failed.exchanges)
        except NotApplicable as idle:
            return Result(self.rule, Verdict.NOT_APPLICABLE, printable(str(idle)))
        except NotObservable as unseen:
            reason = f"{unseen} ({transcript.broke})" if transcript.broke else str(unseen)
            return Result(self.rule, Verdict.NOT_OBSERVABLE, printable(reason))
        gap = f"Not all was seen of the {self.also}: {also_broke}." if also_broke else ""
        return Result(self.rule, Verdict.PASS, printable(" ".join(filter(None, (remark, gap)))))


def check(rule: str, dialogue: str, *, feature: str = "", also: str = "") -> Callable[[Judge], Check]:
    """Make a function the check of a rule."""
    return lambda judge: Check(rule, dialogue, judge, feature, also)


def needed(transcript: Transcript, step: str) -> tuple[Exchange, ...]:
    """Return the exchanges of a step. Raises NotObservable if it was not played."""
    exchanges = transcript.steps(step)
    if not exchanges:
        raise NotObservable(f"the step '{step}' was not played")
    return exchanges


def served(transcript: Transcript, step: str) -> tuple[Exchange, ...]:
    """Return the exchanges of a step without those to services that are not there: other rules judge that.

    Raises NotObservable without any.
    """
    exchanges = needed(transcript, step)
    there = tuple(each for each in exchanges if each.answer is None or each.answer.status != _NOT_THERE)
    if not there:
        raise NotObservable(f"the service of the step '{step}' is not there")
    return there
