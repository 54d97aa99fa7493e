"""`evenload ven setup`: from an empty directory to a gateway that can be started, in one conversation."""

import asyncio
import re
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from bridges.connections import connect
from bridges.connections.mqtt_options import MqttOptions
from bridges.discovery.search import search
from core.clock import system_clock
from core.errors import ConflictError, InvalidError
from ven.discover import Offer, as_guest, as_table, chosen, notes, offers, plain, quietly
from ven.discover_command import broker_at
from ven.enrol import enrol, fetch_ca
from ven.first_file import Chosen, is_switched, written
from ven.household_edit import put_templates, write_new
from ven.household_file import load_household

_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")
_ASKED_W: Final = 50.0
"""A device that draws less now says nothing of what it draws when it runs."""
_HIGHEST_W: Final = 100_000.0

Ask = Callable[[str, str], str]
"""Asks a question, with what counts without an answer."""


def setup(path: Path, name: str, broker: str, seconds: float, vtn: str, sha256: str, code: str, *, yes: bool) -> None:
    """Write a first household file, and enrol where the operator's three words are given.

    Asks for what is missing; with `yes` all that is found goes in, and nothing is asked. Raises an EvenloadError that
    says what to mend.
    """
    if path.exists():
        raise ConflictError(
            f"{path} is there already. `evenload ven discover --config {path}` adds devices to it; `evenload ven "
            "enrol` gets its certificate."
        )
    if any((vtn, sha256, code)) and not all((vtn, sha256, code)):
        raise InvalidError("Enrolment needs all of --vtn, --sha256 and --code; the operator has them.")
    asks = not yes and _somebody_is_there()
    ask: Ask = _typed if asks else lambda _, usual: usual
    name = _UNFIT.sub("-", plain(ask("Name of the household", name or socket.gethostname()))).strip("-") or "home"
    options = broker_at(ask("MQTT broker (HOST or HOST:PORT)", broker or "localhost"))
    those = _found(options, seconds)
    picked = _picked(ask, those, everything=not asks)
    devices = [Chosen(offer.entry(), offer.sight.sets, _power_w(ask, offer)) for offer in picked]
    put_templates(path.resolve().parent / "templates", [each.device for each in devices])
    write_new(path, written(name, options.host, options.port, devices))
    typer.echo(f"Wrote {path}: {len(devices)} device{'' if len(devices) == 1 else 's'}.")
    if not vtn and asks:
        vtn = ask("Address of the VTN, https://... (empty: enrol later)", "")
        sha256, code = (ask("SHA-256 of its authority", ""), ask("One-time code", "")) if vtn else ("", "")
    if vtn:
        _enrol(path, vtn, sha256, code)
    _say_what_follows(path, enrolled=bool(vtn))


def _somebody_is_there() -> bool:
    return sys.stdin.isatty()


def _typed(question: str, usual: str) -> str:
    return str(typer.prompt(question, default=usual, show_default=bool(usual))).strip()


def _found(options: MqttOptions, seconds: float) -> list[Offer]:
    typer.echo(f"Listening at {options.host}:{options.port} for {seconds:g} seconds ...")
    with quietly():
        result = asyncio.run(search(connect(as_guest(options)), system_clock(), seconds))
    those = offers(result, None)
    if those:
        Console().print(as_table(those))
    else:
        typer.echo("Nothing announced itself. Devices can be added later: evenload ven discover, evenload devices.")
    for note in notes(result, those):
        typer.echo(note)
    return those


def _picked(ask: Ask, those: Sequence[Offer], *, everything: bool) -> list[Offer]:
    while those:
        words = "all" if everything else ask("Which belong to this household? Numbers, all, or none", "all")
        try:
            return chosen(words, those)
        except InvalidError as error:
            typer.echo(str(error), err=True)
    return []


def _power_w(ask: Ask, offer: Offer) -> float | None:
    """Return what a device draws when it runs, where events may use it: asked for, or what it draws now."""
    if not is_switched(offer.sight.sets):
        return None
    drawn, _ = offer.sight.readings.get("power", (0.0, ""))
    usual = f"{drawn:.0f}" if drawn >= _ASKED_W else ""
    while True:
        words = ask(f"How many watts does {offer.id} draw when it runs? (empty: events leave it alone)", usual)
        if not words:
            return None
        try:
            watts = float(words.removesuffix("W").strip())
        except ValueError:
            watts = 0.0
        if 0 < watts <= _HIGHEST_W:
            return watts
        typer.echo(f"'{words:.20}' is no number of watts, such as 2000.", err=True)


def _enrol(path: Path, vtn: str, sha256: str, code: str) -> None:
    household = load_household(path)
    authority = path.resolve().parent / "vtn-ca.pem"
    fetch_ca(vtn, sha256, authority)
    identity = enrol(code, vtn, authority, household.identity, household.name)
    typer.echo(f"Enrolled as {identity.ven_name} ({identity.ven_id}) with {identity.vtn_id} at {identity.vtn_url}.")


def _say_what_follows(path: Path, *, enrolled: bool) -> None:
    if not enrolled:
        typer.echo("The operator tells address, fingerprint and code; then:")
        typer.echo("  evenload ven fetch-ca --vtn https://... --sha256 ...")
        typer.echo(f"  evenload ven enrol CODE --vtn https://... --ca vtn-ca.pem --config {path}")
    typer.echo(f"Look over the programmes in {path}, then start the gateway:")
    typer.echo(f"  evenload ven run --config {path}")
    typer.echo("For good, as a service of the system: docs/how-to/gateway.md has the unit and its four steps.")
