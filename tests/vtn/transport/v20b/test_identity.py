"""Who speaks: certificates, revocation, proxies."""

import asyncio
import contextlib
import ssl
import time
from types import SimpleNamespace

import aiohttp
import pytest
from structlog.testing import capture_logs

from openadr.model.registration import VenProfile
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreatePartyRegistration, Poll, QueryRegistration
from support.waiting import until
from vtn.services import provisioning
from vtn.transport.v20b import http
from vtn.transport.v20b.http import Edge
from web.connections import Limits


@pytest.mark.parametrize("certificate", [None, "foreign", "expired"], ids=["none", "foreign", "expired"])
async def test_se03_without_a_good_certificate_the_handshake_fails(line, certificate):
    before = await line.world.dump()
    with capture_logs() as logs:
        with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
            await line.send(encode(Poll(line.home.ven_id)), certificate=certificate)
        await line.forget(certificate)
        await until(lambda: logs, "a line in the log")
    assert [(one["event"], one["log_level"]) for one in logs] == [("client refused", "warning")]
    assert await line.world.dump() == before
    await line.works()


async def test_se03_plain_http_on_the_tls_port_does_no_harm(line):
    before = await line.world.dump()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"http://127.0.0.1:{line.port}/OpenADR2/Simple/2.0b/OadrPoll", data=b"")
    assert await line.world.dump() == before
    await line.works()


async def test_se07_a_trusted_certificate_that_nobody_knows_gets_463_and_waits(line):
    for number, message in enumerate(
        (Poll(line.home.ven_id), QueryRegistration("q"), CreatePartyRegistration("r", VenProfile())), start=1
    ):
        before = await line.world.dump(without=("waiting_certificate",))
        with capture_logs() as logs:
            answer = await line.say(message, certificate="stranger")
        assert answer.response.code == 463
        assert [one["code"] for one in logs] == [463]
        assert await line.world.dump(without=("waiting_certificate",)) == before
        (row,) = await line.world.rows("waiting_certificate")
        assert row.attempts == number
    assert "commonName=stranger" in row.subject
    await line.works()
    async with line.world.tx() as tx:
        ven_id = await provisioning.create_ven(tx, "newcomer", line.world.now, who="test")
        await provisioning.add_fingerprint(tx, ven_id, row.fingerprint, line.world.now, who="test")
    answer = await line.say(CreatePartyRegistration("r", VenProfile()), certificate="stranger")
    assert (answer.response.code, answer.ven_id) == (200, ven_id)
    assert await line.world.rows("waiting_certificate") == []


async def test_an_unregistered_ven_gets_463(line):
    async with line.world.tx() as tx:
        await tx.conn.exec_driver_sql("UPDATE ven SET registration_id = NULL WHERE name = 'home'")
        tx.changed(line.home.ven_id)
    before = await line.world.dump()
    with capture_logs() as logs:
        assert (await line.say(Poll(line.home.ven_id))).response.code == 463
    assert [one["code"] for one in logs] == [463]
    assert await line.world.dump() == before


async def test_revocation_takes_effect_on_the_next_message_of_an_open_connection(line):
    session = line.session("home")
    assert (await line.say(Poll(line.home.ven_id))).response.code == 200
    async with line.world.tx() as tx:
        await provisioning.revoke_certificate(tx, line.home.peer.fingerprint, line.world.now, who="test")
    assert (await line.say(Poll(line.home.ven_id))).response.code == 463
    assert line.session("home") is session
    assert (await line.say(Poll(line.other.ven_id), certificate="other")).response.code == 200


async def test_se04_a_certificate_that_expires_on_an_open_connection_is_refused(line, monkeypatch):
    """Also where it was accepted by its fingerprint alone, so that its end is in no row."""
    async with line.world.tx() as tx:
        await tx.conn.exec_driver_sql("UPDATE ven_certificate SET not_after = NULL")
        tx.changed(line.home.ven_id, line.other.ven_id)
    assert (await line.say(Poll(line.home.ven_id))).response.code == 200
    session = line.session("home")
    in_two_days = SimpleNamespace(time=lambda: time.time() + 2 * 86_400, perf_counter=time.perf_counter)
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(http, "time", in_two_days)
        assert (await line.send(encode(Poll(line.home.ven_id))))[0] == 403
    assert line.session("home") is session
    assert [(one["event"], one["certificate"]) for one in logs] == [("request refused", "commonName=home")]


async def test_two_certificates_of_a_ven_are_both_good_during_renewal(line):
    line.pki.issue("renewed")
    pem = (line.pki.directory / "renewed.pem").read_text()
    async with line.world.tx() as tx:
        await provisioning.add_certificate(tx, line.home.ven_id, pem, line.world.now, who="test")
    for certificate in ("home", "renewed"):
        assert (await line.say(Poll(line.home.ven_id), certificate=certificate)).response.code == 200


PROXY = {"proxy_header": "X-Client-Fingerprint", "proxy_secret": "geheim"}


async def test_behind_a_proxy_only_its_secret_makes_the_header_count(line_at):
    async with line_at(Edge(**PROXY), tls=False) as line:
        name = line.home.peer.fingerprint
        good = {"Content-Type": "application/xml", "X-Proxy-Secret": "geheim", "X-Client-Fingerprint": name}
        body = encode(Poll(line.home.ven_id))
        for change in (
            {"X-Proxy-Secret": "geraten"},
            {"X-Proxy-Secret": ""},
            {"X-Proxy-Secret": "gehéim"},
            {"X-Client-Fingerprint": ""},
            {"X-Client-Fingerprint": "x" * 5000},
            {"X-Client-Fingerprint": f"{name}, {name}"},
        ):
            before = await line.world.dump()
            with capture_logs() as logs:
                status, _, _ = await line.send(body, headers=good | change)
            assert status == 403, change
            assert [one["log_level"] for one in logs] == ["warning"]
            assert await line.world.dump() == before
        assert (await line.send(body, headers=good))[0] == 200
        assert (await line.send(body, headers=good | {"X-Client-Fingerprint": name.lower()}))[0] == 200


async def test_behind_a_proxy_a_doubled_header_is_nobody(line_at):
    """A client may have sent one of the two."""
    async with line_at(Edge(**PROXY), tls=False) as line:
        body = encode(Poll(line.home.ven_id))
        secret, name = "X-Proxy-Secret: geheim", f"X-Client-Fingerprint: {line.home.peer.fingerprint}"
        other = f"X-Client-Fingerprint: {line.other.peer.fingerprint}"
        strange = b"X-Proxy-Secret: geheim\xff\xfe"
        for headers, status in (
            ([secret, name], 200),
            ([secret, name, other], 403),
            ([secret, name, name], 403),
            ([secret, secret, name], 403),
            ([strange, name], 403),
        ):
            head = [
                "POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1",
                "Host: vtn",
                "Content-Type: application/xml",
                f"Content-Length: {len(body)}",
                *headers,
                "",
                "",
            ]
            raw = b"\r\n".join(one if isinstance(one, bytes) else one.encode() for one in head)
            async with line.bare() as (reader, writer):
                writer.write(raw + body)
                assert (await reader.readline()).split()[1] == str(status).encode(), headers


async def test_a_refusal_names_the_address_and_the_certificate(line):
    with capture_logs() as logs:
        await line.say(Poll("none such" * 1000))
    (told,) = logs
    assert (told["address"], told["certificate"]) == ("127.0.0.1", "commonName=home")
    assert len(told["why"]) <= 500


async def test_known_vens_get_in_through_a_crowd_of_strangers(line_at):
    """A thousand idle connections without a certificate from their own address; each of theirs stays open."""
    limits = Limits(most=60, per_address=40, handshake_s=60.0, idle_s=60.0)
    async with line_at(limits=limits) as line, contextlib.AsyncExitStack() as stack:
        assert (await line.say(Poll(line.home.ven_id))).response.code == 200
        for _ in range(300):
            _, writer = await asyncio.open_connection("127.0.0.1", line.port)
            stack.callback(writer.close)
        assert len(line.connections) <= 60
        session = line.session("home")
        assert (await line.say(Poll(line.home.ven_id))).response.code == 200
        assert (await line.say(Poll(line.other.ven_id), certificate="other")).response.code == 200
        assert line.session("home") is session


async def test_a_handshake_that_is_not_finished_is_cut_off(line_at):
    async with line_at(limits=Limits(handshake_s=0.3)) as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: len(line.connections) == 0, "an end of the connection")
        assert (await line.say(Poll(line.home.ven_id))).response.code == 200


async def test_a_proxy_without_a_secret_is_nobody(line_at):
    async with line_at(Edge(proxy_header="X-Client-Fingerprint"), tls=False) as line:
        headers = {"Content-Type": "application/xml", "X-Client-Fingerprint": line.home.peer.fingerprint}
        for secret in ({}, {"X-Proxy-Secret": ""}):
            assert (await line.send(encode(Poll(line.home.ven_id)), headers=headers | secret))[0] == 403


async def test_plain_http_that_was_not_asked_for_serves_nobody(line_at):
    async with line_at(Edge(), tls=False) as line:
        assert (await line.send(encode(Poll(line.home.ven_id))))[0] == 403


async def test_an_insecure_listener_takes_the_ven_from_the_message(line_at):
    async with line_at(Edge(insecure=True), tls=False) as line:
        assert (await line.say(Poll(line.home.ven_id))).response.code == 200
        assert (await line.say(Poll("none such"))).response.code == 463


async def test_on_an_insecure_listener_a_ven_registers_by_its_name(line_at):
    async with line_at(Edge(insecure=True), tls=False) as line:
        assert (await line.say(QueryRegistration("q"))).response.code == 200
        given = await line.say(CreatePartyRegistration("q", VenProfile(ven_name="other")))
        assert (given.response.code, given.ven_id) == (200, line.other.ven_id)
