"""The log of messages in the operator API: what VENs and the VTN said to each other."""

from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from openadr.model.registration import Profile
from vtn.api.desk import DESK
from vtn.services import message_log, message_record, ven_view
from vtn.services.message_log import LogFilter, LogLine, MessageSender, SubjectKind
from web.api import Context
from web.downloads import attachment
from web.model import Model, UtcTime
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_NEWEST_FIRST: Final = Keyset("messages", datetime, str)
_MOST_WITH_BODIES: Final = 50


class LoggedMessage(Model):
    """A message and its answer. Keys and registrationIDs in them are blanked."""

    id: str
    at: UtcTime
    """When it was answered, server time."""
    ven_id: str | None
    """null: nobody knew whose it was."""
    fingerprint: str | None
    """Of the VEN's certificate; null without TLS, and where a VEN could not be reached."""
    sender: MessageSender
    """ven: it posted the message; vtn: the message was pushed to it."""
    profile: Profile
    type: str | None
    """The message's element, such as oadrUpdateReport; null if it could not be read."""
    answer_type: str | None
    """The answer's element; null: it is none of OpenADR, or empty."""
    status: int | None
    """HTTP status of the answer; null: there was none, and `answer` says why."""
    code: int | None
    """The first responseCode that is an error, else the answer's."""
    fault: bool
    """Whether status or a responseCode is an error."""
    event_ids: list[str]
    """The events that both name; of all ids that they name twenty are listed, those of events first."""
    report_request_ids: list[str]
    request_ids: list[str]
    message_bytes: int
    """How long the message was."""
    answer_bytes: int
    cut: bool
    """Whether message or answer are not kept to their ends: they are longer than 64 KiB."""
    message: str | None = None
    """What was sent; null in a listing, unless bodies are asked for."""
    answer: str | None = None


def _shown(line: LogLine) -> LoggedMessage:
    message, answer = line.texts() or (None, None)
    return LoggedMessage(
        id=line.id,
        at=line.at,
        ven_id=line.ven_id,
        fingerprint=line.fingerprint or None,
        sender=MessageSender(line.sender),
        profile=Profile(line.profile),
        type=line.type,
        answer_type=line.answer_type,
        status=line.status,
        code=line.code,
        fault=line.fault,
        event_ids=line.named(SubjectKind.EVENT),
        report_request_ids=line.named(SubjectKind.REPORT_REQUEST),
        request_ids=line.named(SubjectKind.REQUEST),
        message_bytes=line.request_bytes,
        answer_bytes=line.answer_bytes,
        cut=line.cut,
        message=message,
        answer=answer,
    )


@operation(
    "GET",
    "/v1/messages",
    summary="List exchanges with VENs, newest first, filtered",
    role="viewer",
    tags=["messages"],
    errors=[404],
)
async def list_messages(
    context: Context,
    ven_id: Annotated[str, Field(max_length=80)] | None = None,
    event_id: Annotated[str, Field(max_length=120)] | None = None,
    type: Annotated[  # noqa: A002  the query's name
        str, Field(max_length=60, description="An element, such as oadrCreatedEvent: the message's, or its answer's.")
    ]
    | None = None,
    since: UtcTime | None = None,
    until: UtcTime | None = None,
    faults: Annotated[bool, Field(description="Only those with an error.")] = False,
    bodies: Annotated[bool, Field(description="With what was said; at most 50 a page.")] = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[LoggedMessage]:
    """Return what was said, without empty polls; the last seconds may be missing, and old messages are deleted.

    Of reports of data that were taken, one of each VEN is kept now and then (`openadr.log.report_every`).
    """
    desk = context.service(DESK)
    before = _NEWEST_FIRST.decode(cursor)
    wanted = LogFilter(ven_id, event_id, type, since, until, faults)
    most = min(limit, _MOST_WITH_BODIES) if bodies else limit
    async with desk.db.read() as conn:
        if ven_id is not None:
            await ven_view.get(conn, ven_id)
        lines = await message_log.listing(
            conn, wanted, before=(before[0], before[1]) if before else None, limit=most + 1, bodies=bodies
        )
    return _NEWEST_FIRST.page([_shown(line) for line in lines], most, key=lambda shown: (shown.at, shown.id))


@operation(
    "GET",
    "/v1/messages/{message_id}",
    summary="Read an exchange with a VEN, without its secrets",
    role="viewer",
    tags=["messages"],
    errors=[404],
)
async def read_message(context: Context, message_id: str) -> LoggedMessage:
    async with context.service(DESK).db.read() as conn:
        return _shown(await message_log.get(conn, message_id))


@operation(
    "GET",
    "/v1/vens/{ven_id}/message-record",
    summary="Download a VEN's messages as a record for `evenload conform replay`",
    role="viewer",
    tags=["messages"],
    errors=[404],
    headers={"Content-Disposition": "The name of the file."},
)
async def download_record(
    context: Context,
    ven_id: str,
    event_id: Annotated[str, Field(max_length=120)] | None = None,
    type: Annotated[str, Field(max_length=60)] | None = None,  # noqa: A002  the query's name
    since: UtcTime | None = None,
    until: UtcTime | None = None,
    faults: bool = False,
) -> web.StreamResponse:
    """Return one JSON file with what was said, filtered like the listing and as free of secrets, up to 60 MiB.

    What the kit cannot judge is left out, and counted in the file's `facts`: messages of 2.0a, and those that are not
    kept to their ends.
    """
    desk = context.service(DESK)
    async with desk.db.read() as conn:
        await ven_view.get(conn, ven_id)
    wanted = LogFilter(ven_id, event_id, type, since, until, faults)
    body = message_record.record(desk.db, ven_id, wanted)
    headers = attachment(f"messages-{ven_id}.json")
    return web.Response(body=body, content_type="application/json", headers=headers)


OPERATIONS = (list_messages, read_message, download_record)
