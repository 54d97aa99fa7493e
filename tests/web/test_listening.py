"""Connections: strangers, slow and idle clients are bounded; malformed HTTP gets a short answer and one line."""

import asyncio
import contextlib
import subprocess
import sys

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from support.waiting import until
from web.connection_metrics import measured
from web.connections import Connections, Limits
from web.listening import Site

SHORT = 0.2
LONG = 60.0
_PATIENT = Limits(handshake_s=LONG, idle_s=LONG, answer_s=LONG)


async def _answer(request):
    if request.path == "/large":
        return web.Response(body=b"x" * 50_000_000)
    return web.Response(text="fine")


@contextlib.asynccontextmanager
async def listening(limits, answer=_answer, *, trusted=False):
    """Yield the tracker and a function that opens a connection."""
    connections = Connections(limits)
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await Site(runner, "127.0.0.1", 0, connections, trusted=trusted).start()
    port = runner.addresses[0][1]
    async with contextlib.AsyncExitStack() as stack:

        async def connect():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            return reader, writer

        try:
            yield connections, connect
        finally:
            await runner.cleanup()


async def say(line, text):
    """Send a request and return the answer's head."""
    reader, writer = line
    writer.write(text.replace("\n", "\r\n").encode("utf-8", "surrogateescape"))
    return (await reader.readuntil(b"\r\n\r\n")).decode()


async def get(line, path="/"):
    head = await say(line, f"GET {path} HTTP/1.1\nHost: x\n\n")
    await line[0].readexactly(4)
    return head.split()[1]


async def ended(line):
    """Wait until the other side closes."""
    with contextlib.suppress(ConnectionError):
        while await line[0].read(1 << 20):
            pass
    return True


async def test_a_connection_that_says_nothing_is_closed():
    async with listening(Limits(handshake_s=SHORT)) as (connections, connect):
        assert await ended(await connect())
        await until(lambda: len(connections) == 0, "an end of the connection")


async def test_a_connection_of_somebody_trusted_may_be_silent_for_longer():
    async with listening(Limits(handshake_s=SHORT), trusted=True) as (_, connect):
        line = await connect()
        await asyncio.sleep(3 * SHORT)
        assert await get(line) == "200"


async def test_a_head_that_comes_byte_by_byte_is_cut_off():
    async with listening(Limits(handshake_s=SHORT)) as (_, connect):
        line = await connect()

        async def dribble():
            with contextlib.suppress(ConnectionError):
                for byte in b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000:
                    line[1].write(bytes([byte]))
                    await asyncio.sleep(0.01)

        task = asyncio.create_task(dribble())
        assert await ended(line)
        task.cancel()


async def test_a_connection_without_a_request_is_closed_though_it_had_one():
    async with listening(Limits(idle_s=SHORT)) as (_, connect):
        line = await connect()
        assert await get(line) == "200"
        assert await ended(line)


async def test_a_client_that_does_not_fetch_its_answer_is_cut_off():
    async with listening(Limits(answer_s=SHORT)) as (connections, connect):
        line = await connect()
        await say(line, "GET /large HTTP/1.1\nHost: x\n\n")
        await until(lambda: len(connections) == 0, "an end of the connection")


async def test_the_longest_idle_stranger_of_an_address_gives_way():
    async with listening(Limits(per_address=3, handshake_s=LONG, idle_s=LONG)) as (connections, connect):
        lines = [await connect() for _ in range(3)]
        for line in lines:
            assert await get(line) == "200"
        assert await get(lines[0]) == "200"  # now lines[1] is the longest idle one
        with capture_logs() as logs:
            more = await connect()
            assert await get(more) == "200"
            assert await ended(lines[1])
        assert [one["event"] for one in logs] == ["connections are turned away"]
        assert len(connections) == 3
        for line in (lines[0], lines[2], more):
            assert await get(line) == "200"


def test_known_clients_do_not_give_way_to_a_crowd_of_strangers():
    connections, closed = Connections(Limits(most=8, per_address=4)), []
    for number in range(4):
        connections.prove(connections.accept("192.0.2.1", lambda: closed.append("known")), f"VEN {number}")
    for number in range(30):
        connections.accept(f"192.0.2.{number % 3}", lambda number=number: closed.append(number))
    assert len(connections) == 8
    assert "known" not in closed
    assert sorted(closed) == list(range(26)), "the longest idle ones gave way"


def test_a_known_client_is_bounded_by_its_name():
    connections, closed = Connections(Limits(per_client=2)), []
    for number in range(3):
        connections.prove(connections.accept("192.0.2.1", lambda number=number: closed.append(number)), "somebody")
    assert (len(connections), closed) == (2, [0])


def test_thousands_of_known_clients_may_share_an_address_and_none_is_turned_away():
    connections, closed = Connections(Limits(most=100_000)), []
    for number in range(5000):
        one = connections.accept("192.0.2.1", lambda number=number: closed.append(number))
        connections.prove(one, f"VEN {number}")
    assert (len(connections), closed) == (5000, [])


def test_a_network_of_ipv6_counts_as_one_address():
    connections, closed = Connections(Limits(per_address=2)), []
    for number in range(5):
        connections.accept(f"2001:db8::{number}", lambda number=number: closed.append(number))
    connections.accept("2001:db8:1::1", lambda: closed.append("another"))
    assert (len(connections), closed) == (3, [0, 1, 2])


def test_nobody_is_let_in_where_all_are_known_and_there_is_no_more_room():
    registry = CollectorRegistry()
    connections = measured(Limits(most=10), registry)
    with capture_logs() as logs:
        for number in range(10):
            connections.prove(connections.accept("192.0.2.1", lambda: None), f"VEN {number}")
        assert connections.accept("192.0.2.2", lambda: None) is None
        assert connections.accept("192.0.2.3", lambda: None) is None
    assert [one["event"] for one in logs] == ["connections are near their limit", "connections are turned away"]
    assert registry.get_sample_value("evenload_connections") == 10
    assert registry.get_sample_value("evenload_connections_limit") == 10
    assert registry.get_sample_value("evenload_connections_turned_away_total") == 2


def test_the_limit_of_open_files_is_raised_to_what_is_allowed():
    code = (
        "import resource; from web.listening import raise_handle_limit; "
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE); resource.setrlimit(resource.RLIMIT_NOFILE, (400, hard));"
        "free = raise_handle_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], hard, free)"
    )
    soft, hard, free = map(int, subprocess.check_output([sys.executable, "-c", code]).split())
    assert soft == min(hard, 1 << 20)
    assert 64 <= free < soft


MALFORMED = [
    "\x16\x03\x01 no HTTP at all\n\n",
    "GET / HTTP/1.1\nHost x\n\n",
    "GET / HTTP/1.1\nHost: x\nContent-Length: -5\n\n",
    "POST / HTTP/1.1\nHost: x\nTransfer-Encoding: nonsense\n\n",
    "GET / HTTP/1.1\nHost: x\nX: " + "x" * 20_000 + "\n\n",
    "GET / HTTP/9.9\n\n",
]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_http_gets_400_one_line_no_traceback_and_no_banner(text, caplog):
    async with listening(_PATIENT) as (_, connect):
        with capture_logs() as logs:
            head = await say(await connect(), text)
    assert head.split()[1] == "400"
    assert "server" not in head.lower()
    (line,) = logs
    assert (line["event"], line["address"]) == ("malformed request", "127.0.0.1")
    assert len(str(line)) < 500
    assert caplog.records == []


async def test_a_body_that_nobody_asked_for_and_that_cannot_be_unpacked_writes_no_traceback(caplog):
    async with listening(_PATIENT) as (_, connect):
        line = await connect()
        with capture_logs() as logs:
            await say(line, "POST / HTTP/1.1\nHost: x\nContent-Encoding: gzip\nContent-Length: 3\n\nabc")
            assert await line[0].read() == b"fine"
    assert [(each["event"], each["address"]) for each in logs] == [("malformed request", "127.0.0.1")]
    assert caplog.records == []


@pytest.mark.parametrize("expect", ["nonsense", "100-continue\nExpect: 100-continue", "\udcff\udcfe", "100-Continué"])
async def test_an_expectation_that_nobody_knows_is_417(expect):
    async with listening(_PATIENT) as (_, connect):
        with capture_logs() as logs:
            head = await say(await connect(), f"POST / HTTP/1.1\nHost: x\nExpect: {expect}\nContent-Length: 2\n\n")
    assert head.split()[1] == "417"
    assert [one["log_level"] for one in logs] == ["warning"]


async def test_a_fault_of_our_own_is_500_without_a_word_of_it():
    async def broken(_request):
        raise RuntimeError("password=hunter2")

    async with listening(_PATIENT, broken) as (_, connect):
        line = await connect()
        with capture_logs() as logs:
            head = await say(line, "GET / HTTP/1.1\nHost: x\n\n")
            rest = await line[0].read()
    assert head.split()[1] == "500"
    assert "aiohttp" not in head
    assert b"hunter2" not in rest
    assert [one["event"] for one in logs] == ["unexpected fault"]
