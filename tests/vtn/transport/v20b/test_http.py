"""The HTTP edge: addresses, methods, types, compression, resends (catalogue TR)."""

import asyncio
import gzip
import itertools
import sqlite3
import zlib

import pytest
from structlog.testing import capture_logs

from core.errors import UnavailableError
from openadr.model.opt import OptType
from openadr.model.registration import VenProfile
from openadr.v20b import messages as m
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from support.vtn_world import NOON, data, usage
from vtn.store import database, engines, writer
from vtn.transport.v20b.http import Edge


def poll(line):
    return encode(m.Poll(line.home.ven_id))


@pytest.mark.parametrize("prefix", ["", "/vtn", "/a/b/"])
async def test_tr03_services_are_below_the_prefix(line_at, prefix):
    async with line_at(Edge(prefix)) as line:
        base = f"{prefix.rstrip('/')}/OpenADR2/Simple/2.0b/"
        for path in (f"{base}OadrPoll", f"{base}%4FadrPoll", f"{base}../2.0b/./OadrPoll", f"{base}OadrPoll?x=1"):
            status, body, _ = await line.send(poll(line), path=path)
            assert status == 200, path
            assert decode(body).response.code == 200
        for path in ("/", "/OadrPoll", base, f"{base}None", f"{base}OadrPoll/x", f"/x{base}OadrPoll"):
            assert (await line.send(poll(line), path=path))[0] == 404, path


async def test_tr03_percent_encoded_ei_event(line):
    message = encode(m.RequestEvent(line.home.ven_id, "q"))
    status, body, _ = await line.send(message, path="/OpenADR2/Simple/2.0b/%45iEvent")
    assert status == 200
    assert isinstance(decode(body), m.DistributeEvent)


async def test_tr04_post_only(line):
    for method in ("GET", "PUT", "HEAD", "DELETE", "PATCH", "OPTIONS"):
        await line.refuses(501, method=method)


async def test_tr05_unknown_service(line):
    await line.refuses(404, poll(line), service="EiNothing")


async def test_tr05_tr06_other_content_types(line):
    for content_type in (
        "text/xml",
        "application/json",
        "application/xml; charset=utf-16",
        "application/xml; charset=iso-8859-1",
        "application/soap+xml",
        "multipart/form-data; boundary=x",
    ):
        await line.refuses(406, poll(line), headers={"Content-Type": content_type})
    await line.refuses(406, poll(line), headers={})


@pytest.mark.parametrize(
    "content_type", ["application/xml", "application/xml; charset=utf-8", 'Application/XML;charset="UTF-8"']
)
async def test_tr06_good_content_types_and_the_headers_of_the_answer(line, content_type):
    headers = {"Content-Type": content_type, "Accept-Encoding": "identity"}
    status, body, got = await line.send(poll(line), headers=headers)
    assert status == 200
    assert got["Content-Type"] == "application/xml"
    assert got["Content-Length"] == str(len(body))
    assert "Transfer-Encoding" not in got
    assert "Content-Encoding" not in got


async def test_tr07_names_beyond_ascii(line):
    profile = VenProfile(ven_name="Zoë 家 😀")
    answer = await line.say(m.CreatePartyRegistration("Ŕ", profile, line.home.registration_id))
    assert answer.response.code == 200
    assert answer.response.request_id == "Ŕ"
    (row,) = await line.world.rows("ven", id=line.home.ven_id)
    assert row.profile["ven_name"] == "Zoë 家 😀"


CODINGS = {
    "gzip": "gzip",
    "gzip, deflate": "gzip",
    "deflate;q=0.5": "deflate",
    "GZIP;q=1.0": "gzip",
    "*": "gzip",
    "gzip;q=0, *": "deflate",
    "identity": None,
    "gzip;q=0": None,
    "": None,
}


async def test_tr08_compression_as_the_ven_accepts(line):
    messages = {"OadrPoll": poll(line), "EiEvent": encode(m.RequestEvent(line.home.ven_id, "q"))}
    for (service, message), (accept, coding) in itertools.product(messages.items(), CODINGS.items()):
        head = [
            f"POST /OpenADR2/Simple/2.0b/{service} HTTP/1.1",
            "Host: vtn",
            "Content-Type: application/xml",
            *([f"Accept-Encoding: {accept}"] if accept else []),
            "Connection: close",
            f"Content-Length: {len(message)}",
        ]
        async with line.bare() as (reader, writer):
            writer.write("\r\n".join([*head, "", ""]).encode() + message)
            answer, _, body = (await reader.read()).partition(b"\r\n\r\n")
        named = [one for one in answer.decode().split("\r\n") if one.lower().startswith("content-encoding")]
        assert named == ([f"Content-Encoding: {coding}"] if coding else [])
        plain = {"gzip": gzip.decompress, "deflate": zlib.decompress, None: bytes}[coding](body)
        assert decode(plain, strict=True).response.code == 200


async def test_no_answer_names_the_software(line):
    """Neither a good one, nor a refusal; aiohttp by itself says which Python runs."""
    for more in ({}, {"service": "EiEvent"}, {"service": "Nothing"}, {"headers": {"Content-Type": "text/plain"}}):
        _, _, headers = await line.send(poll(line), **more)
        assert "Server" not in headers


async def test_tr12_every_message_can_be_sent_twice(line):
    world, ven = line.world, line.home
    (asked,) = await ven.offer(usage("meter"))
    await world.dispatch(ven)
    (one,) = await ven.events()
    event_response = m.EventResponse(one.event.event_id, 0, OptType.IN, "q")
    for message in (
        m.CreatedEvent(ven.ven_id, m.Response(), (event_response,)),
        m.UpdateReport("u", (data(asked, NOON, 1.0),), ven.ven_id),
        m.CreatePartyRegistration("r", VenProfile(), ven.registration_id, ven.ven_id),
        m.QueryRegistration("q"),
        m.OadrResponse(m.Response(), ven.ven_id),
    ):
        first = await line.say(message)
        stored = await world.dump()
        assert await line.say(message) == first
        assert await world.dump() == stored
    for message in (
        m.RegisterReport("r", (usage("meter"),), ven.ven_id),
        m.CreatePartyRegistration("r", VenProfile()),
        m.CancelPartyRegistration("c", ven.registration_id, ven.ven_id),
    ):
        codes = [(await line.say(message)).response.code for _ in range(2)]
        assert codes[0] == 200
        assert codes[1] in (200, 463)


async def test_tr05_503_while_the_store_does_not_answer(line, monkeypatch):
    async def full(_work):
        raise UnavailableError("The disk of the database is full.")

    message = encode(m.RequestEvent(line.home.ven_id, "q"))
    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(line.world.writer, "submit", full)
        status, text, headers = await line.send(message, service="EiEvent")
    assert status == 503
    assert b"disk" in text
    assert headers["Retry-After"]
    assert [one["log_level"] for one in logs] == ["error"]
    await line.works()


async def test_tr05_500_for_a_fault_of_our_own_tells_nothing_of_it(line, monkeypatch):
    async def broken(*_):
        raise RuntimeError("password=hunter2")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(line.world.vtn, "answer", broken)
        status, text, _ = await line.send(poll(line))
    assert status == 500
    assert b"hunter2" not in text
    assert [one["log_level"] for one in logs] == ["error"]
    await line.works()


async def test_expect_100_continue_is_answered_before_the_body_comes(line):
    message = poll(line)
    async with line.bare() as (reader, writer):
        head = [
            "POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1",
            "Host: vtn",
            "Content-Type: application/xml",
            "Expect: 100-continue",
            f"Content-Length: {len(message)}",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(message)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


async def test_tr05_503_within_three_seconds_while_another_process_holds_the_database(line, tmp_path, monkeypatch):
    """And at once where nothing has to be written."""
    assert engines.LOCK_WAIT_S < 3
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.3)
    monkeypatch.setattr(writer, "LOCK_WAIT_S", 0.3)
    other = sqlite3.connect(tmp_path / "world.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    message = encode(m.RequestEvent(line.home.ven_id, "q"))
    with capture_logs() as logs:
        answers = await asyncio.gather(*(line.send(message, service="EiEvent") for _ in range(3)))
        assert (await line.say(m.Poll(line.home.ven_id))).response.code == 200
    assert [status for status, _, _ in answers] == [503] * 3
    assert all(headers["Retry-After"] for _, _, headers in answers)
    assert {one["event"] for one in logs} == {"cannot answer"}
    other.execute("ROLLBACK")
    other.close()
    assert (await line.send(message, service="EiEvent"))[0] == 200
    await line.works()
