import asyncio
import json

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from web.auth import Role
from web.body import MAX_DEPTH, parse, read_body
from web.problem import ProblemError


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not JSON"),
        (b"{", "line 1, column 2"),
        (b'{"a":1} x', "not JSON"),
        (b"{'a':1}", "not JSON"),
        (b'{"a":1,"a":2}', "same name"),
        (b'{"b":{"a":1,"\\u0061":2}}', "same name"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "-Infinity"),
        (b"[1e999]", "too large"),
        (b"[9223372036854775808]", "64 bits"),
        (b"[-9223372036854775808]", "64 bits"),
        (b"1" * 5000, "64 bits"),
        (b"0." + b"1" * 5000, "too many digits"),
        (b'["\\u0000"]', "U\\+0000"),
        (b'{"\\u0000":1}', "U\\+0000"),
        (b'["\\ud800"]', "half a pair"),
        (b'"\xff"', "UTF-8"),
        ('{"a":1}'.encode("utf-16"), "UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b"[" * 10_000 + b"]" * 10_000, "32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "32 levels"),
    ],
)
def test_what_has_no_single_meaning_or_no_bound_is_refused(raw, says):
    with pytest.raises(ProblemError, match=says) as caught:
        parse(raw)
    assert caught.value.status == 400


@pytest.mark.parametrize("value", [2**63 - 1, 1.5e308, "\U0001f600", None, [[]], {"a": {"b": [1, 2, "x"]}}])
def test_what_is_in_bounds_is_read(value):
    assert parse(json.dumps(value).encode()) == value


def test_the_deepest_body_that_is_taken():
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(ProblemError):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


@given(st.binary(max_size=60) | st.text(alphabet='{}[]",:0123456789.eE-+ truefalsn\\', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(raw):
    try:
        value = parse(raw)
    except ProblemError as error:
        status = error.status
    else:
        status = 200
        assert parse(json.dumps(value).encode()) == value
    assert status in {200, 400}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
    ],
)
async def test_other_content_types(toy, headers):
    response = await toy.client.post("/kettles", data=b'{"name":"x"}', headers={**toy.bearer(Role.ADMIN), **headers})
    assert response.status == 415
    assert toy.shelf.kettles == {}


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "nonsense"])
async def test_compressed_bodies_are_not_unpacked(toy, coding, caplog):
    headers = {**toy.bearer(Role.ADMIN), "Content-Type": "application/json", "Content-Encoding": coding}
    response = await toy.client.post("/kettles", data=b"bad", headers=headers, compress=False)
    assert response.status == 415
    assert not caplog.records


async def test_a_body_that_is_not_framed(toy):
    token = toy.bearer(Role.ADMIN)["Authorization"]
    head = f"POST /kettles HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", toy.client.server.port)
    writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\n{{    \r\n".encode())
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(b"not a length\r\n")
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_past_the_limit(toy, chunked):
    async def pieces():
        for _ in range(30):
            yield b" " * 1000

    data = pieces() if chunked else b" " * 30_000
    headers = {**toy.bearer(Role.ADMIN), "Content-Type": "application/json"}
    response = await toy.client.post("/kettles", data=data, headers=headers)
    assert response.status == 413
    assert (await response.json())["type"] == "urn:evenload:problem:too-large"


async def test_a_body_that_never_comes_to_an_end(toy, monkeypatch):
    monkeypatch.setattr("web.body._READ_S", 0.05)

    async def pieces():
        yield b'{"name":'
        await asyncio.Event().wait()

    headers = {**toy.bearer(Role.ADMIN), "Content-Type": "application/json"}
    response = await toy.client.post("/kettles", data=pieces(), headers=headers)
    assert response.status == 408


async def test_a_body_that_breaks_off():
    payload = StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=100)
    payload.feed_data(b'{"name":')
    payload.set_exception(web.RequestPayloadError("gone"))
    request = make_mocked_request("POST", "/", {"Content-Type": "application/json"}, payload=payload)
    with pytest.raises(ProblemError, match="broke off") as caught:
        await read_body(request)
    assert caught.value.status == 400


async def test_malformed_json(toy):
    headers = {**toy.bearer(Role.ADMIN), "Content-Type": "application/json"}
    response = await toy.client.post("/kettles", data=b'{"name":', headers=headers)
    assert response.status == 400
    assert (await response.json())["type"] == "urn:evenload:problem:malformed"
