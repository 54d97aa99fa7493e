"""The pull transport against a real socket."""

import asyncio
import gzip

import pytest
from aiohttp import web

from core.errors import InvalidError
from openadr.v20b.encode import encode
from openadr.v20b.messages import OadrResponse, Poll, QueryRegistration, Response
from ven.engine import Failure
from ven.transport.pull import MOST_BYTES, PullTransport, TransportError

GOOD = encode(OadrResponse(Response(), "v"))


@pytest.fixture
async def served():
    """Return a maker: handler -> transport to a server that answers so; and what it saw."""
    running, seen = [], []

    async def make(handler, time_out_s=5.0):
        async def record(request):
            body = await request.read()
            seen.append((request.method, request.path, dict(request.headers), body))
            return await handler(request)

        server = web.Server(record)
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        transport = PullTransport(f"http://127.0.0.1:{port}/OpenADR2/Simple/2.0b/", None, time_out_s)
        running.append((runner, transport))
        return transport, seen

    yield make
    for runner, transport in running:
        await transport.__aexit__(None, None, None)
        await runner.cleanup()


def answering(status=200, body=b"", headers=None):
    async def handler(_):
        return web.Response(status=status, body=body, headers=headers)

    return handler


async def test_a_message_is_one_post_to_its_service(served):
    transport, seen = await served(answering(body=GOOD))
    assert await transport.post(Poll("v")) == OadrResponse(Response(), "v")
    await transport.post(QueryRegistration("r"))
    (method, path, headers, body), (_, second, _, _) = seen
    assert (method, path) == ("POST", "/OpenADR2/Simple/2.0b/OadrPoll")
    assert second.endswith("/EiRegisterParty")
    assert headers["Content-Type"] == "application/xml"  # TR-06
    assert headers["Content-Length"] == str(len(body))
    assert "Transfer-Encoding" not in headers
    assert headers["Accept-Encoding"] == "gzip"  # TR-08
    assert body == encode(Poll("v"))


async def test_compressed_answers_are_read(served):
    packed = gzip.compress(GOOD)
    transport, _ = await served(answering(body=packed, headers={"Content-Encoding": "gzip"}))
    assert await transport.post(Poll("v")) == OadrResponse(Response(), "v")


async def test_an_empty_200_is_no_message(served):
    transport, _ = await served(answering(body=b" \n"))
    assert await transport.post(OadrResponse(Response(), "v")) is None


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (503, Failure.BUSY),
        (429, Failure.BUSY),
        (500, Failure.BROKEN),
        (502, Failure.BROKEN),
        (504, Failure.BROKEN),
        (501, Failure.REJECTED),
        (404, Failure.REJECTED),
        (406, Failure.REJECTED),
        (403, Failure.REJECTED),
        (302, Failure.REJECTED),
    ],
)
async def test_http_statuses(served, status, failure):
    transport, seen = await served(answering(status, b"why", {"Location": "/elsewhere"} if status == 302 else None))
    with pytest.raises(TransportError, match=str(status)) as caught:
        await transport.post(Poll("v"))
    assert caught.value.failure is failure
    assert len(seen) == 1  # no redirect is followed, nothing is resent here


async def test_nonsense_is_broken(served):
    transport, _ = await served(answering(body=b"<html>hello</html>"))
    with pytest.raises(TransportError) as caught:
        await transport.post(Poll("v"))
    assert caught.value.failure is Failure.BROKEN


async def test_an_endless_answer_is_cut(served):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            for _ in range(2 * MOST_BYTES // 65536):
                await response.write(b"x" * 65536)
        except ConnectionError:
            pass
        return response

    transport, _ = await served(endless)
    with pytest.raises(TransportError, match="more than") as caught:
        await transport.post(Poll("v"))
    assert caught.value.failure is Failure.BROKEN


async def test_no_answer_in_time_is_unreachable(served):
    released = asyncio.Event()

    async def slow(_):
        await released.wait()
        return web.Response(body=GOOD)

    transport, _ = await served(slow, time_out_s=0.2)
    with pytest.raises(TransportError) as caught:
        await transport.post(Poll("v"))
    assert caught.value.failure is Failure.UNREACHABLE
    released.set()


async def test_nobody_there_is_unreachable():
    async with PullTransport("http://127.0.0.1:9/x", None) as transport:
        with pytest.raises(TransportError) as caught:
            await transport.post(Poll("v"))
    assert caught.value.failure is Failure.UNREACHABLE


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/x", "http://example.com/x", "ftp://127.0.0.1/x", "https://127.0.0.1/x"]
)
async def test_without_tls_only_this_machine_is_talked_to(url):
    with pytest.raises(InvalidError):
        PullTransport(url, None)


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        (None, 0, 0),
        ("30", 30, 30),
        ("99999999999999999999", 300, 300),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 300, 300),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0),
        ("Thu, 01 Jan 99999 00:00:00 GMT", 0, 0),
    ],
)
async def test_retry_after_is_honoured_within_bounds(served, header, least_s, most_s):
    transport, _ = await served(answering(503, b"later", {"Retry-After": header} if header else None))
    with pytest.raises(TransportError) as caught:
        await transport.post(Poll("v"))
    assert least_s <= caught.value.after_s <= most_s
    assert caught.value.code == "HTTP 503"
