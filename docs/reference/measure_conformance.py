"""`make conformance`: the kit at our VTN and at openleadr's, and what came of it as JSON and as a page."""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from conformance import keys
from conformance.checks import CHECKS
from conformance.dialogues import DIALOGUES, HOSTILE
from conformance.operators.evenload import EvenloadOperator
from conformance.operators.openleadr import started
from conformance.profile import Profile
from conformance.report import files
from conformance.report.summary import Summary, summary
from conformance.runner import Setting, judged, play
from conformance.stage import Timeline
from conformance.unrun import UNRUN
from conformance.verdict import Verdict
from conformance.wire import Access
from core.clock import machine_now
from core.errors import UnavailableError
from evenload.setup import Shape, prepare

_TOP: Final = Path(__file__).resolve().parents[2]
_JSON: Final = _TOP / "build" / "conformance.json"
_PAGE: Final = _TOP / "docs" / "reference" / "conformance.md"
_PATIENCE_S: Final = 20.0
_VERDICTS: Final = (Verdict.PASS, Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_OBSERVABLE)


@dataclass(frozen=True, slots=True)
class _Own:
    """Our VTN, as it was started."""

    openadr: str
    api: str
    token: str
    authority: Path


@contextmanager
def _own(place: Path) -> Iterator[_Own]:
    """Run our VTN with its usual settings while the context lasts. Raises UnavailableError if it does not start."""
    prepared = asyncio.run(prepare(place / "vtn", ("127.0.0.1",), "EVENLOAD", Shape("127.0.0.1", 0, 0)))
    command = [sys.executable, "-m", "evenload", "vtn", "--config", str(prepared.settings), "--json"]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log) as process:  # noqa: S603
        try:
            line = process.stdout.readline() if process.stdout else b""
            if not line:
                raise UnavailableError(f"The VTN does not start: {(place / 'log').read_text()[-1000:]}")
            urls = json.loads(line)
            yield _Own(urls["openadr"], urls["api"], prepared.token, place / "vtn" / "ca")
        finally:
            process.terminate()
            process.wait(_PATIENCE_S)


def _run(name: str, setting: Setting, without: str = "") -> Summary:
    transcripts = [play(dialogue, script, setting) for dialogue, script in DIALOGUES.items() if dialogue != without]
    checks = [check for check in CHECKS if check.dialogue != without]
    return summary(name, checks, judged(checks, transcripts, Profile()), UNRUN)


def _runs(pace_s: int) -> Iterator[Summary]:
    """Test both VTNs, one after the other."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with _own(place) as own:
            trust = own.authority / "ca.pem"
            operator = EvenloadOperator(own.api, own.token, trust, place)
            expired = keys.expired(place, "expired", trust, own.authority / "ca-key.pem")
            timeline = Timeline(operator.now(), machine_now())
            yield _run("evenload", Setting(Access(own.openadr, trust), operator, timeline, place, 1, pace_s, expired))
        with started() as peer:
            name = f"openleadr {version('openleadr')}"
            timeline = Timeline(peer.now(), machine_now())
            yield _run(name, Setting(Access(peer.url), peer, timeline, place, 1, pace_s), without=HOSTILE)


def page(runs: Sequence[Summary]) -> str:
    """Return the page: counts by chapter, what did not pass, and what has no check."""
    return "\n".join([_HEAD, *(part for run in runs for part in _subject(run)), *_unrun(runs[0].unrun)])


_HEAD: Final = """\
# Conformance, measured

What `make conformance` found: [the kit](../how-to/test-your-vtn.md) at the VTN of this commit and at the VTN of the
Python package openleadr, both in pull mode. openleadr's is reached over plain HTTP, and does what its `add_event` can.
The rules are [the catalogue's](rules.md); SX is hostile input, which is for one's own VTN only.
"""


def _subject(run: Summary) -> list[str]:
    heads = " | ".join(("chapter", *(verdict.value for verdict in _VERDICTS)))
    lines = [f"## {run.subject}", "", f"| {heads} |", "|---" * (len(_VERDICTS) + 1) + "|"]
    for chapter in (*run.chapters, None):
        counts: Counter[Verdict] = run.counts(chapter)
        lines.append(f"| {chapter or 'all'} | {' | '.join(str(counts[verdict]) for verdict in _VERDICTS)} |")
    lines.append("")
    rest = [row for row in run.rows if row.result.verdict is not Verdict.PASS]
    if rest:
        lines += ["| rule | level | verdict | what was seen |", "|---|---|---|---|"]
        lines += [
            f"| {row.result.rule} | {row.level.value} | {row.result.verdict.value} | {_cell(row.result.reason)} |"
            for row in rest
        ]
        lines.append("")
    return lines


def _cell(text: str) -> str:
    """Return a text as a table's cell holds it, as code where a page would read it as something else."""
    return text.replace("|", "/").replace("\n", " ").replace("<", "&lt;")[:200]


def _unrun(rules: Mapping[str, str]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for rule, reason in rules.items():
        reasons.setdefault(reason, []).append(rule)
    return [
        f"## {len(rules)} rules without a check",
        "",
        *(f"- {', '.join(ids)}: {reason}." for reason, ids in reasons.items()),
        "",
    ]


def main() -> None:
    """Run the kit and write both files; exit with 1 if our VTN breaks what must or should hold."""
    runs = list(_runs(4))
    rows: list[Any] = [
        {key: value for key, value in row.items() if key != "exchanges"}
        for run in runs
        for row in json.loads(files.as_json(run))["rows"]
    ]
    _JSON.parent.mkdir(exist_ok=True)
    _JSON.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    _PAGE.write_text(page(runs), encoding="utf-8")
    broken = [row.result.rule for row in runs[0].broken]
    sys.stdout.write(f"{_JSON}\n{_PAGE}\nbroken by evenload: {', '.join(broken) or 'none'}\n")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
