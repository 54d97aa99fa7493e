"""What is asked of a POST before it is read (web.posts), at a real socket."""

import asyncio

import pytest
from aiohttp import web

from web.connections import Connections, Limits
from web.listening import Site
from web.posts import RefusedError, body_of, check_proxy, check_xml

MOST = 100_000


@pytest.fixture
async def port():
    async def answer(request):
        try:
            if "X-Proxy-Secret" in request.headers or request.path == "/proxy":
                check_proxy(request, "geheim\u00e9")
            check_xml(request)
            return web.Response(body=str(len(await body_of(request, MOST, 0.3))))
        except RefusedError as refused:
            return web.Response(status=refused.status, text=refused.why)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, Connections(Limits(most=8)), trusted=True).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def ask(port, *lines, body=b"", path="/"):
    """Send a request as it stands, and return the status lines that come back, and the last body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]
    writer.write("\r\n".join(head).encode() + body)
    answered = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    statuses = [line.split(b" ")[1].decode() for line in answered.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    return statuses, answered.rpartition(b"\r\n\r\n")[2].decode()


XML = "Content-Type: application/xml"


async def test_a_body_is_read_whole(port):
    for size in (0, 1, MOST):
        assert await ask(port, XML, f"Content-Length: {size}", body=b"x" * size) == (["200"], str(size))


async def test_who_waits_for_leave_to_send_gets_it(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST / HTTP/1.1\r\nHost: x\r\n{XML}\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n".encode())
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"ab")
    assert b" 200 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


@pytest.mark.parametrize(
    ("lines", "body", "why"),
    [
        ((XML, f"Content-Length: {MOST + 1}"), b"", "larger than"),
        ((XML, "Transfer-Encoding: chunked"), b"20000\r\n" + b"x" * 0x20000 + b"\r\n0\r\n\r\n", "larger than"),
        ((XML, "Content-Length: 5"), b"x", "in time"),
        (("Content-Type: text/xml", "Content-Length: 0"), b"", "application/xml"),
        (("Content-Type: application/xml; charset=latin-1", "Content-Length: 0"), b"", "UTF-8"),
    ],
)
async def test_what_cannot_be_taken_is_406(port, lines, body, why):
    statuses, text = await ask(port, *lines, body=body)
    assert statuses == ["406"]
    assert why in text


async def test_only_the_proxy_that_knows_the_secret_speaks(port):
    here = (XML, "Content-Length: 0")
    assert (await ask(port, *here, path="/proxy"))[0] == ["403"]
    assert (await ask(port, *here, "X-Proxy-Secret: geheim"))[0] == ["403"]
    assert (await ask(port, *here, "X-Proxy-Secret: geheim\u00e9", "X-Proxy-Secret: geheim\u00e9"))[0] == ["403"]
    assert (await ask(port, *here, "X-Proxy-Secret: geheim\u00e9"))[0] == ["200"]
