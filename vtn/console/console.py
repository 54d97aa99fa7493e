"""The operators' console: its pages are those of the VTN and of other rooms' sections."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Final

from aiohttp import web

from vtn.api.desk import DESK, Desk
from vtn.console.pages import SECTION
from vtn.console.request import Console, ConsoleCookies, ConsoleRequest
from vtn.services import sessions
from vtn.store.database import Database
from web.pages import app as pages_app
from web.pages.app import environment, make_app
from web.pages.assets import Assets
from web.pages.page import Description, Section
from web.pages.shell import Session
from web.pages.translations import Languages
from web.server import HttpMetrics

CONSOLE: Final = web.AppKey("console", Console)


class _Sessions:
    """The operators' sessions, as rows. Machine time."""

    def __init__(self, db: Database, utcnow: Callable[[], datetime]) -> None:
        self._db = db
        self._utcnow = utcnow

    async def find(self, token: str, *, at_work: bool) -> sessions.Session | None:
        """Return the session of a cookie, None if it is over."""
        now = self._utcnow()
        async with self._db.read() as conn:
            session = await sessions.find(conn, token, now)
        if session is not None and at_work and session.is_stale(now):
            async with self._db.write() as tx:
                await sessions.touch(tx, session, now)
        return session

    async def works(self, session: Session) -> bool:
        """Tell whether a session is not over yet."""
        async with self._db.read() as conn:
            working = await sessions.working(conn, self._utcnow(), principal_id=session.principal.id)
        return any(one.handle == session.handle for one in working)


def make_console(
    desk: Desk,
    *,
    hosts: Collection[str],
    cache: Path,
    secure: bool,
    sections: Sequence[Section] = (),
    metrics: HttpMetrics | None = None,
    zone: tzinfo = UTC,
    about: Mapping[str, Mapping[str, str]] | None = None,
    utcnow: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> web.Application:
    """Return the console: the VTN's own pages and those of other rooms' `sections`.

    `hosts` are the names by which browsers may call it; `cache` is a private directory for the chart library; `secure`
    says that browsers reach it by TLS. Times are shown in `zone` unless a page says otherwise. Services of other rooms
    go into the application under their keys (`app[KEY] = ...`), for `request.service(KEY)`. Raises TypeError for two
    pages with one address.
    """
    rooms = (SECTION, *sections)
    assets = Assets({room.name: room.static for room in rooms if room.static is not None}, cache)
    console = Console(
        name=desk.settings.vtn_id,
        metrics="console",
        clock=desk.clock,
        zone=zone,
        sessions=_Sessions(desk.db, utcnow),
        cookies=ConsoleCookies(secure=secure),
        env=environment(rooms, assets),
        assets=assets,
        languages=Languages(room.translations for room in rooms if room.translations is not None),
        nav=tuple(sorted((entry for room in rooms for entry in room.nav), key=lambda entry: entry.rank)),
        pages={one.path: one.role for one in all_pages(sections) if one.role is not None and one.method == "GET"},
        panels=tuple(panel for room in rooms for panel in room.panels),
        desk=desk,
        utcnow=utcnow,
        about=about or {},
    )
    app = make_app(console, rooms, ConsoleRequest, hosts=hosts, metrics=metrics)
    app[DESK] = desk
    app[CONSOLE] = console
    return app


def all_pages(sections: Sequence[Section] = ()) -> list[Description]:
    """Return where every page of the console is and who may see it: for tests that walk all of them."""
    return pages_app.all_pages((SECTION, *sections))
