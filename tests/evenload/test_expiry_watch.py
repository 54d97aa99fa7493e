"""Operators hear in time that a certificate ends: by mail, by webhook, in the log and at /metrics."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry
from sqlalchemy import insert
from structlog.testing import capture_logs

from certs.authority import Authority
from core.clock import machine_now
from core.spans import Duration
from evenload.expiry_watch import ExpiryWatch
from evenload.settings import AlertSettings, EmailSettings, OutgoingSettings, Settings
from vtn.services import expiry
from vtn.store.database import Database
from vtn.store.tables import ven, ven_certificate


@asynccontextmanager
async def mail_server(mails, *, busy=()):
    """Yield the port of a small mail server (RFC 5321) that keeps what it gets; it refuses while `busy` holds."""

    async def talk(reader, writer):
        async def say(text):
            writer.write(f"{text}\r\n".encode())
            await writer.drain()

        await say("421 busy" if busy else "220 mail.example")
        while (line := await reader.readline()) and not busy:
            match line.decode().split()[0].upper():
                case "DATA":
                    await say("354 go on")
                    mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    await say("250 kept")
                case "QUIT":
                    await say("221 bye")
                    break
                case _:
                    await say("250 ok")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def db(tmp_path):
    database = await Database.open(f"sqlite:///{tmp_path / 'vtn.db'}")
    yield database
    await database.close()


@pytest.fixture
def watched(tmp_path):
    authority = Authority.create(tmp_path / "ca", "CA")
    (tmp_path / "server.pem").write_text(authority.issue_server(["x"], days=40).chain_pem)
    return {"server certificate server.pem": tmp_path / "server.pem", "authority ca.pem": tmp_path / "ca" / "ca.pem"}


class Hours:
    def __init__(self):
        self.now = machine_now()

    def __call__(self):
        return self.now


def mail_to(port):
    return EmailSettings(host="127.0.0.1", port=port, tls="none", sender="vtn@example.com", to=("ops@example.com",))


async def test_it_is_told_by_mail_when_it_comes_near_and_again_every_day(db, watched):
    mails, hours = [], Hours()
    async with mail_server(mails) as port:
        settings = Settings(vtn_id="the VTN", alerts=AlertSettings(email=mail_to(port)))
        watch = ExpiryWatch(db, watched, settings, CollectorRegistry(), hours)
        await watch.turn()
        assert mails == []
        hours.now += timedelta(days=11)
        with capture_logs() as logs:
            await watch.turn()
            await watch.turn()
        (mail,) = mails
        assert "To: ops@example.com" in mail
        assert "server certificate server.pem ends on" in mail
        assert "authority" not in mail
        assert [one["event"] for one in logs] == ["certificate ends soon"]
        hours.now += timedelta(days=1)
        await watch.turn()
        assert len(mails) == 2
        hours.now += timedelta(days=40)
        await watch.turn()
        assert "ended on" in mails[2]


async def test_a_mail_server_that_is_busy_is_tried_again(db, watched):
    mails, hours, busy = [], Hours(), ["yes"]
    hours.now += timedelta(days=20)
    async with mail_server(mails, busy=busy) as port:
        settings = Settings(alerts=AlertSettings(email=mail_to(port)))
        watch = ExpiryWatch(db, watched, settings, CollectorRegistry(), hours)
        with capture_logs() as logs:
            await watch.turn()
        assert logs[-1]["event"] == "operators could not be told"
        busy.clear()
        await watch.turn()
        assert len(mails) == 1


async def test_a_webhook_is_told_too_and_the_threshold_can_be_set(db, watched):
    came, hours = [], Hours()

    async def take(request):
        came.append(json.loads(await request.text()))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    async with TestServer(app) as server:
        alerts = AlertSettings(webhook=str(server.make_url("/hook")), expires_within=Duration.of(days=60))
        allow = OutgoingSettings(allow=(f"127.0.0.1:{server.port}",))
        settings = Settings(vtn_id="the VTN", alerts=alerts, outgoing=allow)
        await ExpiryWatch(db, watched, settings, CollectorRegistry(), hours).turn()
    assert came[0]["type"] == "certificates.expiring"
    assert "server.pem ends on" in came[0]["data"]["alerts"][0]


async def test_metrics_say_when_each_ends_and_how_many_vens(db, watched):
    hours, registry = Hours(), CollectorRegistry()
    async with db.write() as tx:
        await tx.conn.execute(insert(ven).values(id="v", name="v", created_at=hours.now))
        row = {"fingerprint": "AA", "ven_id": "v", "created_at": hours.now, "not_after": hours.now + timedelta(days=3)}
        await tx.conn.execute(insert(ven_certificate).values(row))
    with capture_logs() as logs:
        await ExpiryWatch(db, watched, Settings(), registry, hours).turn()
    assert "was not renewed: 1." in logs[-1]["what"]
    assert registry.get_sample_value("evenload_vens_expiring") == 1
    for name, path in watched.items():
        told = registry.get_sample_value("evenload_certificate_expiry_timestamp_seconds", {"certificate": name})
        assert told == expiry.ends({name: path})[0].ends_at.timestamp()


def test_a_certificate_that_cannot_be_read_is_an_alert(tmp_path):
    (one,) = expiry.soon({"server certificate x": tmp_path / "x"}, machine_now())
    assert "cannot be read" in one.text(machine_now())
