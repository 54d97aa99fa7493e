"""Hostile and broken bodies: each gets the right answer, is logged once, changes nothing, stops nothing."""

import asyncio
import contextlib
import gzip
import re

import pytest
from structlog.testing import capture_logs

from openadr.v20b import messages as m
from openadr.v20b.decode import MAX_BYTES, decode
from openadr.v20b.encode import encode
from support.vtn_world import NOON, data, usage
from vtn.transport.v20b.http import Edge

OADR = "http://openadr.org/oadr-2.0b/2012/07"
EI = "http://docs.oasis-open.org/ns/energyinterop/201110"


def payload(inside, *, signed="oadrSignedObject"):
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><oadr:oadrPayload xmlns:oadr="{OADR}" xmlns:ei="{EI}">'
        f"<oadr:{signed}>{inside}</oadr:{signed}></oadr:oadrPayload>"
    ).encode()


def poll_of(ven_id, before=""):
    return f'{before}<oadr:oadrPoll ei:schemaVersion="2.0b"><ei:venID>{ven_id}</ei:venID></oadr:oadrPoll>'


def with_doctype(ven_id, declared, used):
    body = payload(poll_of(used)).decode()
    return body.replace("?>", f"?><!DOCTYPE oadr [{declared}]>", 1).encode()


LAUGHS = '<!ENTITY l0 "ha">' + "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
ATTRIBUTES = " ".join(f"a{n}='1'" for n in range(100_000))
BETWEEN = "</oadr:oadrSignedObject><oadr:oadrSignedObject>"
BODIES = {
    "empty": lambda _: b"",
    "no XML": lambda _: b"\x89PNG not XML at all",
    "cut off": lambda ven: payload(poll_of(ven))[:-20],
    "not closed": lambda _: b"<a><b></a>",
    "null bytes": lambda ven: payload(poll_of(ven)) + b"\0\0",
    "UTF-16": lambda ven: payload(poll_of(ven)).decode().encode("utf-16"),
    "UTF-16, declared": lambda ven: payload(poll_of(ven)).decode().replace("UTF-8", "UTF-16").encode("utf-16"),
    "Latin 1": lambda _: payload(poll_of("Zoë")).decode().encode("latin-1"),
    "Latin 1, declared": lambda _: payload(poll_of("Zoë")).decode().replace("UTF-8", "ISO-8859-1").encode("latin-1"),
    "DOCTYPE": lambda ven: with_doctype(ven, "", ven),
    "entity": lambda ven: with_doctype(ven, f'<!ENTITY b "{ven}">', "&b;"),
    "external entity": lambda ven: with_doctype(ven, '<!ENTITY b SYSTEM "file:///etc/passwd">', "&b;"),
    "billion laughs": lambda ven: with_doctype(ven, LAUGHS, "&l9;"),
    "undeclared entity": lambda _: payload(poll_of("&nothing;")),
    "deep nesting": lambda _: b"<a>" * 100_000 + b"</a>" * 100_000,
    "deep nesting inside": lambda _: payload("<ei:x>" * 100_000 + "</ei:x>" * 100_000),
    "100,000 attributes": lambda _: payload(f"<oadr:oadrPoll {ATTRIBUTES}/>"),
    "just too large": lambda ven: payload(poll_of(ven)) + b" " * MAX_BYTES,
    "10 MB": lambda ven: payload(poll_of(ven)) + b" " * 10_000_000,
    "10 MB of faults": lambda _: payload("<ei:x/>" * 1_400_000),
    "unknown element": lambda _: payload('<oadr:oadrNothing ei:schemaVersion="2.0b"/>'),
    "another root": lambda ven: poll_of(ven, f'<x xmlns:oadr="{OADR}" xmlns:ei="{EI}">').encode() + b"</x>",
    "another namespace": lambda ven: payload(poll_of(ven)).replace(b"/2012/07", b"/2099/12"),
    "no message": lambda _: payload(""),
    "two messages": lambda ven: payload(poll_of(ven) * 2),
    "two signed objects": lambda ven: payload(f"{poll_of(ven)}{BETWEEN}{poll_of(ven)}"),
    "no venID": lambda _: payload('<oadr:oadrPoll ei:schemaVersion="2.0b"/>'),
    "extra element": lambda ven: payload(poll_of(ven).replace("</oadr:oadrPoll>", "<ei:x/></oadr:oadrPoll>")),
}  # fmt: skip


@pytest.mark.parametrize("part", range(4))
async def test_gn12_what_is_no_message_is_406(line, part):
    for name in list(BODIES)[part::4]:
        await line.refuses(406, BODIES[name](line.home.ven_id), note=name)


async def test_a_chunked_body_is_read_up_to_the_limit(line):
    async def endless():
        for _ in range(2000):
            yield b" " * 10_000

    async def short():
        yield payload(poll_of(line.home.ven_id))[:50]
        yield payload(poll_of(line.home.ven_id))[50:]

    assert (await line.send(short()))[0] == 200
    await line.refuses(406, endless())


async def test_a_compressed_bomb_is_read_up_to_the_limit(line):
    headers = {"Content-Type": "application/xml", "Content-Encoding": "gzip"}
    await line.refuses(406, gzip.compress(b" " * 20_000_000), headers=headers)


async def test_damaged_compression_is_406(line):
    headers = {"Content-Type": "application/xml", "Content-Encoding": "gzip"}
    body = gzip.compress(payload(poll_of(line.home.ven_id)))
    await line.refuses(406, body[:30] + b"damaged" + body[30:], headers=headers)


async def test_the_limit_is_a_setting(line_at):
    async with line_at(Edge(max_body_bytes=20_000)) as line:
        await line.refuses(406, payload(poll_of(line.home.ven_id)) + b" " * 20_000)


async def test_a_large_body_within_the_limit_is_read(line_at):
    async with line_at(Edge(max_body_bytes=5_000_000)) as line:
        assert (await line.send(payload(poll_of(line.home.ven_id)) + b" " * 4_000_000))[0] == 200


# -- valid messages with faults


async def test_gn13_empty_optional_elements_are_as_good_as_absent(line):
    (asked,) = await line.home.offer(usage("meter"))
    body = encode(m.UpdateReport("", (data(asked, NOON, 1.0),), line.home.ven_id))
    empty = body.replace(line.home.ven_id.encode(), b"")
    assert empty != body
    status, answer, _ = await line.send(empty, service="EiReport")
    assert status == 200
    assert (decode(answer).response.code, decode(answer).response.request_id) == (200, "")


async def test_gn02_an_unqualified_schema_version_is_refused_in_strict_mode_only(line):
    body = payload(poll_of(line.home.ven_id).replace("ei:schemaVersion", "schemaVersion"))
    assert (await line.send(body))[0] == 200
    async with line.world.tx() as tx:
        await tx.conn.exec_driver_sql("UPDATE ven SET strict = 1 WHERE name = 'home'")
        tx.changed(line.home.ven_id)
    await line.refuses(406, body)


async def test_gn04_fractions_of_seconds_are_taken(line):
    (asked,) = await line.home.offer(usage("meter"))
    body = encode(m.UpdateReport("u", (data(asked, NOON, 1.0),), line.home.ven_id)).replace(b":00Z", b":00.123456789Z")
    status, answer, _ = await line.send(body, service="EiReport")
    assert (status, decode(answer).response.code) == (200, 200)


_FEED = (
    b'<oadr:oadrGBPayload><feed xmlns="http://www.w3.org/2005/Atom"><id>urn:uuid:1</id><title>usage</title>'
    b"<updated>2026-01-12T12:00:00Z</updated></feed></oadr:oadrGBPayload>"
)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a value"])
async def test_green_button_data_is_refused_with_461_and_never_acknowledged(line, beside):
    (asked,) = await line.home.offer(usage("meter"))
    good = encode(m.UpdateReport("u 7", (data(asked, NOON, 1.0),), line.home.ven_id))
    other = rb"\g<0>" + _FEED if beside else _FEED
    bad = re.sub(rb"<oadr:oadrReportPayload>.*?</oadr:oadrReportPayload>", other, good)
    assert bad != good
    before = await line.world.dump()
    status, body, _ = await line.send(bad, service="EiReport")
    answer = decode(body, strict=True)
    assert isinstance(answer, m.UpdatedReport)
    assert (status, answer.response.code, answer.response.request_id) == (200, 461, "u 7")
    assert await line.world.dump() == before


async def test_gn11_a_value_that_nobody_can_read_is_454_in_the_normal_answer(line):
    (asked,) = await line.home.offer(usage("meter"))
    good = encode(m.UpdateReport("u 7", (data(asked, NOON, 1.0),), line.home.ven_id))
    bad = re.sub(rb"(<xcal:date-time>)2026", rb"\g<1>-0044", good)
    before = await line.world.dump()
    with capture_logs() as logs:
        status, body, _ = await line.send(bad, service="EiReport")
    answer = decode(body, strict=True)
    assert status == 200
    assert isinstance(answer, m.UpdatedReport)
    assert (answer.response.code, answer.response.request_id) == (454, "u 7")
    assert [one["code"] for one in logs] == [454]
    assert await line.world.dump() == before
    await line.works()


async def logical_fault(line, message, code, **options):
    before = await line.world.dump(without=("waiting_certificate",))
    with capture_logs() as logs:
        answer = await line.say(message, **options)
    assert answer.response.code == code
    assert [(one["log_level"], one["code"]) for one in logs] == [("warning", code)]
    assert await line.world.dump(without=("waiting_certificate",)) == before
    await line.works()


async def test_gn08_a_foreign_id_is_452(line):
    for message in (
        m.Poll("none such"),
        m.RequestEvent("none such", "q"),
        m.CancelOpt(line.home.ven_id, "q", "none such"),
        m.UpdateReport("u", (data("none such", NOON, 1.0),), line.home.ven_id),
        m.CancelPartyRegistration("c", "none such", line.home.ven_id),
    ):
        await logical_fault(line, message, 452)


async def test_se07_another_vens_id_is_463(line):
    await logical_fault(line, m.Poll(line.other.ven_id), 463)
    await logical_fault(line, m.Poll(line.home.ven_id), 463, certificate="other")


async def test_gn15_a_message_at_the_wrong_service_is_459(line):
    await logical_fault(line, m.Poll(line.home.ven_id), 459, service="EiEvent")
    await logical_fault(line, m.DistributeEvent("vtn", "q"), 459)


# -- connections that misbehave


def head(length):
    return (
        "POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1\r\nHost: vtn\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def test_a_body_that_never_arrives_is_refused_and_others_do_not_wait(line_at):
    async with line_at(Edge(read_timeout_s=0.3)) as line:
        before = await line.world.dump()
        async with line.bare() as (reader, writer):
            writer.write(head(1000) + b"<")
            await writer.drain()
            with capture_logs() as logs:
                await line.works()
                answer = await reader.readline()
        assert answer.startswith(b"HTTP/1.1 406 ")
        assert [one["why"] for one in logs] == ["The body did not arrive in time."]
        assert await line.world.dump() == before
        await line.works()


async def test_a_body_that_trickles_is_refused(line_at):
    async with line_at(Edge(read_timeout_s=0.3)) as line, line.bare() as (reader, writer):
        writer.write(head(100_000))
        answer = asyncio.ensure_future(reader.readline())
        while not answer.done():
            writer.write(b" ")
            await asyncio.wait([answer], timeout=0.02)
        assert (await answer).startswith(b"HTTP/1.1 406 ")
        await line.works()


async def test_an_aborted_connection_does_no_harm(line):
    before = await line.world.dump()
    with capture_logs() as logs:
        for sent in (b"", b"POST /OpenADR2/Sim", head(5000), head(5000) + b"<oadr"):
            async with line.bare() as (_, writer):
                writer.write(sent)
                await writer.drain()
                writer.transport.abort()
            await line.works()
    assert [one for one in logs if one["log_level"] in ("error", "critical")] == []
    assert await line.world.dump() == before


async def test_a_client_that_hangs_up_before_the_answer_has_said_what_it_said(line):
    """The message was whole: it counts, and a resend is no news (TR-12)."""
    (asked,) = await line.home.offer(usage("meter"))
    body = encode(m.UpdateReport("u", (data(asked, NOON, 1.0),), line.home.ven_id))
    async with line.bare() as (_, writer):
        writer.write(head(len(body)).replace(b"OadrPoll", b"EiReport") + body)
        await writer.drain()
        writer.transport.abort()
    answer = await line.home.report(data(asked, NOON, 1.0))
    assert answer.response.code == 200
    assert len(await line.world.rows("chunk")) == 1
    await line.works()


async def test_what_is_no_http_does_no_harm(line):
    async with line.bare() as (reader, writer):
        writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.")
    await line.works()


async def test_many_idle_connections_keep_nobody_out(line):
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(30):
            await stack.enter_async_context(line.bare())
        await line.works()


async def test_a_406_names_the_ven_and_is_counted(line):
    with capture_logs() as logs:
        assert (await line.send(b"no message"))[0] == 406
        mended = encode(m.Poll(line.home.ven_id)).replace(b" ei:schemaVersion", b" schemaVersion")
        assert [(await line.send(mended))[0] for _ in range(3)] == [200, 200, 200]
        assert (await line.send(b"no message", certificate="stranger"))[0] == 406
    assert [one.get("ven_id") for one in logs if one.get("status") == 406] == [line.home.ven_id, None]
    await line.world.faults.flush()
    told = {(row.ven_id, row.kind, row.subject): row.times for row in await line.world.rows("ven_fault")}
    assert told == {
        (line.home.ven_id, "unreadable", "message"): 1,
        (line.home.ven_id, "mended", "unqualified schemaVersion"): 3,
    }
