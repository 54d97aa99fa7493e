"""What one home did in an event, as a PDF for its household, in the operator API."""

import asyncio
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from aggregator.trade import home_report
from vtn.api.desk import DESK
from web.api import Context
from web.downloads import attachment
from web.operation import operation

_PDF: Final = "application/pdf"
_Id = Annotated[str, Field(min_length=1, max_length=80)]


@operation(
    "GET",
    "/v1/dispatches/{dispatch_id}/result/vens/{ven_id}/report",
    summary="Read what one VEN did as a PDF for its household",
    role="viewer",
    tags=["results"],
    errors=[404],
    media_type=_PDF,
)
async def read_home_report(
    context: Context,
    dispatch_id: _Id,
    ven_id: _Id,
    version: Annotated[int, Field(ge=1, le=1_000_000)] | None = None,
) -> web.Response:
    """Return one page in plain words, with a chart and how far the energy is known.

    Of the newest version of the result, or the one named. A server without the extra `pdf` answers 503.
    """
    told = await home_report.read(context.service(DESK).db, dispatch_id, ven_id, version)
    raw = await asyncio.to_thread(home_report.to_pdf, told)
    name = f"{dispatch_id}-{ven_id}-v{told.version}.pdf"
    return web.Response(body=raw, content_type=_PDF, headers=attachment(name))


OPERATIONS = (read_home_report,)
