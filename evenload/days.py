"""`evenload holiday` and `evenload outage`: days that are like no others."""

from datetime import datetime
from typing import Annotated

import typer

from evenload.names import Noun
from evenload.session import MaybeMoment, Moment, Session, command, open_group

holiday = typer.Typer(help="Holidays of programmes: days held against weekends.", no_args_is_help=True)
outage = typer.Typer(help="Outages: times that make no baseline and have no result.", no_args_is_help=True)
holiday.callback()(open_group)
outage.callback()(open_group)

_ProgrammeId = Annotated[str, typer.Argument(help="Its name, or its id.", metavar="PROGRAMME"), Noun.PROGRAMME]
_Day = Annotated[str, typer.Argument(help="Local date, such as 2026-12-24.", metavar="DAY")]
_OutageId = Annotated[str, typer.Argument(help="Its id, as `evenload outage list` shows it.", metavar="OUTAGE")]


@command(holiday, "list")
def holiday_list(
    session: Session,
    programme_id: _ProgrammeId,
    year: Annotated[int | None, typer.Option(help="The year.", show_default="this one")] = None,
) -> None:
    """List a programme's holidays: the public ones of its country, and its own."""
    query = {} if year is None else {"year": year}
    found = session.call(lambda client: client.get(f"/programmes/{programme_id}/holidays", query))
    if session.json:
        session.tell(found, "")
        return
    session.table(found["days"], "day", "name", "own")


@command(holiday, "add")
def holiday_add(
    session: Session,
    programme_id: _ProgrammeId,
    day: _Day,
    name: Annotated[str, typer.Argument(help="What the day is called.")],
) -> None:
    """Add a holiday of a programme's own: its homes live on it as on a Sunday."""
    made = session.call(lambda client: client.post(f"/programmes/{programme_id}/holidays", {"day": day, "name": name}))
    session.tell(made, f"{made['day']} is held against weekends and holidays.")


@command(holiday, "remove")
def holiday_remove(session: Session, programme_id: _ProgrammeId, day: _Day) -> None:
    """Remove a holiday of a programme's own."""
    session.call(lambda client: client.delete(f"/programmes/{programme_id}/holidays/{day}"))
    session.tell({"removed": day}, f"{day} is an ordinary day again.")


@command(outage, "list")
def outage_list(session: Session) -> None:
    """List outages, the last entered first."""
    rows = session.call(lambda client: client.all("/outages"))
    session.table(rows, "id", "starts_at", "ends_at", "ven_id", "area", "reason", "created_by")


@command(outage, "add")
def outage_add(
    session: Session,
    start: Moment,
    reason: Annotated[str, typer.Argument(help="What happened.")],
    end: MaybeMoment = None,
    ven: Annotated[str | None, typer.Option(help="Only of this VEN (name or venID)."), Noun.VEN] = None,
    area: Annotated[str | None, typer.Option(help="Only in this area.")] = None,
) -> None:
    """Enter an outage of a VEN, of an area, or of everybody. Without an end it lasts."""
    body = {"starts_at": _text(start), "ends_at": _text(end), "reason": reason, "ven_id": ven, "area": area}
    made = session.call(lambda client: client.post("/outages", body))
    session.tell(made, made["id"])


@command(outage, "end")
def outage_end(session: Session, outage_id: _OutageId, end: Moment) -> None:
    """Say when an outage ended."""
    made = session.call(lambda client: client.post(f"/outages/{outage_id}/end", {"ends_at": _text(end)}))
    session.tell(made, f"It ended at {made['ends_at']}.")


@command(outage, "remove")
def outage_remove(session: Session, outage_id: _OutageId) -> None:
    """Remove an outage that was none."""
    session.call(lambda client: client.delete(f"/outages/{outage_id}"))
    session.tell({"removed": outage_id}, "Removed.")


def _text(when: datetime | None) -> str | None:
    return None if when is None else when.isoformat()
