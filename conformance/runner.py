"""Plays dialogues and judges what was said in them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from conformance.check import EVERY, Check
from conformance.dialogues import Dialogue
from conformance.dialogues.profile_a import PROFILE_A, VEN_OF_2_0_A
from conformance.exchange import Transcript
from conformance.operator import Operator
from conformance.profile import Profile
from conformance.stage import Stage, Timeline
from conformance.verdict import Result, Verdict
from conformance.wire import Access, Credentials
from core.errors import EvenloadError

D = TypeVar("D")
"""A dialogue with a VTN, or with a VEN."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all dialogues of a run share. `directory` is for keys, `pace_s` is world time."""

    access: Access
    operator: Operator
    timeline: Timeline
    directory: Path
    seed: int = 1
    pace_s: int = 4
    expired: Credentials | None = None
    """An expired certificate of the VTN's authority."""
    push_address: str | None = None
    """Where the VTN reaches the kit's VENs; without it, on this machine."""


def play(name: str, dialogue: Dialogue, setting: Setting) -> Transcript:
    """Play one dialogue. What breaks it off stands in its transcript: other dialogues are none the worse."""
    stage = Stage(
        name,
        setting.access,
        setting.operator,
        setting.timeline,
        setting.directory,
        setting.seed,
        setting.pace_s,
        setting.expired,
        setting.push_address,
    )
    broke = ""
    try:
        dialogue(stage)
    except EvenloadError as error:
        broke = str(error)
    finally:
        stage.tidy()
    return stage.transcript(broke)


def wanted(checks: Iterable[Check], dialogues: Mapping[str, D]) -> dict[str, D]:
    """Return the dialogues that some checks need, in their order."""
    names = {name for check in checks for name in (check.dialogue, check.also)}
    return {name: dialogue for name, dialogue in dialogues.items() if EVERY in names or name in names}


def judged(
    checks: Sequence[Check],
    transcripts: Sequence[Transcript],
    profile: Profile,
    tell: Callable[[Result], None] = lambda _result: None,
) -> tuple[Result, ...]:
    """Judge transcripts; one result a check, in the order of the checks."""
    by_name = {transcript.dialogue: transcript for transcript in transcripts}
    facts = {name: value for transcript in transcripts for name, value in transcript.facts.items()}
    of_2_0b = [transcript for transcript in transcripts if transcript.dialogue not in (PROFILE_A, VEN_OF_2_0_A)]
    every = Transcript(EVERY, tuple(exchange for transcript in of_2_0b for exchange in transcript), facts)
    results = []
    for check in checks:
        transcript = every if check.dialogue == EVERY else by_name.get(check.dialogue, Transcript(check.dialogue))
        more = by_name.get(check.also, Transcript(check.also))
        transcript = replace(transcript, exchanges=transcript.exchanges + more.exchanges)
        if check.feature and not profile.has(check.feature):
            reason = f"the profile declares no {check.feature}"
            result = Result(check.rule, Verdict.NOT_APPLICABLE, reason)
        else:
            result = check.of_transcript(transcript, also_broke=more.broke)
        tell(result)
        results.append(result)
    return tuple(results)
