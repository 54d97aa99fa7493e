"""The gateway's listener against real sockets: who is let in, and what a request must look like."""

import asyncio
import gzip
import io
import re
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest

from core.clock import machine_now
from core.errors import ConflictError, InvalidError, UnavailableError
from openadr.fingerprint import der_of_pem
from openadr.signature.sign import Signer, new_nonce
from openadr.signature.verify import Verifier
from openadr.v20b.decode import UnreadableError, decode, decode_noting
from openadr.v20b.encode import encode
from openadr.v20b.messages import OadrResponse, Poll, RegisterReport, RequestReregistration, Response
from support.pki import make_pki
from support.vtn_world import usage
from ven.household import Household, Listen
from ven.transport import push
from ven.transport.door import Door, door_of
from ven.transport.push import MOST_BYTES, PushListener
from ven.transport.signatures import Signatures
from web.connections import Limits

ASKED = encode(RequestReregistration("ven-1"))
XML = {"Content-Type": "application/xml"}
PATH = "/OpenADR2/Simple/2.0b/EiRegisterParty"
SECRET = "a secret of a proxy"


class House:
    """Takes messages, and answers or raises as the test says."""

    def __init__(self):
        self.taken = []
        self.says = OadrResponse(Response(), "ven-1")

    async def take(self, message):
        self.taken.append(message)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@asynccontextmanager
async def listening(door, house, **more):
    async with PushListener(door, house.take, **more) as listener:
        yield listener.port


async def post(port, body=ASKED, *, path=PATH, headers=None, method="POST", tls=None):
    scheme = "https" if tls else "http"
    body = None if body is None else io.BytesIO(body)
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, f"{scheme}://127.0.0.1:{port}{path}", data=body, headers=XML | (headers or {}), ssl=tls or True
        ) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


@pytest.fixture
def house():
    return House()


async def test_a_message_is_taken_and_answered(house):
    async with listening(Door("127.0.0.1", 0), house) as port:
        for path in (PATH, f"/a/prefix{PATH}", f"/x/..{PATH}"):
            status, body, headers = await post(port, path=path)
            assert (status, decode(body, strict=True)) == (200, house.says)
            assert headers["Content-Type"] == "application/xml"
            assert headers["Content-Length"] == str(len(body))
            assert "Server" not in headers
        house.says = None
        status, body, _ = await post(port)
        assert (status, body) == (200, b"")
    assert house.taken == [RequestReregistration("ven-1")] * 4


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (501, {"method": "GET", "body": None}),
        (501, {"method": "PUT"}),
        (404, {"path": "/"}),
        (404, {"path": "/OpenADR2/Simple/2.0b/OadrPoll"}),
        (404, {"path": "/OpenADR2/Simple/2.0b/EiEvent/x"}),
        (404, {"path": "/OpenADR2/Simple/2.0b/EiEvent"}),  # GN-15: the message is for EiRegisterParty
        (404, {"body": encode(Poll("ven-1"))}),
        (406, {"headers": {"Content-Type": "text/xml"}}),
        (406, {"headers": {"Content-Type": "application/xml; charset=utf-16"}}),
        (406, {"headers": {"Content-Encoding": "gzip"}, "body": gzip.compress(ASKED)}),
        (406, {"body": b"x" * (MOST_BYTES + 1)}),
        (406, {"body": b""}),
        (406, {"body": b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'}),
        (406, {"body": ASKED[:-9]}),
    ],
)
async def test_what_is_no_message_is_refused_and_the_listener_goes_on(house, status, request_):
    async with listening(Door("127.0.0.1", 0), house) as port:
        got, _, headers = await post(port, **request_)
        assert got == status
        assert "Server" not in headers
        assert house.taken == []
        assert (await post(port))[0] == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [(ConflictError("not registered"), 403), (UnavailableError("full"), 503), (ValueError("x"), 500)],
)
async def test_what_the_house_cannot_do_is_a_status(house, error, status):
    house.says = error
    async with listening(Door("127.0.0.1", 0), house) as port:
        assert (await post(port))[0] == status
        house.says = None
        assert (await post(port))[0] == 200


async def test_a_value_that_cannot_be_read_goes_to_the_house(house):
    offer = encode(RegisterReport("r", (usage("meter"),), "ven-1"))
    body = re.sub(rb"<xcal:duration>P[^<]*<", b"<xcal:duration>P99999999999999999999Y<", offer)
    assert body != offer
    async with listening(Door("127.0.0.1", 0), house) as port:
        await post(port, body, path="/OpenADR2/Simple/2.0b/EiReport")
    (one,) = house.taken
    assert isinstance(one, UnreadableError)


async def test_a_body_that_does_not_come_is_not_waited_for(house):
    async with listening(Door("127.0.0.1", 0), house, time_out_s=0.2) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nContent-Length: 100\r\n\r\n<"
        writer.write(head.encode())
        assert b" 406 " in await reader.readline()
        writer.close()


async def test_the_vtn_may_wait_for_leave_to_send(house):
    """aiohttp's plain server does not give it: the VTN would wait for its own time-out."""
    async with listening(Door("127.0.0.1", 0), house) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/xml\r\nContent-Length: {len(ASKED)}\r\n"
        writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert await asyncio.wait_for(reader.readline(), 10) == b"HTTP/1.1 100 Continue\r\n"
        writer.write(ASKED)
        assert b" 200 " in (await asyncio.wait_for(reader.readuntil(b" 200 "), 10))
        writer.close()


async def test_strangers_and_malformed_requests_neither_fill_nor_name_the_listener(house, pki, monkeypatch):
    monkeypatch.setattr(push, "_LIMITS", Limits(most=8, per_address=4, handshake_s=0.5))
    async with listening(guarded(pki), house) as port:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        assert (await post(port, tls=client(pki, "server")))[0] == 200  # while they hold on
        closed = [asyncio.wait_for(reader.read(), 10) for reader, _ in idle]
        assert set(await asyncio.gather(*closed)) == {b""}
        for _, writer in idle:
            writer.close()
    async with listening(Door("127.0.0.1", 0), house) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"nonsense\r\n\r\n")
        answered = await asyncio.wait_for(reader.read(), 10)
        assert answered.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
        assert b"server" not in answered.lower()
        writer.close()


async def test_behind_a_proxy_its_secret_counts(house):
    async with listening(Door("127.0.0.1", 0, proxy_secret=SECRET), house) as port:
        for headers in ({}, {"X-Proxy-Secret": ""}, {"X-Proxy-Secret": "another"}):
            assert (await post(port, headers=headers))[0] == 403
        assert (await post(port, headers={"X-Proxy-Secret": SECRET}))[0] == 200
    assert len(house.taken) == 1


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    made = make_pki(tmp_path_factory.mktemp("pki"))
    for name in ("home", "neighbour"):
        made.issue(name)
    made.issue("foreign", kind="foreign")
    return made


def guarded(pki, **vtn):
    home = pki.directory
    identity = SimpleNamespace(
        cert_path=home / "home.pem", key_path=home / "home.key", ca_path=pki.authority.directory / "ca.pem"
    )
    household = SimpleNamespace(vtn=SimpleNamespace(check_hostname=vtn.get("check_hostname", True)))
    listen = Listen(host="127.0.0.1", port=1, address="https://home.example")
    door = door_of(household, listen, identity, vtn.get("url", "https://127.0.0.1:8443/OpenADR2/Simple/2.0b"))
    return Door(door.host, 0, door.tls)


def client(pki, name):
    """Return the context of a client with a certificate; which server it meets is not its matter here."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if name is not None:
        context.load_cert_chain(pki.directory / f"{name}.pem", pki.directory / f"{name}.key")
    return context


async def test_se03_only_the_vtn_is_let_in(house, pki):
    async with listening(guarded(pki), house) as port:
        for name in (None, "neighbour", "home", "foreign"):
            with pytest.raises((aiohttp.ClientError, OSError)):
                await post(port, tls=client(pki, name))
        assert house.taken == []
        assert (await post(port, tls=client(pki, "server")))[0] == 200


async def test_the_vtn_is_the_one_that_is_called_by_that_name(house, pki):
    other = "https://other.example:8443/OpenADR2/Simple/2.0b"
    async with listening(guarded(pki, url=other), house) as port:
        with pytest.raises((aiohttp.ClientError, OSError)):
            await post(port, tls=client(pki, "server"))
    async with listening(guarded(pki, url=other, check_hostname=False), house) as port:
        assert (await post(port, tls=client(pki, "server")))[0] == 200


def test_without_an_identity_it_listens_for_this_machine_only():
    household = SimpleNamespace(vtn=SimpleNamespace(check_hostname=True))
    with pytest.raises(InvalidError, match="identity"):
        door_of(household, Listen(host="0.0.0.0", address="http://home.example"), None, "http://127.0.0.1")  # noqa: S104
    door = door_of(household, Listen(host="127.0.0.1", address="http://127.0.0.1:8446"), None, "http://127.0.0.1")
    assert (door.tls, door.proxy_secret) == (None, None)


async def test_a_port_that_is_taken_is_said(house):
    async with listening(Door("127.0.0.1", 0), house) as port:
        with pytest.raises(UnavailableError, match=str(port)):
            async with listening(Door("127.0.0.1", port), house):
                pass


@pytest.mark.parametrize(
    ("vtn", "text"),
    [
        ({"mode": "push"}, "go together"),
        ({"listen": {"address": "https://home.example"}}, "go together"),
        ({"mode": "push", "listen": {"address": "home.example"}}, "address"),
        ({"mode": "push", "listen": {"address": "https://home.example", "proxy_secret": "short"}}, "proxy_secret"),
        ({"mode": "push", "listen": {"address": "http://home.example"}}, "https"),
        ({"mode": "push", "url": "https://vtn.example", "listen": {"address": "http://home.example"}}, "https"),
        ({"mode": "push", "listen": {"address": "https://home.example", "proxy_secret": SECRET}}, "127.0.0.1"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(vtn, text):
    with pytest.raises(ValueError, match=text):
        Household.model_validate({"version": 1, "name": "home", "vtn": vtn})


async def test_se08_with_signatures_what_is_not_signed_well_is_refused_and_answers_are_signed(house, pki):
    home = pki.directory
    identity = SimpleNamespace(
        directory=home,
        cert_path=home / "home.pem",
        key_path=home / "home.key",
        ca_path=pki.authority.directory / "ca.pem",
    )
    ours = Signatures(identity, "https://127.0.0.1:8443/OpenADR2/Simple/2.0b", required=True)
    vtn, neighbour = (
        Signer((home / f"{name}.key").read_bytes(), (home / f"{name}.pem").read_bytes())
        for name in ("server", "neighbour")
    )

    def signed(signer):
        asked = RequestReregistration("ven-1")
        return encode(asked, sign=lambda body: signer.sign(body, machine_now(), new_nonce()))

    async with listening(Door("127.0.0.1", 0), house, signatures=ours) as port:
        good = signed(vtn)
        for body in (ASKED, signed(neighbour), good.replace(b"ven-1", b"ven-2")):
            assert (await post(port, body))[0] == 403
        status, body, _ = await post(port, good)
        assert status == 200
        certificate = der_of_pem((home / "home.pem").read_bytes())
        read = decode_noting(body, strict=True, verify=lambda it: Verifier().verify(it, lambda der: der == certificate))
        assert read.signature is not None
        assert (await post(port, good))[0] == 403, "it counts once"
    assert len(house.taken) == 1
