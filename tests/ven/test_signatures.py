"""XML signatures on the gateway: what it ignores, and what the household file says."""

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from certs.authority import Authority
from certs.provisioning import Identity, new_key_and_request, store_bundle
from core.clock import machine_now
from core.errors import InvalidError
from openadr.fingerprint import fingerprint_of_pem
from openadr.signature.sign import Signer, new_nonce
from openadr.v20b.decode import decode, parse
from openadr.v20b.encode import encode
from openadr.v20b.messages import OadrResponse, Poll, Response
from ven.engine import Failure
from ven.household import Household, SignatureUse
from ven.transport.pull import PullTransport, TransportError
from ven.transport.signatures import Signatures
from ven.vtn_session import read_peer, settings

URL = "https://vtn.example/OpenADR2/Simple/2.0b"
ANSWER = OadrResponse(Response(), "v")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority.create(tmp_path_factory.mktemp("ven-signatures") / "ca", "CA")


@pytest.fixture(scope="module")
def identity(authority, tmp_path_factory):
    place = tmp_path_factory.mktemp("ven-signatures") / "identity"
    certificate = authority.sign_request(new_key_and_request(place, "home"), "ven-1").chain_pem
    names = {"ven_id": "ven-1", "ven_name": "home", "vtn_id": "vtn", "vtn_url": URL}
    names |= {
        "certificate": certificate,
        "ca": authority.ca_pem,
        "fingerprint": fingerprint_of_pem(certificate.encode()),
    }
    return store_bundle(place, names)


@pytest.fixture(scope="module")
def vtn(authority):
    issued = authority.issue_server(["vtn.example"])
    return Signer(issued.key_pem.encode(), issued.chain_pem.encode())


def signed(signer, after=timedelta()):
    return encode(ANSWER, sign=lambda body: signer.sign(body, machine_now() + after, new_nonce()))


@pytest.fixture
async def line(identity):
    """Yield a maker: what a server answers with (body, status) -> a transport with signatures; and what it was sent."""
    ends, seen = [], []

    async def make(body, status=200, *, required=True):
        async def handle(request):
            seen.append(await request.read())
            return web.Response(body=body, status=status)

        runner = web.ServerRunner(web.Server(handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        signatures = Signatures(identity, URL, required=required)
        transport = PullTransport(f"http://127.0.0.1:{runner.addresses[0][1]}", None, signatures=signatures)
        ends.append((runner, transport))
        return transport, seen

    yield make
    for runner, transport in ends:
        await transport.__aexit__(None, None, None)
        await runner.cleanup()


async def test_what_we_say_is_signed_and_a_signed_answer_is_taken(line, vtn, identity):
    transport, seen = await line(signed(vtn))
    assert await transport.post(Poll("v")) == ANSWER
    assert decode(seen[0]) == Poll("v")
    assert parse(seen[0])[0].tag.endswith("}Signature")
    with pytest.raises(TransportError, match="sent before") as caught:
        await transport.post(Poll("v"))
    assert caught.value.failure is Failure.UNREACHABLE
    assert seen[0] != seen[1]


@pytest.mark.parametrize("body", [encode(ANSWER), b"", b" \n"], ids=["unsigned", "empty", "blank"])
async def test_an_answer_without_signature_counts_only_where_it_may(line, body):
    transport, _ = await line(body)
    with pytest.raises(TransportError, match="the VTN must sign") as caught:
        await transport.post(Poll("v"))
    assert (caught.value.failure, caught.value.code) == (Failure.UNREACHABLE, "signature")
    offered, _ = await line(body, required=False)
    assert await offered.post(Poll("v")) == (ANSWER if body.strip() else None)


@pytest.mark.parametrize("required", [True, False])
async def test_a_bad_signature_is_ignored(line, vtn, authority, required):
    client = authority.issue_client("ven-2")
    elsewhere = authority.issue_server(["other.example"])
    bodies = [
        signed(vtn).replace(b">v<", b">w<"),
        signed(vtn, timedelta(seconds=70)),
        signed(vtn, timedelta(seconds=-70)),
        *(signed(Signer(one.key_pem.encode(), one.chain_pem.encode())) for one in (client, elsewhere)),
    ]
    for body in bodies:
        transport, _ = await line(body, required=required)
        with pytest.raises(TransportError, match="its answer is ignored"):
            await transport.post(Poll("v"))


async def test_a_message_that_the_vtn_ignores_is_signed_anew_later(line):
    transport, _ = await line(b"XML signature: its time differs.", 403)
    with pytest.raises(TransportError, match="its time differs") as caught:
        await transport.post(Poll("v"))
    assert caught.value.failure is Failure.UNREACHABLE


def household(identity, tmp_path, **vtn):
    return Household.model_validate(
        {"version": 1, "name": "home", "identity": identity.directory, "state": tmp_path, "vtn": vtn}
    )


def test_the_household_file_decides(identity, tmp_path):
    for word, asks in (("required", True), ("offered", True), ("off", False)):
        home = household(identity, tmp_path, signatures=word)
        peer = read_peer(home)
        assert (peer.signatures is not None) is asks
        assert settings(home, peer).xml_signature is asks
    assert household(identity, tmp_path).vtn.signatures is SignatureUse.OFF


def test_signatures_need_an_identity(identity, tmp_path):
    home = household(identity, tmp_path, signatures="offered", url="http://127.0.0.1:1/x")
    with pytest.raises(InvalidError, match=r"vtn\.signatures needs an identity"):
        read_peer(home)
    gone = replace(Identity.load(identity.directory), directory=tmp_path / "gone")
    with pytest.raises(InvalidError, match="cannot be read"):
        Signatures(gone, URL, required=True)
