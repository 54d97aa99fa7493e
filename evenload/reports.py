"""`evenload report`: what VENs offer, what is asked of them, and their readings."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from evenload.client import OperatorClient
from evenload.names import Noun
from evenload.session import MaybeMoment, Session, command, open_group

report = typer.Typer(help="Reports and readings.", no_args_is_help=True)
report.callback()(open_group)

_VenId = Annotated[str, typer.Argument(help="Its name, or its venID.", metavar="VEN"), Noun.VEN]


@command(report, "list")
def report_list(session: Session, ven_id: _VenId) -> None:
    """List what a VEN offers and what was requested of it."""
    found = session.call(lambda client: client.get(f"/vens/{ven_id}/reports"))
    points = [
        {"report": offer["specifier_id"], "name": offer["name"], "holds": offer["duration"], **point}
        for offer in found["offers"]
        for point in offer["points"]
    ]
    session.parts(
        found,
        ("Offered", points, ("report", "name", "holds", "r_id", "report_type", "reading_type", "resources", "unit")),
        (
            "Requested",
            found["requests"],
            ("id", "name", "granularity", "report_back", "state", "reason", "last_report_at"),
        ),
    )


@command(report, "request")
def report_request(
    session: Session,
    ven_id: _VenId,
    specifier_id: Annotated[str, typer.Argument(help="The report, as `evenload report list` shows it.")],
    r_id: Annotated[list[str], typer.Argument(help="The data points wanted.")],
    granularity: Annotated[str, typer.Option(help="How finely, such as PT1M.")] = "PT0S",
    report_back: Annotated[str, typer.Option(help="How often, such as PT15M; PT0S: once.")] = "PT0S",
    start: MaybeMoment = None,
    duration: Annotated[str | None, typer.Option(help="Span; PT0S: for ever, or all of the history.")] = None,
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
    quantity: Annotated[str | None, typer.Option(help="Only this, such as energy_real.")] = None,
) -> None:
    """Show a VEN's readings: of the last 24 hours, unless said."""

    async def ask(client: OperatorClient) -> Any:
        end = until or datetime.fromisoformat((await client.get("/status"))["now"])
        query = {
            "since": since or end - timedelta(days=1),
            "until": end,
            "resource_id": resource,
            "quantity": quantity,
        }
        return await client.get(f"/vens/{ven_id}/readings", query)

    found = session.call(ask)
    columns = ("start", "duration_s", "value", "quality")
    parts: list[tuple[str, Any, tuple[str, ...]]] = [
        (
            "{resource_id} {quantity} {kind} ({source})".format(**one["series"]),
            [dict(zip(columns, row, strict=True)) for row in zip(*(one[name] for name in columns), strict=True)],
            columns,
        )
        for one in found
    ]
    session.parts(found, *(parts or [("Readings", [], ())]))
