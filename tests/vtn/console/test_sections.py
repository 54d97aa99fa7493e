"""Another room's pages in the console: templates, static files, navigation, panels, services, live streams."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import DummyCookieJar, web

from core.errors import ConflictError
from support.browser import Browser, Console
from vtn.api import Desk
from vtn.console import NavEntry, Section, all_pages, make_console, page
from vtn.console.console import CONSOLE
from web.auth import Role
from web.pages import streams

DEADLINE_S = 20.0


@dataclass(frozen=True, slots=True)
class Ledger:
    lines: list[str]


LEDGER = web.AppKey("ledger", Ledger)


@page("GET", "/room", role=Role.DISPATCHER)
async def show(request):
    return request.render("room/page.html", lines=request.service(LEDGER).lines)


@page("POST", "/room", role=Role.DISPATCHER)
async def write(request):
    form = await request.form()
    with form.catching():
        if not form.value("line"):
            raise ConflictError("Write something.", field="line")
        request.service(LEDGER).lines.append(form.value("line"))
        return request.redirect("/room", notice=f"{request.who} wrote.")
    return request.render("room/page.html", lines=[], form=form)


@page("GET", "/room/stream", role=Role.VIEWER)
async def follow(request):
    async def source(after):
        lines = request.service(LEDGER).lines
        start = 0 if after is None else int(after) + 1
        fresh = list(enumerate(lines))[start:]
        return [streams.Message(str(n), {"text": {"last": text}, "n": float("nan")}) for n, text in fresh]

    return await streams.stream(request, source, every_s=0.01)


async def panel(request):
    return request.fragment("room/panel.html", count=len(request.service(LEDGER).lines))


@pytest.fixture
async def room(console, tmp_path, aiohttp_client):
    templates, static = tmp_path / "templates", tmp_path / "static"
    (templates / "room").mkdir(parents=True)
    static.mkdir()
    (templates / "room" / "page.html").write_text(
        '{% extends "layout.html" %}{% block title %}Room{% endblock %}'
        '{% block scripts %}<script type="module" src="{{ static("room/room.js") }}"></script>{% endblock %}'
        '{% block content %}{{ shout("hi") }}{% for one in lines %}<p class="line">{{ one }}</p>{% endfor %}'
        '{% call ui.form("/room", form) %}{{ ui.field(form, "line", "Line") }}{{ ui.button("Write") }}{% endcall %}'
        "{% endblock %}"
    )
    (templates / "room" / "panel.html").write_text('<section class="sheet" id="room">{{ count }} lines</section>')
    (static / "room.js").write_text('import { update } from "../console/chart.js";\n')
    section = Section(
        "room",
        pages=(show, write, follow),
        nav=(NavEntry("Room", "/room", rank=15, role=Role.DISPATCHER),),
        templates=templates,
        static=static,
        globals={"shout": str.upper},
        panels=(panel,),
    )
    world = console.world
    desk = Desk(world.db, world.clock, world.settings, "https://vtn.example/OpenADR2", None)
    app = make_console(
        desk, hosts={"127.0.0.1"}, cache=tmp_path, secure=False, sections=(section,), utcnow=console.machine.utcnow
    )
    app[LEDGER] = Ledger(["first"])
    client = await aiohttp_client(app, cookie_jar=DummyCookieJar())
    made = Console(client, world, console.machine, app[CONSOLE])
    for name, browser in console.browsers.items():
        made.browsers[name] = Browser(made, browser.token, browser.csrf)
    made.lines = app[LEDGER].lines
    made.section = section
    return made


async def test_pages_of_another_room_stand_in_the_frame(room):
    shown = await room.dispatcher.get("/room")
    assert shown.title == "Room"
    assert "HI" in shown.main
    assert "Room" in shown.texts("//nav//a[@aria-current='page']")
    assert "Room" not in (await room.viewer.get("/")).texts("//nav//a")
    await room.viewer.get("/room", 403)
    answer = await room.dispatcher.post("/room", line="<b>second</b>")
    shown = await room.dispatcher.follow(answer)
    assert "dispatcher wrote." in shown.main
    assert shown.texts("//p[@class='line']") == ["first", "<b>second</b>"]
    shown = await room.dispatcher.post("/room", 422, line="")
    assert "Write something." in shown.fault("line")


async def test_its_panel_is_on_the_overview_and_its_pages_are_known(room):
    assert "1 lines" in (await room.viewer.get("/")).main
    assert {one.path for one in all_pages((room.section,))} > {"/room", "/room/stream", "/fleet"}


async def test_two_pages_with_one_address_are_refused(room, tmp_path):
    with pytest.raises(TypeError, match="share GET /room"):
        make_console(
            room.shell.desk, hosts=set(), cache=tmp_path, secure=False, sections=(Section("a", pages=(show, show)),)
        )


async def test_static_files_keep_for_ever_and_share_one_hash(room):
    shown = await room.dispatcher.get("/room")
    sources = shown.root.xpath("//script[@src]/@src")
    assert len({one.split("/")[2] for one in sources}) == 1
    for one in (*sources, *shown.root.xpath("//link/@href")):
        async with room.client.get(one) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.content_type in ("text/javascript", "text/css", "image/svg+xml")
    for bad in ("/static/0000000000000000/console/style.css", sources[0] + "x", "/static/../layout.html"):
        await room.viewer.get(bad, 404)


# -- streams


@asynccontextmanager
async def _opened(room, browser, **headers: str) -> AsyncIterator[Any]:
    sent = browser.cookies() | headers
    async with asyncio.timeout(DEADLINE_S), room.client.get("/room/stream", headers=sent) as answer:
        yield answer


async def _event(answer) -> dict[str, str]:
    """Return the next event, without heartbeats."""
    fields: dict[str, str] = {}
    while True:
        line = (await answer.content.readline()).decode().rstrip("\n")
        if not line and "data" in fields:
            return fields
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value


async def test_a_stream_tells_what_is_new_and_goes_on_where_it_was(room):
    async with _opened(room, room.viewer) as answer:
        assert answer.content_type == "text/event-stream"
        first = await _event(answer)
        assert json.loads(first["data"]) == {"text": {"last": "first"}, "n": None}
        room.lines.append("two\nlines")
        assert json.loads((await _event(answer))["data"])["text"] == {"last": "two\nlines"}
    room.lines.append("third")
    async with _opened(room, room.viewer, **{"Last-Event-ID": "1"}) as answer:
        assert (await _event(answer))["id"] == "2"


async def test_a_quiet_stream_says_that_it_lives_and_ends_with_the_session(room, monkeypatch):
    monkeypatch.setattr("web.pages.streams._HEARTBEAT_S", 0.02)
    async with _opened(room, room.viewer) as answer:
        await _event(answer)
        while await answer.content.readline() != b": still here\n":
            pass
        await room.viewer.post("/logout")
        await answer.content.read()
    assert len(room.shell.streams) == 0


async def test_streams_are_bounded_and_end_when_the_server_stops(room):
    async with asyncio.timeout(DEADLINE_S):
        opened = [await room.client.get("/room/stream", headers=room.viewer.cookies()) for _ in range(8)]
        for one in opened:
            await _event(one)
        async with room.client.get("/room/stream", headers=room.viewer.cookies()) as answer:
            assert answer.status == 503
        async with _opened(room, room.admin) as answer:
            assert answer.status == 200
            room.shell.streams.stop()
            await answer.content.read()
        for one in opened:
            await one.content.read()
            one.close()


async def test_a_stranger_gets_no_stream(room):
    await room.stranger.get("/room/stream", 401, Accept="text/event-stream")
