"""`evenload holiday` and `evenload outage`: days that are like no others."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evenload.names import Noun
from evenload.session import MaybeMoment, Moment, Session, command, open_group

if TYPE_CHECKING:
    from evenload.client import OperatorClient

holiday = typer.Typer(help="Holidays of programmes: days held against weekends.", no_args_is_help=True)
outage = typer.Typer(help="Outages: times that make no baseline and have no result.", no_args_is_help=True)
holiday.callback()(open_group)
outage.callback()(open_group)

_ProgrammeId = Annotated[str, typer.Argument(help="Its name, or its id.", metavar="PROGRAMME"), Noun.PROGRAMME]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"'{text}' is not a date such as 2026-12-24.") from error


_Day = Annotated[date, typer.Argument(help="Local date, such as 2026-12-24.", metavar="DAY", parser=_day)]
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
    session.table(found["days"], "day", "name", "own", "public", empty=_without_days(found))


def _without_days(listing: Mapping[str, Any]) -> str:
    country = "" if listing["country"] else " and the programme has no country (`evenload programme change --country`)"
    return f"No holidays in {listing['year']}: none was added{country or ', and its country has none'}."


@command(holiday, "add")
def holiday_add(
    session: Session,
    programme_id: _ProgrammeId,
    day: _Day,
    name: Annotated[str, typer.Argument(help="What the day is called.")],
) -> None:
    """Add a holiday of a programme's own: its homes live on it as on a Sunday."""
    body = {"day": day.isoformat(), "name": name}
    made = session.call(lambda client: client.post(f"/programmes/{programme_id}/holidays", body))
    session.tell(made, f"{made['day']} counts as a holiday: it is compared with weekends and holidays.")


@command(holiday, "remove")
def holiday_remove(session: Session, programme_id: _ProgrammeId, day: _Day) -> None:
    """Remove a holiday of a programme's own. A public holiday on that day remains one."""
    path = f"/programmes/{programme_id}/holidays"

    async def remove(client: "OperatorClient") -> str | None:
        await client.delete(f"{path}/{day}")
        left = (await client.get(path, {"year": day.year}))["days"]
        return next((one["name"] for one in left if one["day"] == day.isoformat()), None)

    public = session.call(remove)
    text = "is an ordinary day again" if public is None else f"remains a public holiday: {public}"
    session.tell({"removed": day.isoformat(), "public": public}, f"{day} {text}.")


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
