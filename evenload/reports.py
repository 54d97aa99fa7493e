"""`evenload report`: what VENs offer, what is asked of them, and their readings."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from core.errors import InvalidError
from evenload import csv_file
from evenload.names import Noun
from evenload.session import MaybeMoment, Session, command, open_group

if TYPE_CHECKING:
    from evenload.client import OperatorClient

report = typer.Typer(help="Reports and readings.", no_args_is_help=True)
report.callback()(open_group)

_VenId = Annotated[str, typer.Argument(help="Its name, or its venID.", metavar="VEN"), Noun.VEN]


@command(report, "list")
def report_list(session: Session, ven_id: _VenId) -> None:
    """List the reports that a VEN offers and those requested from it."""
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/reports"))
    points = [
        {"report": offer["specifier_id"], "name": offer["name"], "holds": offer["duration"], **point}
        for offer in found["offers"]
        for point in offer["points"]
    ]
    texts = [{"shortfall": text} for text in found["shortfalls"]]
    shortfalls = [("Cannot be had", texts, ("shortfall",))] if texts else []
    session.parts(
        found,
        (
            "Offered",
            points,
            (
                "report",
                "name",
                "holds",
                "r_id",
                "report_type",
                "reading_type",
                "resources",
                "unit",
                "min_period",
                "max_period",
            ),
        ),
        (
            "Requested",
            found["requests"],
            ("id", "name", "granularity", "report_back", "state", "reason", "last_report_at", "missing_since"),
        ),
        *shortfalls,
    )


@command(report, "import")
def report_import(
    session: Session,
    file: Annotated[
        Path,
        typer.Argument(help="CSV: metering_point,series,start,end,energy_wh,quality.", exists=True, dir_okay=False),
    ],
) -> None:
    """Take in validated meter data of metering points; it goes before what VENs report. Refused rows are listed."""
    csv_file.send(session, file, "/meter-data")


@command(report, "request")
def report_request(
    session: Session,
    ven_id: _VenId,
    specifier_id: Annotated[str, typer.Argument(help="The report, as `evenload report list` shows it.")],
    r_id: Annotated[list[str], typer.Argument(help="Data points (rID) to request.")],
    granularity: Annotated[str, typer.Option(help="Interval of the values, such as PT1M.")] = "PT0S",
    report_back: Annotated[str, typer.Option(help="Send a report every so often, such as PT15M. PT0S: once.")] = "PT0S",
    start: MaybeMoment = None,
    duration: Annotated[str | None, typer.Option(help="Duration. PT0S: without end, or all of the history.")] = None,
) -> None:
    """Request a report."""
    body = {
        "specifier_id": specifier_id,
        "r_ids": r_id,
        "granularity": granularity,
        "report_back": report_back,
        "start": start.isoformat() if start else None,
        "duration": duration,
    }
    made = session.call(lambda client: client.post(f"/vens/{ven_id}/report-requests", body))
    session.tell(made, made["id"])


@command(report, "cancel")
def report_cancel(
    session: Session, request_id: Annotated[str, typer.Argument(help="As `evenload report list` shows it.")]
) -> None:
    """Stop a report."""
    found = session.call(lambda client: client.post(f"/report-requests/{request_id}/cancellation"))
    session.tell(found, f"Cancelled {request_id}.")


@command(report, "readings")
def report_readings(
    session: Session,
    ven_id: _VenId,
    since: MaybeMoment = None,
    until: MaybeMoment = None,
    resource: Annotated[str | None, typer.Option(help="Only this resource.")] = None,
    quantity: Annotated[str | None, typer.Option(help="Only this quantity, such as energy_real.")] = None,
) -> None:
    """Show a VEN's readings. Default: of the last 24 hours."""

    async def ask(client: "OperatorClient") -> Any:
        end = until or datetime.fromisoformat((await client.get("/status"))["now"])
        query = {
            "since": since or end - timedelta(days=1),
            "until": end,
            "resource_id": resource,
            "quantity": quantity,
        }
        return await client.all(f"/vens/{ven_id}/readings", query)

    found = session.call(ask)
    columns = ("start", "duration_s", "value", "quality")
    parts: list[tuple[str, Any, tuple[str, ...]]] = [
        (
            "{resource_id} {quantity} {kind} ({r_id}: {report_type}, {reading_type}, {flow}, {source})".format(
                **one["series"] | one["point"]
            ),
            [dict(zip(columns, row, strict=True)) for row in zip(*(one[name] for name in columns), strict=True)],
            columns,
        )
        for one in found
    ]
    session.parts(found, *(parts or [("Readings", [], ())]))


@command(report, "settled")
def report_settled(
    session: Session,
    ven_id: _VenId,
    use: Annotated[list[int] | None, typer.Option(help="Series to settle. Repeatable. Exports are subtracted.")] = None,
    connection_w: Annotated[int | None, typer.Option(help="Limit of the grid connection, in watts.")] = None,
    *,
    by_meaning: Annotated[
        bool, typer.Option("--by-meaning", help="Choose by the meaning of the data points again.")
    ] = False,
) -> None:
    """Show or choose which of a VEN's series are its consumption, and the limit of its grid connection."""
    if use and by_meaning:
        raise InvalidError("Either --use or --by-meaning.")
    path = f"/vens/{ven_id}/settlement-series"

    async def ask(client: "OperatorClient") -> Any:
        found = await client.get(path)
        if not (use or by_meaning or connection_w):
            return found
        own = [] if found["chosen_by"] == "meaning" or by_meaning else found["series"]
        known_w = int(found["connection_w"]) if found["connection_is_known"] else None
        body = {
            "series": use or [one["point"]["series_id"] for one in own if one["settled"]],
            "connection_w": connection_w or known_w,
        }
        return await client.put(path, body)

    found = session.call(ask)
    if session.json:
        session.tell(found, "")
        return
    session.table({name: value for name, value in found.items() if name != "series"})
    rows = [
        one["series"] | one["point"] | {"settled": ("-" if one["sign"] < 0 else "+") if one["settled"] else ""}
        for one in found["series"]
    ]
    columns = ("series_id", "settled", "resource_id", "quantity", "kind", "r_id", "report_type", "reading_type", "flow")
    session.table(rows, *columns, empty="It has sent no readings yet.")
