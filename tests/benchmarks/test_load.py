"""The driver measures what there is, also where a server takes longer than the stretch."""

import asyncio
import os

import pytest
from aiohttp import web

from benchmarks import load
from benchmarks.load import DriveError, Fleet, Ven


def for_ever(_):
    while True:
        yield "Service", b""


@pytest.fixture
def drive(aiohttp_server):
    """Drive two VENs for a moment at a server that takes its time."""

    async def drive(delay_s):
        async def answer(_):
            await asyncio.sleep(delay_s)
            return web.Response()

        app = web.Application()
        app.router.add_post("/Service", answer)
        server = await aiohttp_server(app)
        fleet = Fleet(str(server.make_url("")).rstrip("/"), os.getpid(), [Ven("one"), Ven("two")])
        await fleet.connect()
        try:
            return await fleet.drive(for_ever, warm_s=0.0, seconds=0.01)
        finally:
            await fleet.close()

    return drive


async def test_a_stretch_without_an_answer_goes_on_until_there_is_one(drive):
    found = await drive(0.2)
    assert found.answers >= 1
    assert found.per_s == found.answers / found.seconds


async def test_a_server_that_never_answers_is_an_error(drive, monkeypatch):
    monkeypatch.setattr(load, "_WITHIN_S", 0.05)
    with pytest.raises(DriveError, match="Not one answer"):
        await drive(1.0)
