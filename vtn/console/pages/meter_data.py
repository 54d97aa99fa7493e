"""Validated meter data and outdoor temperatures: a file of them, and what became of its rows."""

from collections.abc import Iterable, Sized
from dataclasses import dataclass
from typing import Annotated, Final

from aiohttp import web
from pydantic import Field

from core.errors import InvalidError
from vtn.console.request import ConsoleRequest
from vtn.services import csv_rows, meter_data, weather
from vtn.services.csv_rows import Refused
from vtn.services.meter_data import Taken
from vtn.services.weather import TakenTemperatures
from web.auth import Role
from web.model import Model
from web.pages.forms import Form
from web.pages.page import page
from web.pages.translations import gettext as _
from web.pages.translations import ngettext

_LINES_SHOWN: Final = 8


class _Upload(Model):
    csv: Annotated[str, Field(max_length=csv_rows.MOST_CHARS)]


class _Temperatures(Model):
    temperatures: Annotated[str, Field(max_length=csv_rows.MOST_CHARS)]


@dataclass(frozen=True, slots=True)
class _Reason:
    """Why rows were refused: how many, and the first of their lines."""

    text: str
    rows: int
    lines: tuple[int, ...]


@page("GET", "/meter-data", role=Role.ADMIN)
async def show_upload(request: ConsoleRequest) -> web.StreamResponse:
    """Show how to send a file."""
    return _page(request, Form(), None)


def _page(request: ConsoleRequest, form: Form, taken: Taken | TakenTemperatures | None) -> web.Response:
    return request.render(
        "meter_data.html",
        form=form,
        taken=taken,
        reasons=_reasons(taken.refused) if taken is not None else (),
        columns=meter_data.COLUMNS,
        warm_columns=weather.COLUMNS,
        ahead_days=weather.AHEAD.days,
        qualities=tuple(meter_data.QUALITIES),
        flows=tuple(meter_data.FLOWS),
        most_rows=csv_rows.MOST_ROWS,
    )


def _reasons(refused: Iterable[Refused]) -> list[_Reason]:
    """Return each reason once, the most frequent first."""
    lines: dict[str, list[int]] = {}
    for row in refused:
        lines.setdefault(row.reason, []).append(row.line)
    found = [_Reason(text, len(some), tuple(some[:_LINES_SHOWN])) for text, some in lines.items()]
    return sorted(found, key=lambda reason: -reason.rows)


@page("POST", "/meter-data", role=Role.ADMIN)
async def upload(request: ConsoleRequest) -> web.StreamResponse:
    """Take in the good rows of a file, and say why the others were refused."""
    form = await request.form()
    taken = None
    with form.catching("csv"):
        wish = form.read(_Upload)
        rows, refused = meter_data.read_csv(wish.csv)
        _need_rows(rows, refused)
        async with request.desk.db.write() as tx:
            taken = await meter_data.take(tx, rows, refused, request.now, who=request.who)
        if not taken.refused:
            return _all_taken(request, taken.accepted)
    return _page(request, form, taken)


@page("POST", "/meter-data/temperatures", role=Role.ADMIN)
async def upload_temperatures(request: ConsoleRequest) -> web.StreamResponse:
    """Take in the good temperatures of a file, and say why the other rows were refused."""
    form = await request.form()
    taken = None
    with form.catching("temperatures"):
        rows, refused = weather.read_csv(form.read(_Temperatures).temperatures)
        _need_rows(rows, refused)
        async with request.desk.db.write() as tx:
            taken = await weather.take(tx, rows, refused, request.now, who=request.who)
        if not taken.refused:
            return _all_taken(request, taken.accepted)
    return _page(request, form, taken)


def _need_rows(rows: Sized, refused: Sized) -> None:
    if not rows and not refused:
        raise InvalidError(_("The file has no rows below its line of column names."))


def _all_taken(request: ConsoleRequest, accepted: int) -> web.StreamResponse:
    text = ngettext("%(num)s row was taken in.", "%(num)s rows were taken in.", accepted)
    return request.redirect("/meter-data", notice=text)


PAGES = (show_upload, upload, upload_temperatures)
