"""`evenload ven discover`: listens, shows, asks, and writes."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import typer
from pydantic import ValidationError
from rich.console import Console

from bridges.connections import connect
from bridges.connections.mqtt_options import MqttOptions
from bridges.discovery.search import Result, Search, search
from core.clock import system_clock
from core.errors import InvalidError
from ven.discover import Offer, as_guest, as_json, as_table, chosen, notes, offers, quietly
from ven.household import Household
from ven.household_edit import add_devices
from ven.household_file import load_household

_WATCH_S: Final = 2.0
_NOTHING: Final = """\
Nothing announced itself within {seconds:g} seconds. Devices are found that speak to this broker: switch MQTT on in
their settings, and for Home Assistant, zigbee2mqtt, Tasmota or EMS-ESP discovery, too. Battery devices speak rarely:
try --seconds 120. What does not announce itself is written by hand: `evenload devices` lists the drivers."""


def discover(path: Path | None, broker: str, seconds: float, add: str, *, watch: bool, as_json: bool) -> None:
    """Find devices and add those that the user chooses. Raises an EvenloadError that says what to mend."""
    if (path is None) == (not broker):
        raise InvalidError(
            "Say where to look: --config household.yaml, or --broker HOST where there is no such file yet."
        )
    if add and path is None:
        raise InvalidError("--add writes into a household file: give it with --config.")
    household = None if path is None else load_household(path)
    options = as_guest(_broker(household, broker))
    if watch:
        with quietly():
            asyncio.run(_watch(options, household))
        return
    if not as_json:
        typer.echo(f"Listening at {options.host}:{options.port} for {seconds:g} seconds ...", err=True)
    with quietly():
        result = asyncio.run(search(connect(options), system_clock(), seconds))
    those = offers(result, household)
    if as_json:
        _add(path, chosen(add, those))
        typer.echo(json.dumps(_json(result, those), indent=2))
        return
    _show(result, those, seconds)
    if path is not None:
        _add(path, chosen(add, those) if add else _asked(path, those))
    elif those:
        typer.echo("With --config household.yaml they can be added to that file.")


def broker_at(words: str) -> MqttOptions:
    """Return a broker by HOST or HOST:PORT. Raises InvalidError."""
    host, _, port = words.rpartition(":")
    if not host or not port.isdecimal():
        host, port = words, "1883"
    try:
        return MqttOptions(host=host.strip("[]"), port=int(port))
    except ValidationError as error:
        raise InvalidError(f"'{words:.80}' is no broker such as localhost or broker.lan:1883.") from error


def _broker(household: Household | None, broker: str) -> MqttOptions:
    """Return the broker to listen at."""
    if household is None:
        return broker_at(broker)
    ways = household.all_connections()
    if not ways:
        raise InvalidError("The household file has no broker: describe it in the section `mqtt`.")
    return ways.get("mqtt", next(iter(ways.values())))


def _show(result: Result, those: Sequence[Offer], seconds: float) -> None:
    if those:
        Console(soft_wrap=False).print(as_table(those))
    else:
        typer.echo(_NOTHING.format(seconds=seconds))
    for note in notes(result, those):
        typer.echo(note)


def _asked(path: Path, those: Sequence[Offer]) -> list[Offer]:
    """Ask which devices shall be added; nothing, where nobody can be asked."""
    new = [offer for offer in those if offer.known_as is None]
    if not new or not sys.stdin.isatty():
        return []
    while True:
        words = typer.prompt(f"Which shall go into {path}? Numbers, all, or none", default="none")
        try:
            return chosen(words, those)
        except InvalidError as error:
            typer.echo(str(error), err=True)


def _add(path: Path | None, those: Sequence[Offer]) -> None:
    if path is None or not those:
        return
    add_devices(path, [offer.entry() for offer in those])
    typer.echo(f"Added to {path}: {', '.join(offer.id for offer in those)}.", err=True)
    typer.echo(
        "Say in `programmes` what events may do with them, then: evenload ven check, and reload the gateway.", err=True
    )


def _json(result: Result, those: Sequence[Offer]) -> object:
    return as_json(result, those)


async def _watch(options: MqttOptions, household: Household | None) -> None:
    """Tell what comes and goes, until interrupted."""
    finder, known = Search(connect(options), system_clock()), dict[str, str]()
    typer.echo(f"Watching {options.host}:{options.port}; Ctrl-C ends it.", err=True)
    with tempfile.TemporaryDirectory() as drafts:
        async with finder.listening(Path(drafts)):
            while True:
                await asyncio.sleep(_WATCH_S)
                there = {
                    offer.sight.device.key: f"{offer.sight.device.name} ({offer.sight.device.source})"
                    for offer in offers(finder.result(), household)
                }
                for key in there.keys() - known.keys():
                    typer.echo(f"+ {there[key]}")
                for key in known.keys() - there.keys():
                    typer.echo(f"- {known[key]}")
                known = there
