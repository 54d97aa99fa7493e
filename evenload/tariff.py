"""`evenload tariff`: what the network and electricity cost, and which VENs are told."""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from core.errors import InvalidError
from evenload.names import Noun
from evenload.session import MaybeMoment, Session, command, open_group

if TYPE_CHECKING:
    from evenload.client import OperatorClient

tariff = typer.Typer(help="Network and electricity tariffs and their prices.", no_args_is_help=True)
tariff.callback()(open_group)

_MOST_BYTES: Final = 4 << 20
_TariffId = Annotated[str, typer.Argument(help="Its name, or its id.", metavar="TARIFF"), Noun.TARIFF]
_PRICE: Final = ("start", "end", "per_kwh")


@command(tariff, "list")
def tariff_list(session: Session) -> None:
    """List tariffs and the state of their price sources."""
    rows = session.call(lambda client: client.all("/tariffs"))
    flat = [
        {
            **one,
            "version": (one["newest"] or {}).get("version"),
            "prices_until": (one["newest"] or {}).get("end"),
            "problem": (one["source"] or {}).get("last_error"),
        }
        for one in rows
        if session.json or one["retired_at"] is None
    ]
    columns = ("id", "kind", "name", "area", "programme_id", "currency", "version", "prices_until", "problem")
    session.table(rows if session.json else flat, *columns)


@command(tariff, "create")
def tariff_create(
    session: Session,
    kind: Annotated[str, typer.Argument(help="network or electricity.")],
    name: Annotated[str, typer.Argument(help="Its name.")],
    currency: Annotated[str, typer.Option(help="Currency of its prices (ISO 4217), such as EUR.")],
    vat_included: Annotated[bool, typer.Option("--vat-included/--without-vat", help="Whether its prices include VAT.")],
    area: Annotated[str | None, typer.Option(help="Only for sites in this area.")] = None,
    programme: Annotated[
        str | None, typer.Option(help="Only for VENs in this programme (name or id)."), Noun.PROGRAMME
    ] = None,
) -> None:
    """Create a tariff, without prices."""
    body = {"kind": kind, "name": name, "currency": currency, "vat_included": vat_included}
    made = session.call(lambda client: client.post("/tariffs", {**body, "area": area, "programme_id": programme}))
    session.tell(made, made["id"])


@command(tariff, "retire")
def tariff_retire(session: Session, tariff_id: _TariffId) -> None:
    """Retire a tariff: it applies to nobody from now on."""
    found = session.call(lambda client: client.post(f"/tariffs/{tariff_id}/retirement"))
    session.tell(found, f"Retired {tariff_id}.")


@command(tariff, "put")
def tariff_put(
    session: Session,
    tariff_id: _TariffId,
    file: Annotated[
        Path, typer.Argument(help="JSON list of start, end or duration, and per_kwh; or CSV with these columns.")
    ],
    extend: Annotated[bool, typer.Option("--extend", help="Change only the period of these prices.")] = False,
) -> None:
    """Save prices as a new version that replaces the series. Times need a zone: 2026-01-31T17:00:00+01:00."""
    body = {"prices": _read(file), "extend": extend}
    made = session.call(lambda client: client.put(f"/tariffs/{tariff_id}/prices", body, if_match="*"))
    session.tell(made, f"{tariff_id} is at version {made['version']}: {made['start']} to {made['end']}.")


def _read(file: Path) -> list[Any]:
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InvalidError(f"{file} is larger than {_MOST_BYTES >> 20} MiB.")
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidError(f"{file} cannot be read: {error}.") from error
    if file.suffix.lower() == ".csv":
        rows = list(csv.DictReader(text.splitlines()))
        return [{str(name): value for name, value in row.items() if value} for row in rows]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{file} is not JSON; a CSV file is named .csv.") from error
    if not isinstance(found, list):
        raise InvalidError(f"{file} holds no list of prices.")
    return found


@command(tariff, "prices")
def tariff_prices(
    session: Session,
    tariff_id: _TariffId,
    since: MaybeMoment = None,
    until: MaybeMoment = None,
    version: Annotated[int | None, typer.Option(min=1, help="An earlier version.")] = None,
) -> None:
    """Show prices: those of the newest version, or of a period."""
    query = {"from": since, "until": until, "version": version}
    found = session.call(lambda client: client.get(f"/tariffs/{tariff_id}/prices", query))
    session.table(found if session.json else found["prices"], *_PRICE, empty="No prices there.")


@command(tariff, "versions")
def tariff_versions(session: Session, tariff_id: _TariffId) -> None:
    """List the versions: who saved what, and when."""
    rows = session.call(lambda client: client.all(f"/tariffs/{tariff_id}/versions"))
    session.table(rows, "version", "start", "end", "whole", "source", "created_at", "created_by")


@command(tariff, "source")
def tariff_source(
    session: Session,
    tariff_id: _TariffId,
    address: Annotated[str | None, typer.Option(help="Https address of the prices (JSON).")] = None,
    mapping: Annotated[Path | None, typer.Option(help="JSON file that says where prices are in the document.")] = None,
    every: Annotated[str, typer.Option(help="How often to fetch (real time).")] = "PT1H",
    remove: Annotated[bool, typer.Option("--remove", help="Stop fetching.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Fetch now.")] = False,
) -> None:
    """Show a tariff's price source, or set it with --address and --mapping."""
    path = f"/tariffs/{tariff_id}/source"
    if (address is None) != (mapping is None):
        raise InvalidError("--address and --mapping belong together.")
    rules = None if mapping is None else _object(mapping)

    async def work(client: "OperatorClient") -> Any:
        if remove:
            return await client.delete(path)
        if rules is not None:
            return await client.put(path, {"url": address, "mapping": rules, "every": every})
        if now:
            await client.post(f"{path}/request")
        return await client.get(path)

    found = session.call(work)
    if found is None:
        session.tell({"removed": tariff_id}, f"The prices of {tariff_id} are not fetched any more.")
    else:
        session.table(found, "url", "mapping", "every", "due_at", "last_at", "last_error")


def _object(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidError(f"{file} is no readable JSON file.") from error
    if not isinstance(found, dict):
        raise InvalidError(f"{file} holds no JSON object.")
    return found


@command(tariff, "signals")
def tariff_signals(
    session: Session,
    programme_id: Annotated[str, typer.Argument(help="Its name, or its id.", metavar="PROGRAMME"), Noun.PROGRAMME],
    on: Annotated[bool | None, typer.Option("--on/--off", help="Whether to send prices to its VENs.")] = None,
) -> None:
    """Show the price signals to a programme's VENs, or switch them on or off."""
    path = f"/programmes/{programme_id}/price-signals"

    async def work(client: "OperatorClient") -> Any:
        return await client.get(path) if on is None else await client.put(path, {"enabled": on})

    found = session.call(work)
    if not session.json:
        typer.echo(f"Price events are {'on' if found['enabled'] else 'off'}.")
    columns = ("day", "areas", "network_id", "electricity_id", "known_until", "dispatch_ids", "remark")
    session.table(found if session.json else found["days"], *columns, empty="No tariff is for its VENs.")


@command(tariff, "household")
def tariff_household(
    session: Session,
    ven_id: Annotated[str, typer.Argument(help="Its name, or its venID.", metavar="VEN"), Noun.VEN],
    since: MaybeMoment = None,
    until: MaybeMoment = None,
) -> None:
    """Show a household's prices. Default: the next two days."""
    query = {"from": since, "until": until}
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/tariffs", query))
    units = {True: "with VAT", False: "without VAT", None: "cannot be added: currency or VAT differ"}
    parts = [
        (f"{one['kind']} {one['name']}, {one['currency']} per kWh {units[one['vat_included']]}", one["prices"], _PRICE)
        for one in found["tariffs"]
    ] + [
        (f"together, {one['currency'] or ''} {units[one['vat_included']]}", one["prices"] or [], _PRICE)
        for one in found["totals"]
    ]
    session.parts(found, *(parts or [("Tariffs", [], ())]))
