"""The command line of the gateway: `evenload ven ...`, `evenload explain` and `evenload devices`."""

import json
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import EvenloadError, InvalidError, NotFoundError

if TYPE_CHECKING:  # help needs none of them, and comes at once
    from bridges.device import Outcome
    from bridges.drivers.listing import DriverInfo
    from openadr.model.opt import OptType
    from ven.gateway import Gateway
    from ven.household import Household
    from ven.store import Store

app = typer.Typer(no_args_is_help=True, help="The gateway: connects a household's devices to a VTN.")
lone = typer.Typer()
"""Commands that belong to no group."""

_Config = Annotated[Path, typer.Option("--config", "-c", help="The household file.")]
_Configs = Annotated[list[Path] | None, typer.Option("--config", "-c", help="A household file; may be repeated.")]


_Templates = Annotated[Path | None, typer.Option("--templates", help="Directory with device templates of your own.")]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def _load(path: Path) -> "Household":
    from ven.household_file import load_household

    return load_household(path)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a user can mend into one line and exit code 1."""
    try:
        yield
    except EvenloadError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


@app.callback(invoke_without_command=True)
def main(context: typer.Context, config: _Configs = None) -> None:
    """Run the gateway of one household, or several; see the commands for the rest."""
    command = context.invoked_subcommand
    if command is not None:
        files = [str(path) for path in config or ()]  # said before the command, they count for the command
        if len(files) > 1 and command != "run":
            typer.echo(f"{command} takes one household file, not {len(files)}.", err=True)
            raise typer.Exit(2)
        if files:
            context.default_map = {command: {"config": files if command == "run" else files[0]}}
        return
    if not config:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    _run(config)


@app.command()
def run(config: _Configs = None) -> None:
    """Run the gateways of these households until SIGTERM or Ctrl-C. SIGHUP reads the household files again."""
    if not config:
        typer.echo("Give at least one household file with --config.", err=True)
        raise typer.Exit(2)
    _run(config)


def _run(configs: list[Path]) -> None:
    import asyncio

    from ven.gateway import Gateway
    from ven.supervision import run_gateways

    async def work() -> None:
        households = [_load(path) for path in configs]
        gateways: list[Gateway] = []
        try:
            turn = asyncio.Lock()
            gateways += [Gateway(household, turn=turn) for household in households]
        except EvenloadError:
            for gateway in gateways:
                gateway.close()
            raise

        def stop() -> None:
            for gateway in gateways:
                gateway.stop()

        def reload() -> None:
            for path, gateway in zip(configs, gateways, strict=True):
                _reload(path, gateway)

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        loop.add_signal_handler(signal.SIGHUP, reload)
        await run_gateways(gateways)

    with _told():
        asyncio.run(work())


def _reload(path: Path, gateway: "Gateway") -> None:
    """Go on with the household file as it is now; one that cannot be read changes nothing."""
    import structlog

    _log = structlog.get_logger(__name__)
    try:
        household = _load(path)
    except EvenloadError as error:
        _log.error("the household file cannot be used; the gateway goes on with the one before", reason=str(error))
        return
    _log.info("the household file was read again", file=str(path), changed=gateway.reload(household))


@app.command()
def enrol(
    code: Annotated[str, typer.Argument(help="The one-time code that the operator gave out.")],
    vtn: Annotated[str, typer.Option("--vtn", help="The VTN's operator address, https://...")],
    ca: Annotated[Path | None, typer.Option("--ca", help="File to check that address's certificate with.")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="Household file; names the directory.")] = None,
    directory: Annotated[Path | None, typer.Option("--directory", help="Where the identity goes.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name in the signing request.")] = "",
    key_type: Annotated[str, typer.Option("--key-type", help="ec or rsa.")] = "ec",
    replace: Annotated[bool, typer.Option("--replace", help="Put a new identity in the place of an old one.")] = False,
) -> None:
    """Get this gateway's certificate: the key is made here and never leaves."""
    from ven.enrol import enrol as redeem

    with _told():
        household = _load(config) if config else None
        target = directory or (household.identity if household else None)
        if target is None:
            raise InvalidError("Say where the identity goes: --config household.yaml or --directory DIRECTORY.")
        wanted = name or (household.name if household else target.resolve().name)
        identity = redeem(code, vtn, ca, target, wanted, key_type, replace=replace)
    typer.echo(f"Enrolled as {identity.ven_name} ({identity.ven_id}) with {identity.vtn_id} at {identity.vtn_url}.")
    typer.echo(f"Fingerprint: {identity.fingerprint}")


@app.command("fetch-ca")
def fetch_ca(
    vtn: Annotated[str, typer.Option("--vtn", help="The VTN's operator address, https://...")],
    sha256: Annotated[str, typer.Option("--sha256", help="Of the certificate, as the operator told it.")],
    out: Annotated[Path, typer.Option("--out", help="The file to write.")] = Path("vtn-ca.pem"),
) -> None:
    """Get the certificate of the VTN's authority, for `enrol --ca`; only the one with that fingerprint is taken."""
    from ven.enrol import fetch_ca as fetch

    with _told():
        fetch(vtn, sha256, out)
    typer.echo(f"Wrote {out}.")


@app.command("opt-out")
def opt_out(
    event: Annotated[str, typer.Argument(help="The eventID.")],
    config: _Config,
    reason: Annotated[str, typer.Option("--reason", help="Told to the VTN.")] = "notParticipating",
) -> None:
    """Opt out of an event; the running gateway tells the VTN and gives the devices back."""
    from openadr.model.opt import OptType

    _wish(event, config, OptType.OUT, reason)


@app.command("opt-in")
def opt_in(
    event: Annotated[str, typer.Argument(help="The eventID.")],
    config: _Config,
    reason: Annotated[str, typer.Option("--reason", help="Told to the VTN.")] = "participating",
) -> None:
    """Opt in to an event after all."""
    from openadr.model.opt import OptType

    _wish(event, config, OptType.IN, reason)


@app.command()
def away(
    start: Annotated[str, typer.Argument(help="From when on, ISO 8601; without a zone it is UTC.")],
    end: Annotated[str, typer.Argument(help="Until when.")],
    config: _Config,
    reason: Annotated[str, typer.Option("--reason", help="An OpenADR optReason.")] = "notParticipating",
) -> None:
    """Opt out of every event between two times; the running gateway tells the VTN."""
    household, store = _opened(config)
    with _told(), closing(store):
        store.wish_absence(_moment(start, household), _moment(end, household), reason)
    typer.echo(f"The gateway is told: away from {start} until {end}.")


@app.command()
def back(
    opt_id: Annotated[str, typer.Argument(help="Of the time away, as `evenload ven status` names it.")], config: _Config
) -> None:
    """Take part again in events that are new or change; `opt-in` takes part in one that was opted out of."""
    _, store = _opened(config)
    with _told(), closing(store):
        store.wish_presence(opt_id)
    typer.echo(f"The gateway is told: {opt_id} ends.")


def _wish(event: str, config: Path, opt: "OptType", reason: str) -> None:
    from openadr.model.opt import check_reason
    from ven.household import OptMessage

    household, store = _opened(config)
    with _told(), closing(store):
        if household.vtn.opts is OptMessage.CREATE_OPT:
            check_reason(reason)
        store.wish(event, opt, reason)
    typer.echo(f"The gateway is told: {opt} of {event}.")


def _opened(config: Path) -> "tuple[Household, Store]":
    """Return a household and the store of its gateway."""
    from ven.status import open_store

    with _told():
        household = _load(config)
        return household, open_store(household)


@app.command()
def status(config: _Config, as_json_: _Json = False) -> None:
    """Show what a gateway knows: registration, events, reports, store."""
    from ven.status import as_lines, read_status

    with _told():
        found = read_status(_load(config))
    typer.echo(json.dumps(found, indent=2) if as_json_ else as_lines(found))


@app.command()
def assessments(
    config: _Config,
    most: Annotated[int, typer.Option("--most", min=1, max=400, help="So many, the newest.")] = 20,
    as_json_: _Json = False,
) -> None:
    """Show what events brought, as this gateway itself has computed it. The newest come last."""
    from ven.assessment import Assessments
    from ven.assessment_view import as_lines, assessment_fields
    from ven.words import printable_lines

    _, store = _opened(config)
    with _told(), closing(store):
        found = [assessment_fields(one) for one in reversed(Assessments(store).newest(most))]
    lines = as_lines(found) or ["No event has been assessed yet."]
    typer.echo(json.dumps(found, indent=2) if as_json_ else printable_lines(lines))


@app.command()
def restore(
    config: _Config,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="How long devices may take.")] = 30,
) -> None:
    """Give back by hand what events hold, as after a crash. A gateway that runs does so when it is stopped."""
    import asyncio

    from ven.give_back import is_back
    from ven.give_back import restore as give_back

    def tell(outcome: "Outcome") -> None:
        if is_back(outcome):
            typer.echo(f"{outcome.command.device}.{outcome.command.capability} is as it was.")

    with _told():
        left = asyncio.run(give_back(_load(config), seconds, tell))
    if left.silent:
        typer.echo(
            f"Not confirmed yet: {', '.join(left.silent)}. The next start of the gateway, or of this, goes on.",
            err=True,
        )
    if left.unnamed:
        typer.echo(
            f"Held, but not as the household file has it now: {', '.join(left.unnamed)}. Put back what it said of"
            " them and run this again, or set them by hand.",
            err=True,
        )
    if left.silent or left.unnamed:
        raise typer.Exit(1)
    typer.echo("Nothing is held.")


@app.command("schema")
def print_schema(templates: _Templates = None) -> None:
    """Print the JSON Schema of a household file."""
    from ven.household_file import schema

    with _told():
        typer.echo(json.dumps(schema(templates), indent=2))


@app.command()
def check(config: _Config) -> None:
    """Check a household file."""
    with _told():
        household = _load(config)
    for options in household.all_connections().values():
        if options.warning:
            typer.echo(f"Warning: {options.warning}.", err=True)
    if household.assess.enabled:
        with _told():
            _check_assess(household.assess.baseline)
    devices, programmes = _counted(len(household.devices), "device"), _counted(len(household.programmes), "programme")
    typer.echo(f"{config} is good: {devices}, {programmes}.")


@app.command()
def setup(
    config: Annotated[Path, typer.Option("--config", "-c", help="The household file to write.")] = Path(
        "household.yaml"
    ),
    name: Annotated[str, typer.Option("--name", help="Name of the household; else it is asked for.")] = "",
    broker: Annotated[str, typer.Option("--broker", help="HOST or HOST:PORT of the MQTT broker.")] = "",
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="So long it listens for devices.")] = 10,
    vtn: Annotated[str, typer.Option("--vtn", help="The VTN's operator address, https://..., to enrol there.")] = "",
    sha256: Annotated[
        str, typer.Option("--sha256", help="Of its authority's certificate, as the operator told it.")
    ] = "",
    code: Annotated[str, typer.Option("--code", help="The one-time code that the operator gave out.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: take all devices, and what they draw now.")
    ] = False,
) -> None:
    """Set up a household: find its devices, propose what events may do, write the file, and enrol."""
    from ven import setup_command

    with _told():
        setup_command.setup(config, name, broker, seconds, vtn, sha256, code, yes=yes)


@app.command()
def discover(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The household file: its broker, and where devices go.")
    ] = None,
    broker: Annotated[
        str, typer.Option("--broker", help="HOST or HOST:PORT, where there is no household file yet.")
    ] = "",
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="So long it listens.")] = 10,
    add: Annotated[
        str, typer.Option("--add", help="What goes into the file without a question: all, or numbers.")
    ] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on listening, and tell what comes and goes.")] = False,
    as_json_: _Json = False,
) -> None:
    """Find devices that announce themselves at the broker, and add them to the household file."""
    from ven import discover_command

    with _told():
        discover_command.discover(config, broker, seconds, add, watch=watch, as_json=as_json_)


def _check_assess(baseline: str) -> None:
    """Say what is missing to compute what events bring. Raises InvalidError for a method that there is not."""
    from ven.assess import chosen
    from ven.assessment import HOW_TO_INSTALL, is_installed

    if is_installed():
        chosen(baseline)
    else:
        typer.echo(f"Note: what events bring is not computed here. {HOW_TO_INSTALL} lets it be.", err=True)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@lone.command("devices")
def devices_command(templates: _Templates = None, as_json_: _Json = False) -> None:
    """List the drivers and templates that a household file may name; exit with 1 if one of them is no good."""
    from bridges.drivers.listing import listing

    with _told():
        drivers = listing(templates)
    if as_json_:
        typer.echo(json.dumps([asdict(driver) for driver in drivers], indent=2))
    else:
        typer.echo("\n".join(line for driver in drivers for line in _driver_lines(driver)))
    if any(driver.fault for driver in drivers):
        raise typer.Exit(1)


def _driver_lines(driver: "DriverInfo") -> Iterator[str]:
    if driver.fault is not None:
        yield f"{driver.name}: CANNOT BE USED\n  {driver.fault}"
        return
    yield f"{driver.name} ({driver.origin}, {driver.connection or 'no connection'}): {driver.title}"
    if driver.points or driver.capabilities:
        yield f"  reads {', '.join(driver.points) or 'nothing'}; sets {', '.join(driver.capabilities) or 'nothing'}"
    for option in driver.options:
        default = "" if option.default is None else f" [{option.default}]"
        yield f"  {option.name}{' (required)' if option.required else default}: {option.title}. {option.description}"


@lone.command("explain")
def explain_command(
    household: Annotated[Path, typer.Argument(help="The household file.")],
    event: Annotated[Path, typer.Argument(help="An oadrDistributeEvent, XML.")],
    at: Annotated[str, typer.Option("--at", help="The time to explain it at, ISO 8601; else now.")] = "",
    as_json_: _Json = False,
) -> None:
    """Show what an event would do in a household, and when. Touches no device."""
    from ven.explain import as_json, as_text, explain

    with _told():
        home = _load(household)
        try:
            body = event.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{event} cannot be read: {error.strerror}.") from error
        found = explain(home, body, _moment(at, home), _ven_id(home))
    typer.echo(json.dumps(as_json(found), indent=2) if as_json_ else as_text(found))


def _moment(text: str, household: "Household") -> datetime:
    from core.clock import load_clock, system_clock

    if not text:
        return (load_clock(household.clock) if household.clock else system_clock()).now()
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidError(f"'{text}' is no time such as 2026-01-31T17:00:00Z.") from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


def _ven_id(household: "Household") -> str | None:
    """Return our venID if this household is enrolled."""
    from certs.provisioning import Identity

    try:
        return Identity.load(household.identity).ven_id
    except EvenloadError:
        return None
