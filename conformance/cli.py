"""`evenload conform`: the kit on the command line. `app` is a sub-application for the main command.

It exits with 0 if no must and no should is broken, with 1 if one is, with 2 for a wrong command line or file, with 3
if the VTN could not be tried at all.
"""

import json
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from conformance import judge, profile, record
from conformance import templates as t
from conformance.check import Check
from conformance.checks import CHECKS
from conformance.damage import overridden
from conformance.dialogues import DIALOGUES, FEATURES, HOSTILE
from conformance.dialogues.profile_a import VEN_OF_2_0_A
from conformance.exchange import Exchange, Transcript
from conformance.fleet import MOST_VENS, Load, check_place
from conformance.fleet import run as run_fleet
from conformance.listener import Place
from conformance.operator import Operator
from conformance.operators import restarting
from conformance.operators.evenload import EvenloadOperator
from conformance.operators.openleadr import started
from conformance.operators.person import PersonOperator, VenFile, read_vens
from conformance.profile import Profile
from conformance.report import page, table
from conformance.report.papers import Papers, console, need_places, write
from conformance.report.progress import Progress
from conformance.report.summary import Summary, summary
from conformance.runner import Setting, judged, play, wanted
from conformance.stage import Stage, Timeline
from conformance.unrun import UNRUN
from conformance.vens.checks import CHECKS as VEN_CHECKS
from conformance.vens.checks.said import messages
from conformance.vens.desk import MARKET_CONTEXT, Rules
from conformance.vens.dialogues import DIALOGUES as VEN_DIALOGUES
from conformance.vens.messages import VTN_ID
from conformance.vens.runner import FIRST
from conformance.vens.runner import play as play_ven
from conformance.vens.unrun import UNRUN as VEN_UNRUN
from conformance.vens.user import User
from conformance.verdict import printable
from conformance.wire import Access
from core.clock import machine_now
from core.errors import EvenloadError, InvalidError, UnavailableError

app = typer.Typer(name="conform", help="Test a VTN or a VEN against the rules of OpenADR 2.0b.", no_args_is_help=True)

_BROKEN: Final = 1
_MISUSED: Final = 2
_UNTRIED: Final = 3
_NOT_ACCEPTABLE: Final = 406


def _url(text: str) -> str:
    try:
        url = urlsplit(text)
        host = (url.hostname or "").encode("idna")  # raises for what no resolver takes
        usable = url.scheme in ("http", "https") and host != b"" and url.port != 0 and text.split() == [text]
    except ValueError:
        usable = False
    if not usable:
        raise typer.BadParameter(f"'{printable(text)[:100]}' is no http:// or https:// address")
    return text


def _push_address(text: str | None) -> str | None:
    return None if text is None else _url(text)


_Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", callback=_url, help="Where its VENs post: https://HOST:PORT/[PREFIX/]OpenADR2/Simple/2.0b"
    ),
]
_Ca = Annotated[Path | None, typer.Option("--ca", envvar="EVENLOAD_CA", help="The authority (PEM file) to trust.")]
_Api = Annotated[str | None, typer.Option(help="An evenload VTN: its operator API.")]
_Token = Annotated[str | None, typer.Option(envvar="EVENLOAD_TOKEN", help="An administrator's token for --api.")]
_Vens = Annotated[Path | None, typer.Option(help="Another VTN: a TOML file with the VENs that it knows.")]
_HostCheck = Annotated[
    bool, typer.Option("--host-check/--no-host-check", help="Hold the server's certificate against its host name.")
]
_Seed = Annotated[int, typer.Option(help="What is random comes from this number.")]
_Only = Annotated[
    list[str] | None, typer.Option(help="Only these chapters or rules: EV, RG-05 ... May be given several times.")
]
_Profile = Annotated[
    Path | None, typer.Option("--profile", help="A TOML file with the optional features that are absent.")
]
_Pace = Annotated[int, typer.Option(min=1, max=3600, help="Length of an interval that is waited for, seconds.")]
_Record = Annotated[Path | None, typer.Option("--record", help="Keep all messages in this directory.")]
_All = Annotated[bool, typer.Option("--all", help="List rules that passed, too.")]
_Junit = Annotated[Path | None, typer.Option(help="Write JUnit XML to a file.")]
_Json = Annotated[Path | None, typer.Option("--json", help="Write JSON to a file.")]
_Html = Annotated[Path | None, typer.Option(help="Write a page with the messages of each failure.")]


@contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM, which CI and `timeout` send, end a command as Ctrl-C does: what was made is cleaned up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _command(run: Callable[..., None]) -> Callable[..., None]:
    """Add a command whose errors are a line and an exit code."""

    @wraps(run)
    def told(*arguments: object, **options: object) -> None:
        try:
            with _ended_like_ctrl_c():
                run(*arguments, **options)
        except EvenloadError as error:
            typer.echo(f"evenload: {printable(str(error))}", err=True)
            raise typer.Exit(_MISUSED if isinstance(error, InvalidError) else _UNTRIED) from error

    return app.command()(told)


@_command
def vtn(
    url: _Url,
    ca: _Ca = None,
    api: _Api = None,
    token: _Token = None,
    vens: _Vens = None,
    *,
    ask: Annotated[bool, typer.Option("--ask", help="Ask you for what only the VTN's operator can do.")] = False,
    push_address: Annotated[
        str | None,
        typer.Option(
            callback=_push_address,
            metavar="URL",
            help="Where a VTN on another machine pushes to: an address of this one, with a port that is free.",
        ),
    ] = None,
    restart: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Restarts the VTN, such as 'systemctl restart vtn'; run on this machine."),
    ] = None,
    host_check: _HostCheck = True,
    profile_file: _Profile = None,
    only: _Only = None,
    seed: _Seed = 1,
    pace: _Pace = 4,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How many times as fast the VTN's world goes.")] = 1.0,
    record_to: _Record = None,
    every: _All = False,
    junit: _Junit = None,
    json_file: _Json = None,
    html: _Html = None,
) -> None:
    """Play VENs against a VTN, good and bad ones, and say which rules it keeps.

    It makes VENs, programmes and events there: take a VTN for trials. The VENs are retired in the end.
    """
    checks = _chosen(only)
    declared = profile.load(profile_file) if profile_file else Profile()
    papers = Papers(record_to, every, junit, json_file, html)
    papers.check()
    reach = _Reach(url, ca, api, token, vens, host_check, restart)
    if api is None and vens is None:
        raise InvalidError(
            "Say whose VENs to play: --api and --token for an evenload VTN, --vens FILE for another one."
        )
    transcripts: list[Transcript] = []
    if restart is not None:
        restarting.check(restart)
    with (
        papers.recording(transcripts),
        _setting(reach, ask=ask, seed=seed, pace_s=pace, speed=speed, push_address=push_address) as setting,
    ):
        _play(checks, setting, declared, transcripts)
    _need_answers(url, transcripts)
    not_restarted = [] if restart is None else [each for each in transcripts if _lacks_restart(each)]
    _tell_broken(not_restarted)
    results = judged(checks, transcripts, declared)
    _finish(papers, summary(url, checks, results, UNRUN), is_complete=not not_restarted)


def _lacks_restart(transcript: Transcript) -> bool:
    return transcript.dialogue == "restart" and not transcript.facts.get("restarted")


def _finish(papers: Papers, run: Summary, *, is_complete: bool = True) -> None:
    """Show what came of a run; exit with 1 if a rule is broken, or the run is not complete. Raises UnavailableError."""
    papers.show(run)
    if run.broken or not is_complete:
        raise typer.Exit(_BROKEN)


def _need_answers(url: str, transcripts: Sequence[Transcript]) -> None:
    """Raise UnavailableError if nothing of OpenADR was ever answered."""
    exchanges = [exchange for transcript in transcripts for exchange in transcript]
    if any(exchange.answer is not None and judge.is_openadr(exchange.answer) for exchange in exchanges):
        return
    if answered := next((exchange.answer for exchange in exchanges if exchange.answer is not None), None):
        raise UnavailableError(f"There is no OpenADR at {url}: HTTP {answered.status}, and no oadrPayload.")
    broke = next((transcript.broke for transcript in transcripts if transcript.broke), "no dialogue was played")
    trouble = next((exchange.trouble for exchange in exchanges if exchange.trouble), broke)
    raise UnavailableError(f"{url} could not be tried: {trouble}")


@_command
def ven(
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the VEN calls.")] = "127.0.0.1:8088",
    cert: Annotated[Path | None, typer.Option(help="For TLS: our certificate (PEM file).")] = None,
    key: Annotated[Path | None, typer.Option(help="For TLS: its key.")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="For TLS: the authority of the VEN's certificate.")] = None,
    ca_key: Annotated[
        Path | None, typer.Option(help="For TLS: the key of that authority, for certificates that have a fault.")
    ] = None,
    host_check: Annotated[
        bool, typer.Option("--host-check/--no-host-check", help="The VEN holds certificates against host names.")
    ] = True,
    start: Annotated[
        str | None, typer.Option(metavar="COMMAND", help="Starts the VEN, and ends it; {url} is where it has to call.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(
            metavar="COMMAND",
            help="Opts as the VEN's user does; {do} becomes opt-out EVENT, opt-in EVENT, away START END or back ID.",
        ),
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask you to opt at the VEN.")] = False,
    market_context: Annotated[str, typer.Option(help="The market context of its programme.")] = MARKET_CONTEXT,
    resource: Annotated[str, typer.Option(help="A resourceID that it has.")] = "",
    device_class: Annotated[str, typer.Option(help="A class of devices that it has, such as Water_Heater.")] = "",
    ven_id: Annotated[str | None, typer.Option(help="Its venID, where that was agreed on.")] = None,
    vtn_id: Annotated[str, typer.Option(help="The vtnID by which it expects its VTN.")] = VTN_ID,
    poll: Annotated[int, typer.Option(min=1, max=60, help="The poll period that it is asked for, seconds.")] = 2,
    patience: Annotated[float, typer.Option(min=5, max=3600, help="How long an answer is waited for, seconds.")] = 60.0,
    first: Annotated[float, typer.Option(min=1, max=86400, help="How long a VEN is waited for, seconds.")] = 300.0,
    speed: Annotated[float, typer.Option(min=1, max=1000, help="How many times as fast the VEN's world goes.")] = 1.0,
    profile_file: _Profile = None,
    only: _Only = None,
    seed: _Seed = 1,
    record_to: _Record = None,
    every: _All = False,
    junit: _Junit = None,
    json_file: _Json = None,
    html: _Html = None,
) -> None:
    """Play a VTN, good and bad, for the VEN that calls, be it pulling or pushed to, and say which rules it keeps.

    It registers the VEN, sends events and report requests, and ends the registration: take a VEN without devices. All
    is over in a few minutes; it takes longer the slower the VEN polls.
    """
    checks = _chosen(only, VEN_CHECKS)
    declared = profile.load(profile_file) if profile_file else Profile()
    papers = Papers(record_to, every, junit, json_file, html)
    papers.check()
    rules = Rules(
        poll,
        patience,
        first,
        market_context=market_context,
        resource=resource,
        device_class=device_class,
        ven_id=ven_id,
        vtn_id=vtn_id,
        seed=seed,
        checks_host=host_check,
    )
    dialogues = {FIRST: VEN_DIALOGUES[FIRST]} | wanted(checks, VEN_DIALOGUES)
    place = replace(_place(listen, cert, key, ca), authority_key=ca_key)
    transcripts: list[Transcript] = []
    world = Timeline(machine_now(), machine_now(), speed)
    with papers.recording(transcripts), Progress(len(dialogues)) as progress:
        play_ven(
            rules,
            place,
            world,
            command=start,
            user=User(user, _ask if ask else None),
            ready=lambda url: progress.say(f"Waiting for a VEN at {url}"),
            begins=progress.begin,
            dialogues=dialogues,
            into=transcripts,
        )
    _tell_broken(transcripts)
    checks = _that_apply(checks, transcripts)
    results = judged(checks, transcripts, declared)
    is_complete = not any(transcript.broke for transcript in transcripts)
    _finish(papers, summary(_subject(transcripts), checks, results, VEN_UNRUN), is_complete=is_complete)


def _that_apply(checks: Sequence[Check], transcripts: Sequence[Transcript]) -> list[Check]:
    """Return the checks for a VEN of the profile that it spoke: 2.0a has few rules, and 2.0b all."""
    if VEN_OF_2_0_A not in [transcript.dialogue for transcript in transcripts]:
        return list(checks)
    return [check for check in checks if check.dialogue == VEN_OF_2_0_A]


def _place(listen: str, cert: Path | None, key: Path | None, ca: Path | None) -> Place:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
        raise InvalidError(f"'{listen}' is not HOST:PORT, such as 127.0.0.1:8088.")
    return Place(host.strip("[]"), int(port), cert, key, ca)


def _subject(transcripts: Sequence[Transcript]) -> str:
    """Return what the VEN calls itself."""
    for transcript in transcripts:
        for _, document in messages(transcript, "oadrCreatePartyRegistration"):
            if name := document.text("oadr:oadrVenName"):
                return f"the VEN {printable(name)[:80]}"
    return "a VEN"


@_command
def openleadr(
    profile_file: _Profile = None,
    only: _Only = None,
    *,
    seed: _Seed = 1,
    pace: _Pace = 4,
    record_to: _Record = None,
    every: _All = False,
    junit: _Junit = None,
    json_file: _Json = None,
    html: _Html = None,
) -> None:
    """Start openleadr's VTN on this machine, over plain HTTP, and test it. It is sent nothing hostile."""
    checks = [check for check in _chosen(only) if check.dialogue != HOSTILE]
    declared = profile.load(profile_file) if profile_file else Profile()
    papers = Papers(record_to, every, junit, json_file, html)
    papers.check()
    transcripts: list[Transcript] = []
    with started() as operator, tempfile.TemporaryDirectory(prefix="conformance-") as place:
        timeline = Timeline(operator.now(), machine_now())
        setting = Setting(Access(operator.url), operator, timeline, Path(place), seed, pace)
        with papers.recording(transcripts):
            _play(checks, setting, declared, transcripts)
    _need_answers("openleadr's VTN", transcripts)
    _finish(papers, summary("openleadr's VTN", checks, judged(checks, transcripts, declared), UNRUN))


@_command
def replay(
    place: Annotated[
        Path,
        typer.Argument(
            metavar="RECORD",
            help="What --record of `evenload conform vtn` or `ven` wrote, or the file of a VEN's messages.",
        ),
    ],
    profile_file: _Profile = None,
    only: _Only = None,
    *,
    every: _All = False,
    junit: _Junit = None,
    json_file: _Json = None,
    html: _Html = None,
) -> None:
    """Judge a recorded run again, without a VTN or VEN."""
    papers = Papers(None, every, junit, json_file, html)
    papers.check()
    transcripts = record.load(place)
    played = {transcript.dialogue for transcript in transcripts}
    is_ven = bool(played & {FIRST, VEN_OF_2_0_A})
    side, unrun = (VEN_CHECKS, VEN_UNRUN) if is_ven else (CHECKS, UNRUN)
    dialogues = VEN_DIALOGUES.keys() if is_ven else DIALOGUES.keys()
    checks = [check for check in _chosen(only, side) if check.dialogue in played or check.dialogue not in dialogues]
    checks = _that_apply(checks, transcripts)
    if not checks:
        raise InvalidError(f"{place} holds no dialogue that these rules need; it has {', '.join(sorted(played))}.")
    if not any(transcript.exchanges for transcript in transcripts):
        raise UnavailableError(f"Nothing was said in the run of {place}.")
    _tell_left_out(transcripts)
    declared = profile.load(profile_file) if profile_file else Profile()
    try:
        results = judged(checks, transcripts, declared)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise InvalidError(f"The run in {place} was damaged: its facts are not those of the kit.") from error
    is_complete = not (is_ven and any(transcript.broke for transcript in transcripts))
    _finish(papers, summary(str(place), checks, results, unrun), is_complete=is_complete)


@_command
def send(
    url: _Url,
    name: Annotated[str, typer.Argument(metavar="MESSAGE", help="Such as oadrPoll or oadrCreateOpt.")],
    values: Annotated[
        list[str] | None, typer.Option("--set", metavar="ELEMENT=TEXT", help="Another text for an element.")
    ] = None,
    ca: _Ca = None,
    api: _Api = None,
    token: _Token = None,
    vens: _Vens = None,
    *,
    host_check: _HostCheck = True,
) -> None:
    """Register a VEN, post one message of it, and show request, answer and what the schema says."""
    pairs = dict(_pair(value) for value in values or ())
    with _setting(_Reach(url, ca, api, token, vens, host_check)) as setting:
        stage = Stage("send", setting.access, setting.operator, setting.timeline, setting.directory, 1, 1)
        ven = stage.ven("a")
        messages = {
            message.name: message
            for message in (t.query(stage.token()), ven.again(), *t.of_every_kind(ven.ven_id, ven.registration_id))
        }
        if name not in messages:
            raise InvalidError(f"There is no template for {name}; there are {', '.join(messages)}.")
        exchange = ven.post("send", overridden(messages[name], pairs) if pairs else messages[name])
    _show(exchange)


@_command
def fleet(
    vens_wanted: Annotated[int, typer.Argument(metavar="N", min=1, max=MOST_VENS, help="How many VENs.")],
    url: _Url,
    ca: _Ca = None,
    api: _Api = None,
    token: _Token = None,
    vens: _Vens = None,
    *,
    seconds: Annotated[float, typer.Option(min=1, max=3600, help="How long they live.")] = 60.0,
    period: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between a VEN's polls.")] = 10.0,
    anywhere: Annotated[bool, typer.Option("--anywhere", help="Also to another machine than this one.")] = False,
    host_check: _HostCheck = True,
    json_file: _Json = None,
) -> None:
    """Let N VENs live at a VTN: they register, poll and opt in, and are counted. Take a VTN for trials.

    It exits with 1 if messages were not answered by OpenADR. The VENs are retired in the end.
    """
    check_place(url, anywhere=anywhere)
    need_places(json_file)
    progress = Progress(vens_wanted + round(seconds))

    def tell(count: int, share: float) -> None:
        progress.reach(count + share * seconds, "VENs are made" if count < vens_wanted else "VENs live")

    with _setting(_Reach(url, ca, api, token, vens, host_check)) as setting, progress:
        outcome = run_fleet(Load(vens_wanted, period, seconds), setting, tell)
    if not outcome.registered:
        trouble = next(iter(outcome.troubles), "no VEN was registered")
        raise UnavailableError(f"{url} could not be tried: {trouble}")
    table.show_fleet(outcome, console())
    if json_file is not None:
        write(json_file, json.dumps(asdict(outcome), indent=1))
    if outcome.failed:
        raise typer.Exit(_BROKEN)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidError(f"'{text}' is not ELEMENT=TEXT, such as venID=other.")
    return name, value


def _show(exchange: Exchange) -> None:
    typer.echo(f"{exchange.request.method} {exchange.request.target}\n\n{page.readable(exchange.request.body)}")
    if exchange.answer is None:
        typer.echo(exchange.trouble)
        raise typer.Exit(_BROKEN)
    typer.echo(f"HTTP {exchange.answer.status}\n\n{page.readable(exchange.answer.content)}")
    if wrong := _fault(exchange.request.body):
        typer.echo(f"The request is not valid: {wrong}")
        if exchange.answer.status == _NOT_ACCEPTABLE:
            typer.echo("It is refused as it has to be (GN-12).")
            return
    fault = _fault(exchange.answer.content)
    typer.echo(f"The answer is not valid: {fault}" if fault else "The answer is valid.")
    if fault:
        raise typer.Exit(_BROKEN)


def _fault(body: bytes) -> str:
    """Return what the schema refuses of a message; empty if nothing."""
    try:
        return judge.schema_fault(judge.parse(body).root)
    except ValueError as error:
        return str(error)


def _chosen(only: Sequence[str] | None, side: Sequence[Check] = CHECKS) -> list[Check]:
    """Return the checks of these chapters and rules; all without any. Raises InvalidError for what there is not."""
    if not only:
        return list(side)
    known_rules = {check.rule for check in side}
    chapters = {rule.partition("-")[0] for rule in known_rules}
    unrun = VEN_UNRUN if side is VEN_CHECKS else UNRUN
    if untried := [word.upper() for word in only if word.upper() in unrun]:
        raise InvalidError(f"{untried[0]} cannot be tested: {unrun[untried[0]]}.")
    if strange := [word for word in only if word.upper() not in known_rules | chapters]:
        raise InvalidError(f"There is no check for {', '.join(strange)}; chapters are {', '.join(sorted(chapters))}.")
    words = {word.upper() for word in only}
    return [check for check in side if {check.rule, check.rule.partition("-")[0]} & words]


@dataclass(frozen=True, slots=True)
class _Reach:
    """How a VTN and its operator are reached, as it was typed."""

    url: str
    ca: Path | None
    api: str | None
    token: str | None
    vens: Path | None
    host_check: bool
    restart: str | None = None


@contextmanager
def _setting(
    reach: _Reach,
    *,
    ask: bool = False,
    seed: int = 1,
    pace_s: int = 1,
    speed: float = 1.0,
    push_address: str | None = None,
) -> Iterator[Setting]:
    """Yield what the dialogues need; afterwards what was made for them is retired. Raises EvenloadError."""
    ven_file = read_vens(reach.vens) if reach.vens else VenFile()
    directory = Path(tempfile.mkdtemp(prefix="conformance-"))
    try:
        with _operator(reach, ven_file, directory, ask=ask) as operator:
            timeline = Timeline(operator.now(), machine_now(), speed)
            access = Access(reach.url.rstrip("/"), reach.ca, reach.host_check)
            yield Setting(access, operator, timeline, directory, seed, pace_s, ven_file.expired, push_address)
    finally:
        shutil.rmtree(directory)


@contextmanager
def _operator(reach: _Reach, ven_file: VenFile, directory: Path, *, ask: bool) -> Iterator[Operator]:
    """Yield the adapter that was asked for. Raises InvalidError without a token."""
    if reach.api is None:
        yield PersonOperator(ven_file.vens, _ask if ask else None, reach.restart)
        return
    if not reach.token:
        raise InvalidError("With --api an administrator's token is needed: --token, or EVENLOAD_TOKEN.")
    operator = EvenloadOperator(reach.api, reach.token, reach.ca, directory, reach.restart)
    try:
        yield operator
    finally:
        _tidy(operator)


def _ask(text: str) -> str:
    return str(typer.prompt(f"\n{text}\nPress Enter when it is done, or type no", default="", show_default=False))


def _tidy(operator: EvenloadOperator) -> None:
    try:
        operator.tidy()
    except EvenloadError as error:
        typer.echo(f"The VENs of this run are still there: {error}", err=True)


def _play(checks: Sequence[Check], setting: Setting, declared: Profile, transcripts: list[Transcript]) -> None:
    """Play the dialogues that some checks need, one after the other, and show how far it has come."""
    needed = wanted(checks, DIALOGUES).items()
    dialogues = {name: dialogue for name, dialogue in needed if declared.has(FEATURES.get(name, ""))}
    with Progress(len(dialogues)) as progress:
        for name, dialogue in dialogues.items():
            progress.begin(name)
            transcripts.append(play(name, dialogue, setting))


def _tell_broken(transcripts: Sequence[Transcript]) -> None:
    """Say which dialogues were not played to their end: what they were to show could not be seen."""
    for transcript in transcripts:
        if transcript.broke:
            typer.echo(f"The dialogue '{transcript.dialogue}' broke off: {printable(transcript.broke)}", err=True)


def _tell_left_out(transcripts: Sequence[Transcript]) -> None:
    """Say what a log had that its record has not, so that nobody takes it for judged."""
    for facts in (transcript.facts for transcript in transcripts):
        if count := facts.get("left_out"):
            typer.echo(
                f"{count} of the messages are not in the record: of 2.0a, or too long to be kept whole.", err=True
            )
        if facts.get("older_missing"):
            typer.echo("Older messages are not in the record, which would have become too large.", err=True)
