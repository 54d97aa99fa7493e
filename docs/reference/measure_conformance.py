"""`make conformance`: the kit at our VTN and VEN and at openleadr's, and what came of it as JSON and as a page."""

import asyncio
import json
import shlex
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from certs.authority import Authority
from certs.provisioning import new_key_and_request, store_bundle
from conformance import keys
from conformance.checks import CHECKS
from conformance.dialogues import DIALOGUES, HOSTILE
from conformance.exchange import Transcript
from conformance.listener import Place
from conformance.operators.evenload import EvenloadOperator
from conformance.operators.openleadr import started
from conformance.profile import Profile
from conformance.report import files
from conformance.report.summary import Summary, summary
from conformance.runner import Setting, judged, play
from conformance.stage import Timeline
from conformance.unrun import UNRUN
from conformance.vens.checks import CHECKS as VEN_CHECKS
from conformance.vens.desk import MARKET_CONTEXT, Rules
from conformance.vens.messages import VTN_ID
from conformance.vens.runner import play as play_ven
from conformance.vens.unrun import UNRUN as VEN_UNRUN
from conformance.vens.user import User
from conformance.verdict import Result, Verdict
from conformance.wire import Access
from core.clock import WorldClock, machine_now
from core.errors import UnavailableError
from evenload.demo.processes import free_port
from evenload.setup import Shape, prepare

_TOP: Final = Path(__file__).resolve().parents[2]
_JSON: Final = _TOP / "build" / "conformance.json"
_PAGE: Final = _TOP / "docs" / "reference" / "conformance.md"
_PATIENCE_S: Final = 20.0
_VERDICTS: Final = (Verdict.PASS, Verdict.FAIL, Verdict.NOT_APPLICABLE, Verdict.NOT_OBSERVABLE)
_WEIGHT: Final = (Verdict.NOT_OBSERVABLE, Verdict.NOT_APPLICABLE, Verdict.PASS, Verdict.FAIL)
_SECURITY: Final = ("certificates", "suites", "signatures")
"""The dialogues of which plain HTTP shows nothing."""


@dataclass(frozen=True, slots=True)
class _Own:
    """Our VTN, as it was started."""

    openadr: str
    api: str
    token: str
    authority: Path
    restart: Callable[[], None]


class _Operator(EvenloadOperator):
    """The operator of our VTN, which restarts it without a command."""

    restarts: Callable[[], None]

    def restart(self) -> None:
        self.restarts()


@contextmanager
def _own(place: Path) -> Iterator[_Own]:
    """Run our VTN while the context lasts: with its usual settings, VENs in push mode on this machine, and reports.

    Raises UnavailableError if it does not start.
    """
    shape = Shape("127.0.0.1", free_port(), free_port())  # the same ones after a restart
    prepared = asyncio.run(prepare(place / "vtn", ("127.0.0.1",), "EVENLOAD", shape))
    with prepared.settings.open("a", encoding="utf-8") as settings:
        settings.write('\n[openadr.push]\nallow = ["127.0.0.1/32"]\n')  # where the kit's VENs are
        settings.write('\n[openadr.own_reports]\noffer = true\nsettle = "PT0S"\n')  # none of which waits for readings
    command = [sys.executable, "-m", "evenload", "vtn", "--config", str(prepared.settings), "--json"]
    running: list[subprocess.Popen[bytes]] = []

    def start() -> bytes:
        with (place / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)  # noqa: S603
        running.append(process)
        return process.stdout.readline() if process.stdout else b""

    def end() -> None:
        process = running.pop()
        process.terminate()
        process.communicate(timeout=_PATIENCE_S)

    def restart() -> None:
        end()
        start()

    try:
        line = start()
        if not line:
            raise UnavailableError(f"The VTN does not start: {(place / 'log').read_text()[-1000:]}")
        urls = json.loads(line)
        yield _Own(urls["openadr"], urls["api"], prepared.token, place / "vtn" / "ca", restart)
    finally:
        end()


def _run(name: str, setting: Setting) -> Summary:
    transcripts = [play(dialogue, script, setting) for dialogue, script in DIALOGUES.items()]
    return summary(name, CHECKS, judged(CHECKS, transcripts, Profile()), UNRUN)


def _openleadr(place: Path, pace_s: int) -> Summary:
    """Test openleadr's VTN over plain HTTP, and once more its security by TLS; nothing hostile is sent."""
    name = f"openleadr {version('openleadr')}"
    checks = [check for check in CHECKS if check.dialogue != HOSTILE]
    with started() as peer:
        setting = Setting(Access(peer.url), peer, Timeline(peer.now(), machine_now()), place, 1, pace_s)
        plain = [play(dialogue, script, setting) for dialogue, script in DIALOGUES.items() if dialogue != HOSTILE]
    with started(place) as peer:
        authority = peer.authority
        assert authority is not None  # noqa: S101  it was given a directory
        expired = keys.expired(place, "expired peer", authority.certificate, authority.key)
        access = Access(peer.url, authority.certificate)
        setting = Setting(access, peer, Timeline(peer.now(), machine_now()), place, 1, pace_s, expired)
        secure = [play(dialogue, DIALOGUES[dialogue], setting) for dialogue in _SECURITY]
    of_security = [check for check in checks if check.dialogue in _SECURITY]
    results = merged(judged(checks, plain, Profile()), judged(of_security, secure, Profile()))
    return summary(name, checks, results, UNRUN)


def merged(results: Sequence[Result], others: Sequence[Result]) -> list[Result]:
    """Return for each rule the result of the run that saw more of it: a failure before all, then what passed."""
    by_rule = {result.rule: result for result in others}
    pairs = [(result, by_rule.get(result.rule, result)) for result in results]
    return [max(pair, key=lambda result: _WEIGHT.index(result.verdict)) for pair in pairs]


def _runs(pace_s: int) -> Iterator[Summary]:
    """Test both VTNs, one after the other."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        with _own(place) as own:
            trust = own.authority / "ca.pem"
            operator = _Operator(own.api, own.token, trust, place)
            operator.restarts = own.restart
            expired = keys.expired(place, "expired", trust, own.authority / "ca-key.pem")
            timeline = Timeline(operator.now(), machine_now())
            yield _run("evenload", Setting(Access(own.openadr, trust), operator, timeline, place, 1, pace_s, expired))
        yield _openleadr(place, pace_s)


_WORLD_SPEED: Final = 10.0
_VEN_ID: Final = "home"
_CLASS: Final = "Simple_Residential_On_Off_Loads"
_HOUSEHOLD: Final = """\
version: 1
name: evenload
identity: identity
state: state
clock: clock.json
vtn: {{url: "{url}", signatures: required, opts: createOpt}}
mqtt: {{host: 127.0.0.1, port: 9}}
devices:
  - {{id: meter, driver: senml_meter, with: {{id: home-01}}, role: grid_meter, class: Smart_Energy_Module}}
  - id: plug
    driver: shelly1
    with: {{id: plug-1}}
    role: plug
    class: Simple_Residential_On_Off_Loads
    nominal_w: 600
resources:
  - {{id: home-01, meter: meter, devices: [plug]}}
programmes:
  - {{match: {{signal: LOAD_DISPATCH}}, shed: {{order: [plug]}}}}
  - {{match: {{signal: SIMPLE}}, levels: {{1: {{plug: {{switch: "off"}}}}}}}}
  - {{match: {{signal: ELECTRICITY_PRICE}}, prices: [{{above: 0.3, do: {{plug: {{switch: "off"}}}}}}]}}
market_contexts: ["{market}"]
reports: {{min_period: PT10S, settle: PT1S}}
"""
"""Its world goes ten times as fast, for a minute and not ten; nobody is at the broker's port."""


def _ven_runs() -> Iterator[Summary]:
    """Test both VENs, one after the other: ours by TLS and with signatures, openleadr's by plain HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    url = f"https://127.0.0.1:{port}/OpenADR2/Simple/2.0b"
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        place = _certified(home, port)
        clock = WorldClock(machine_now().replace(microsecond=0), machine_now(), _WORLD_SPEED)
        clock.save(home / "clock.json")
        (home / "household.yaml").write_text(_HOUSEHOLD.format(url=url, market=MARKET_CONTEXT))
        config = ["--config", str(home / "household.yaml")]
        gateway = shlex.join([sys.executable, "-m", "evenload", "ven"])
        user = User(f"{gateway} {{do}} {shlex.join(config)}")
        world = Timeline(clock.epoch, clock.origin, _WORLD_SPEED)
        rules = Rules(poll_s=10, resource="home-01", device_class=_CLASS, ven_id=_VEN_ID)
        command = f"{gateway} run {shlex.join(config)}"
        yield _ven_run("evenload", play_ven(rules, place, world, command=command, user=user))
    place = Place("127.0.0.1", port)
    command = shlex.join([sys.executable, "-m", "conformance.vens.openleadr_client", "{url}"])
    world = Timeline(machine_now(), machine_now())
    rules = Rules(resource="heat-pump", patience_s=12.0)
    yield _ven_run(f"openleadr {version('openleadr')}", play_ven(rules, place, world, command=command))


def _certified(home: Path, port: int) -> Place:
    """Give our VEN an identity, and return where the kit is, with a certificate of the same authority."""
    authority = Authority.create(home / "ca", "Conformance")
    server = authority.issue_server(["127.0.0.1"])
    (home / "kit.pem").write_text(server.chain_pem)
    (home / "kit.key").write_text(server.key_pem or "")
    issued = authority.sign_request(new_key_and_request(home / "identity", _VEN_ID), _VEN_ID)
    names = {"ven_id": _VEN_ID, "ven_name": "evenload", "vtn_id": VTN_ID, "vtn_url": "https://127.0.0.1"}
    proof = {"certificate": issued.chain_pem, "ca": authority.ca_pem, "fingerprint": issued.record.fingerprint}
    store_bundle(home / "identity", names | proof)
    key = home / "ca" / "ca-key.pem"
    return Place("127.0.0.1", port, home / "kit.pem", home / "kit.key", home / "ca" / "ca.pem", authority_key=key)


def _ven_run(name: str, transcripts: Sequence[Transcript]) -> Summary:
    return summary(f"{name}'s VEN", VEN_CHECKS, judged(VEN_CHECKS, transcripts, Profile()), VEN_UNRUN)


def page(runs: Sequence[Summary], ven_runs: Sequence[Summary] = ()) -> str:
    """Return the page: counts by chapter, what did not pass, and what has no check."""
    subjects = [part for run in (*runs, *ven_runs) for part in _subject(run)]
    unrun = [line for run in (runs[:1], ven_runs[:1]) for each in run for line in _unrun(each)]
    return "\n".join([_HEAD, *subjects, *unrun])


_HEAD: Final = """\
# Conformance, measured

What `make conformance` found: the kit at [the VTN](../how-to/test-your-vtn.md) and
[the VEN](../how-to/test-your-ven.md) of this commit, and at those of the Python package openleadr. The VTNs meet VENs
in pull and in push mode, the VENs are in pull mode. evenload's speak by TLS and sign. openleadr's speak plain HTTP,
and that VTN a second time, for what of SE plain HTTP does not show, mutual TLS with signatures; a rule that either run
breaks is broken. That VTN does what its `add_event` can, and that VEN opts into everything: it has no setting for
market contexts. The rules are [the catalogue's](rules.md); SX is hostile input, which is for one's own VTN only.
Played once by hand at openleadr 0.5.36 (2026-12-01), three of its five rules failed there; which, and why, is for its
maintainers to hear first.
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


def _unrun(run: Summary) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for rule, reason in run.unrun.items():
        reasons.setdefault(reason, []).append(rule)
    side = "VENs" if run.subject.endswith("VEN") else "VTNs"
    return [
        f"## {len(run.unrun)} rules for {side} without a check",
        "",
        *(f"- {', '.join(ids)}: {reason}." for reason, ids in reasons.items()),
        "",
    ]


def main() -> None:
    """Run the kit and write both files; exit with 1 if our VTN breaks what must or should hold."""
    runs, ven_runs = list(_runs(4)), list(_ven_runs())
    rows: list[Any] = [
        {key: value for key, value in row.items() if key != "exchanges"}
        for run in (*runs, *ven_runs)
        for row in json.loads(files.as_json(run))["rows"]
    ]
    _JSON.parent.mkdir(exist_ok=True)
    _JSON.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    _PAGE.write_text(page(runs, ven_runs), encoding="utf-8")
    broken = [row.result.rule for run in (runs[0], ven_runs[0]) for row in run.broken]
    sys.stdout.write(f"{_JSON}\n{_PAGE}\nbroken by evenload: {', '.join(broken) or 'none'}\n")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
