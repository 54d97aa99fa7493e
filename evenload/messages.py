"""`evenload fleet messages` and `evenload fleet message`: the log of what VENs and the VTN said to each other."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from certs.files import write_new
from evenload.names import Noun
from evenload.printable import printable_lines
from evenload.session import MaybeMoment, Session

if TYPE_CHECKING:
    from evenload.client import OperatorClient

_VenId = Annotated[str, typer.Argument(help="Its name, or its venID.", metavar="VEN"), Noun.VEN]
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
    limit: Annotated[int, typer.Option(min=1, max=_MOST, help="The newest, at most so many.")] = 50,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Save all of them to a new file, for `evenload conform replay`."),
    ] = None,
) -> None:
    """List what a VEN said and what it was answered, newest first. Times are server time.

    Empty polls are not kept, and of reports that were taken one now and then.
    """
    query = {"event_id": event, "type": type_, "since": since, "until": until, "faults": faults}
    if record is not None:
        _save(session, ven_id, query, record)
        return
    rows = session.call(lambda client: _newest(client, {"ven_id": ven_id, **query}, limit))
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


def _save(session: Session, ven_id: str, query: Mapping[str, Any], path: Path) -> None:
    """Write the record of messages to a new file, which only its owner may read. Raises EvenloadError."""
    saved = session.call(lambda client: client.get(f"/vens/{ven_id}/message-record", query))
    messages, facts = len(saved["exchanges"]), saved["facts"]
    more = ""
    if facts["left_out"]:
        more += f" {facts['left_out']} are left out: of 2.0a, or cut."
    if facts["older_missing"]:
        more += " Older ones are left out: the file would have become too large."
    if messages:
        write_new(path, json.dumps(saved, ensure_ascii=False))
        text = f"{messages} {'message' if messages == 1 else 'messages'} in {path}."
    else:
        text = "The log has no such message; nothing was written."
    session.tell({"record": str(path) if messages else None, "messages": messages} | facts, text + more)


async def _newest(client: "OperatorClient", query: dict[str, Any], most: int) -> list[Any]:
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
