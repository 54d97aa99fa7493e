"""Requests to addresses that somebody else chose: what is called, and what is not."""

import asyncio
import contextlib
import ipaddress
import socket

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from core.errors import EvenloadError, InvalidError, UnavailableError
from web import http_client
from web.http_client import STRICT, Guard

PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.1", "224.0.0.1",
    "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "192.88.99.1", "::1", "::", "fd00::1", "fe80::1",
    "fec0::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b:1::1", "2002:7f00:1::1", "2001:0:a00:1::",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address):
    with pytest.raises(InvalidError, match="not a public address"):
        STRICT.check_address(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(InvalidError, match="not a public address"):
        STRICT.check_url(f"https://{host}/hook")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes(address):
    STRICT.check_address(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "", "hook", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "https://", "https:///x",
        "http://example.com/", "https://user@example.com/", "https://user:secret@example.com/", "https://a b.example/",
        "https://example.com/#part", "https://example.com:0/", "https://example.com:99999/", "https://[::1/",
        "https://exämple.com/", "https://example.com/\r\nX: 1", "https://example.com/" + "a" * 2000,
    ],
)  # fmt: skip
def test_an_odd_address_is_refused(url):
    with pytest.raises(InvalidError):
        STRICT.check_url(url)


@pytest.mark.parametrize("name", ["localhost", "LocalHost.", "vtn.localhost"])
def test_the_names_of_this_machine_are_its_addresses(name):
    with pytest.raises(InvalidError, match="not a public address"):
        STRICT.check_url(f"https://{name}/hook")
    for network in ("127.0.0.0/8", "::1/128"):
        Guard.allowing([network]).check_url(f"https://{name}/hook")
    assert Guard.allowing([name]).check_url(f"https://{name}/hook")


def test_names_pass_until_they_are_resolved():
    assert STRICT.check_url("https://example.com:8443/hook?x=1").port == 8443


def test_the_list_allows_hosts_and_networks():
    guard = Guard.allowing(["prices.local", "Localhost:8080", "10.1.0.0/16", "fd00::/8", "[::1]:9000"])
    for url in ("http://prices.local/x", "http://localhost:8080/", "https://10.1.2.3/", "https://[fd00::5]/",
                "http://[::1]:9000/", "http://PRICES.local./"):  # fmt: skip
        guard.check_url(url)
    for url in ("http://localhost:8081/", "http://10.1.2.3/", "https://10.2.0.1/", "http://xprices.local/"):
        with pytest.raises(InvalidError):
            guard.check_url(url)


@pytest.mark.parametrize("entry", ["", "*.local", "a/b", "http://x", "user@x", "10.1.0.1/16", "x y", "host:port", "é"])
def test_an_odd_entry_in_the_list_is_refused(entry):
    with pytest.raises(InvalidError):
        Guard.allowing([entry])


@given(st.text(max_size=60))
def test_whatever_is_written_is_a_guard_or_an_error(text):
    for read in (STRICT.check_url, lambda one: Guard.allowing([one])):
        with contextlib.suppress(InvalidError):
            read(text)


@pytest.fixture
async def site(aiohttp_server):  # noqa: C901  a row of answers
    """A server on loopback, its guard, and what it was asked."""
    asked = []

    async def answer(request):
        asked.append((request.method, request.path, await request.text(), dict(request.headers)))
        match request.path:
            case "/moved":
                raise web.HTTPFound("/json")
            case "/large":
                return web.Response(body=b"x" * 100_000)
            case "/deep":
                return web.Response(text="[" * 100_000)
            case "/nan":
                return web.Response(text="NaN")
            case "/slow":
                await asyncio.Event().wait()
            case "/drip":
                response = web.StreamResponse()
                await response.prepare(request)
                while True:
                    await response.write(b" ")
                    await asyncio.sleep(0.02)
            case "/broken":
                request.transport.abort()
            case "/wrong":
                return web.json_response({}, status=500)
        return web.json_response({"a": 1})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    server = await aiohttp_server(app)
    return f"http://127.0.0.1:{server.port}", Guard.allowing([f"127.0.0.1:{server.port}"]), asked


async def test_json_comes_back(site):
    base, guard, asked = site
    assert await http_client.fetch_json(f"{base}/json?key=1", guard=guard, headers={"X-Key": "k"}) == {"a": 1}
    (method, _, _, headers), *_ = asked
    assert method == "GET"
    assert headers["X-Key"] == "k"
    assert headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize(
    ("path", "error", "text"),
    [
        ("/moved", UnavailableError, "answered 302"),
        ("/wrong", UnavailableError, "answered 500"),
        ("/large", InvalidError, "longer than 1000 bytes"),
        ("/nan", InvalidError, "not JSON"),
        ("/slow", UnavailableError, "did not answer within"),
        ("/drip", UnavailableError, "did not answer within"),
        ("/broken", UnavailableError, "does not answer"),
    ],
)
async def test_what_is_no_good_answer_is_named(site, path, error, text):
    base, guard, asked = site
    with pytest.raises(error, match=text):
        await http_client.fetch_json(f"{base}{path}", guard=guard, timeout_s=0.3, max_bytes=1000)
    assert {one[1] for one in asked} == {path}  # a GET whose connection broke off is tried again


async def test_a_bottomless_answer_is_not_json(site):
    base, guard, _ = site
    with pytest.raises(InvalidError, match="not JSON"):
        await http_client.fetch_json(f"{base}/deep", guard=guard)


async def test_the_query_is_in_no_message(site):
    base, guard, _ = site
    with pytest.raises(UnavailableError) as caught:
        await http_client.fetch_json(f"{base}/wrong?api_key=secret", guard=guard)
    assert "secret" not in str(caught.value)


async def test_a_post_gives_its_status_back_and_follows_no_redirect(site):
    base, guard, asked = site
    answer = await http_client.post(f"{base}/moved", b'{"x":1}', guard=guard, headers={"webhook-id": "m"})
    assert answer.status == 302
    assert (await http_client.post(f"{base}/large", b"{}", guard=guard, max_bytes=10)).body == b"x" * 10
    assert asked[0][0:3] == ("POST", "/moved", '{"x":1}')
    assert asked[0][3]["Content-Type"] == "application/json"


async def test_a_name_that_leads_inside_is_refused_and_nothing_is_called(site, monkeypatch):
    """The name resolves to a public and a private address: one private is enough."""
    _, _, asked = site
    resolved = []

    async def resolve(self, host, port=0, family=socket.AF_INET):
        resolved.append(host)
        return [_found(host, "8.8.8.8", port), _found(host, "127.0.0.1", port)]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    with pytest.raises(InvalidError, match=r"127\.0\.0\.1 is not a public address"):
        await http_client.post("https://innocent.example/hook", b"{}")
    assert resolved == ["innocent.example"]
    assert asked == []


async def test_a_name_is_resolved_once_and_the_checked_address_is_called(site, monkeypatch):
    base, _, asked = site
    port = base.rpartition(":")[2]
    answers = [[_found("a.example", "127.0.0.1", int(port))], [_found("a.example", "10.9.9.9", int(port))]]

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return answers.pop(0)

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    guard = Guard.allowing([f"a.example:{port}"])
    assert await http_client.fetch_json(f"http://a.example:{port}/json", guard=guard) == {"a": 1}
    assert len(answers) == 1
    assert len(asked) == 1


def _found(host, address, port):
    return {"hostname": host, "host": address, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}


async def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    guard = Guard.allowing(["127.0.0.1", "nowhere.invalid"])
    with pytest.raises(UnavailableError, match="does not answer"):
        await http_client.fetch_json(f"http://127.0.0.1:{port}/", guard=guard)


async def test_an_unreadable_list_of_authorities_is_named(tmp_path):
    with pytest.raises(EvenloadError, match="not a readable file"):
        await http_client.fetch_json("https://example.com/", guard=Guard(ca=tmp_path / "none.pem"))
