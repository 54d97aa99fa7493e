"""`evenload fleet messages` and `evenload fleet message`: the log of what VENs and the VTN said to each other."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from evenload import message_record
from evenload.client import OperatorClient
from evenload.names import Noun
from evenload.output import printable_lines
from evenload.session import MaybeMoment, Session

_VenId = Annotated[str, typer.Argument(help="Its name, or its venID.", metavar="VEN"), Noun.VEN]
_USUAL: Final = 50
_SHOWN: Final = 3
"""As many ids stand in a line."""
_MOST: Final = 100_000


def list_messages(
    session: Session,
    ven_id: _VenId,
    event: Annotated[str | None, typer.Option(help="Only those that name this event.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="Only this message or answer, such as oadrCreatedEvent.")
    ] = None,
    since: MaybeMoment = None,
    until: MaybeMoment = None,
    *,
    faults: Annotated[bool, typer.Option("--faults", help="Only those with an error.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="The newest, at most so many; 50 unless said, with --record all."),
    ] = None,
    record: Annotated[
        Path | None, typer.Option(help="Write them to this directory, for `evenload conform replay`.")
    ] = None,
) -> None:
    """List what a VEN said and what it was answered, newest first. Times are server time.

    Empty polls are not kept, and of reports that were taken one now and then.
    """
    query = {"ven_id": ven_id, "event_id": event, "type": type_, "since": since, "until": until, "faults": faults}
    most = limit or (_USUAL if record is None else _MOST)
    rows = session.call(lambda client: _newest(client, {**query, "bodies": record is not None}, most))
    if record is not None:
        kept = message_record.save(record, rows)
        left_out = len(rows) - kept
        more = f" {left_out} are left out: pushed, of 2.0a, or cut." if left_out else ""
        text = f"{kept} {'message' if kept == 1 else 'messages'} in {record}."
        text = text if kept else "The log has no such message; nothing was written."
        session.tell({"record": str(record), "messages": kept, "left_out": left_out}, text + more)
        return
    shown = [row | {"events": _few(row["event_ids"]), "result": _result(row)} for row in rows]
    session.table(
        rows if session.json else shown,
        "id",
        "at",
        "sender",
        "type",
        "answer_type",
        "result",
        "events",
        empty="No such message in the log.",
    )


def show_message(
    session: Session, message_id: Annotated[str, typer.Argument(help="As `evenload fleet messages` lists it.")]
) -> None:
    """Show one message and its answer, without keys and registrationIDs."""
    message = session.call(lambda client: client.get(f"/messages/{message_id}"))
    if session.json:
        session.tell(message, "")
        return
    session.table({name: value for name, value in message.items() if name not in ("message", "answer")})
    for name in ("message", "answer"):
        typer.echo(f"\n{name.capitalize()}:\n{printable_lines(message[name].replace(chr(13), ''))}")


async def _newest(client: OperatorClient, query: dict[str, Any], most: int) -> list[Any]:
    rows: list[Any] = []
    async for row in client.each("/messages", {**query, "limit": min(most, 500)}):
        rows.append(row)
        if len(rows) == most:
            break
    return rows


def _few(ids: list[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(ids[:_SHOWN]) + more


def _result(row: dict[str, Any]) -> str:
    if row["status"] is None:
        return "no answer"
    plain = row["code"] is not None and row["status"] == 200  # noqa: PLR2004
    return str(row["code"]) if plain else f"HTTP {row['status']}"
