"""The list of dispatches. Ordering, following and judging one are the market's pages."""

from datetime import datetime
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from vtn.console.request import ConsoleRequest
from vtn.services import dispatch_list
from vtn.services import programme as programmes
from vtn.services.dispatch_list import DispatchFilter, When
from web.auth import Role
from web.model import Model
from web.pages.page import page
from web.pagination import Keyset

_PER_PAGE: Final = 50
_ORDER: Final = Keyset("agenda", datetime, str)


class _Filter(Model):
    when: When | None = None
    programme_id: Annotated[str, Field(max_length=80)] | None = None
    cursor: str | None = None


@page("GET", "/dispatches", role=Role.VIEWER)
async def list_dispatches(request: ConsoleRequest) -> web.StreamResponse:
    """Show dispatches, filtered by time and programme."""
    form = request.filters()
    wish = _Filter()
    with form.catching():
        wish = form.read(_Filter)
    after = _ORDER.decode(wish.cursor)
    place = None if after is None else (after[0], after[1])
    async with request.desk.db.read() as conn:
        wanted = DispatchFilter(wish.when, wish.programme_id)
        rows = await dispatch_list.listing(conn, wanted, request.now, after=place, limit=_PER_PAGE + 1)
        known = await programmes.newest(conn)
    return request.render(
        "dispatches.html",
        form=form,
        page=_ORDER.page(rows, _PER_PAGE, key=lambda row: (row.starts_at, row.id)),
        programmes=known,
    )


PAGES = (list_dispatches,)
