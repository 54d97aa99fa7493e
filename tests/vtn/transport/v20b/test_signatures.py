"""XML signatures at the listener: what is ignored, what is answered signed, and that each message counts once."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from core.clock import machine_now
from core.errors import UnavailableError
from openadr.fingerprint import der_of_pem
from openadr.model.registration import SignaturePolicy, VenProfile
from openadr.signature.names import ECDSA_SHA256, RSA_SHA256
from openadr.signature.sign import Signer, new_nonce
from openadr.signature.values import Fault
from openadr.signature.verify import Verifier
from openadr.v20b.decode import decode_noting
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    SERVICES,
    CreatePartyRegistration,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisterReport,
)
from support.vtn_world import Ven
from vtn.services import provisioning, signatures
from vtn.services.signatures import forget_nonces, set_policy
from vtn.transport.v20b.http import Edge
from vtn.transport.v20b.service import Vtn20b
from vtn.transport.v20b.signatures import Signatures, SigningFiles, SigningKeys


@dataclass
class Signing:
    """A VEN that signs, and verifies what it is answered, on a listener that has the server's key."""

    line: object
    signer: Signer
    name: str = "home"

    @property
    def ven(self) -> Ven:
        return getattr(self.line, self.name)

    def signed(self, message, *, after=timedelta(), nonce=None):
        return encode(message, sign=lambda body: self.signer.sign(body, machine_now() + after, nonce or new_nonce()))

    async def send(self, message, body=None, **options):
        """Post a message, signed unless its bytes are given; return status and answer bytes."""
        options = {"certificate": self.name, "service": SERVICES[type(message)]} | options
        status, answer, _ = await self.line.send(self.signed(message) if body is None else body, **options)
        return status, answer

    async def say(self, message, body=None, **options):
        """Return the answer and whether it was signed; it must be good."""
        status, answer = await self.send(message, body, **options)
        assert status == 200, answer
        server = der_of_pem((self.line.pki.directory / "server.pem").read_bytes())
        read = decode_noting(answer, strict=True, verify=lambda it: Verifier().verify(it, lambda der: der == server))
        return read.message, read.signature is not None

    async def policy(self, policy):
        async with self.line.world.tx() as tx:
            await set_policy(tx, self.ven.ven_id, policy, self.line.world.now, who="ann")


def read_signer(pki, name):
    return Signer((pki.directory / f"{name}.key").read_bytes(), (pki.directory / f"{name}.pem").read_bytes())


@pytest.fixture
def home(line, pki):
    keys = SigningKeys([SigningFiles(pki.directory / "server.pem", pki.directory / "server.key")])
    line.world.vtn.signatures = Signatures(line.world.directory, line.world.writer, keys)
    return Signing(line, read_signer(pki, "home"))


async def test_what_is_signed_is_answered_signed_and_what_is_not_is_not(home):
    poll = Poll(home.ven.ven_id)
    for message in (poll, QueryRegistration("q"), RegisterReport("r", (), home.ven.ven_id)):
        answer, signed = await home.say(message)
        assert (answer.response.code, signed) == (200, True)
        answer, signed = await home.say(message, encode(message))
        assert (answer.response.code, signed) == (200, False)
    first, second = (await home.send(poll))[1], (await home.send(poll))[1]
    assert first != second, "a signed answer is made anew"
    assert (await home.send(poll, encode(poll)))[1] == (await home.send(poll, encode(poll)))[1]


async def test_se08_a_bad_signature_is_ignored(home):
    good = home.signed(Poll(home.ven.ven_id))
    await home.line.refuses(
        403, good.replace(home.ven.ven_id.encode(), home.line.other.ven_id.encode()), note="tampered"
    )
    other = replace(home, signer=read_signer(home.line.pki, "other"))
    await home.line.refuses(403, other.signed(Poll(home.ven.ven_id)), note="another VEN's certificate")
    stranger = replace(home, signer=read_signer(home.line.pki, "stranger"))
    await home.line.refuses(403, stranger.signed(Poll(home.ven.ven_id)), note="nobody's certificate")
    for after in (timedelta(seconds=70), timedelta(seconds=-70), timedelta(days=365)):
        await home.line.refuses(403, home.signed(Poll(home.ven.ven_id), after=after), note=f"{after}")
    await home.line.world.faults.flush()
    kinds = {row.subject for row in await home.line.world.rows("ven_fault")}
    assert kinds == {f"oadrPoll signature {fault}" for fault in ("digest", "certificate", "time")}


async def test_se08_where_signatures_are_required_others_are_ignored(home):
    await home.policy(SignaturePolicy.REQUIRED)
    poll = Poll(home.ven.ven_id)
    for message in (poll, QueryRegistration("q"), CreatePartyRegistration("c", VenProfile())):
        before = await home.line.world.dump()
        with capture_logs() as logs:
            status, answer = await home.send(message, encode(message))
        assert (status, answer) == (403, b"XML signature: this VEN must sign its messages.\n")
        assert [each["event"] for each in logs] == ["message ignored"]
        assert await home.line.world.dump() == before
    assert (await home.say(poll))[1]
    assert (await home.line.say(Poll(home.line.other.ven_id), certificate="other")).response.code == 200


async def test_signatures_that_are_off_do_not_count(home):
    await home.policy(SignaturePolicy.OFF)
    poll = Poll(home.ven.ven_id)
    answer, signed = await home.say(poll, home.signed(poll, after=timedelta(days=1)))
    assert (answer.response.code, signed) == (200, False)
    assert (await home.say(CreatePartyRegistration("c", VenProfile(xml_signature=True))))[0].response.code == 459


@pytest.mark.parametrize("idle", [True, False])
async def test_se10_a_message_counts_once(home, idle):
    message = Poll(home.ven.ven_id) if idle else RegisterReport("r", (), home.ven.ven_id)
    body = home.signed(message)
    assert (await home.send(message, body))[0] == 200
    before = await home.line.world.dump()
    status, answer = await home.send(message, body)
    assert (status, answer) == (403, b"XML signature: this message was sent before.\n")
    assert await home.line.world.dump() == before
    assert len(await home.line.world.rows("used_nonce")) == (0 if idle else 1), "an empty poll writes nothing"


async def test_se10_other_processes_know_what_was_used(home):
    message = RegisterReport("r", (), home.ven.ven_id)
    body = home.signed(message)
    assert (await home.send(message, body))[0] == 200
    world = home.line.world
    world.vtn.signatures = Signatures(world.directory, world.writer)  # as another process, or this one restarted
    assert (await home.send(message, body))[0] == 403
    (row,) = await world.rows("used_nonce")
    async with world.tx() as tx:
        await forget_nonces(tx, row.expires_at)
    assert len(await world.rows("used_nonce")) == 1
    async with world.tx() as tx:
        await forget_nonces(tx, row.expires_at + timedelta(seconds=1))
    assert await world.rows("used_nonce") == []


async def test_nonces_of_one_batch(world):
    nonces = ["a" * 32, "a" * 32, "b" * 32]
    using = [world.writer.submit_to(signatures.use_nonces, nonce, machine_now()) for nonce in nonces]
    first, again, other = await asyncio.gather(*using, return_exceptions=True)
    assert (first, other) == (None, None)
    assert again.fault is Fault.REPLAYED


async def test_a_ven_that_asks_for_signatures_gets_them(home):
    answer, signed = await home.say(CreatePartyRegistration("c", VenProfile(xml_signature=True)))
    assert (answer.response.code, signed) == (200, True)
    poll = Poll(home.ven.ven_id)
    _, signed = await home.say(poll, encode(poll))
    assert signed, "it would ignore an unsigned answer"
    assert (await home.say(poll, encode(replace(poll, ven_id=home.line.other.ven_id))))[1], "a refusal, too"
    assert await home.say(
        CreatePartyRegistration("c", VenProfile()), encode(CreatePartyRegistration("d", VenProfile()))
    )
    assert not (await home.say(poll, encode(poll)))[1]


async def test_a_vtn_without_key_refuses_who_asks_for_signatures(line):
    answer = await line.say(CreatePartyRegistration("c", VenProfile(xml_signature=True)))
    assert answer.response.code == 459


async def test_a_vtn_without_key_answers_a_signed_message_unsigned(home):
    world = home.line.world
    world.vtn.signatures = Signatures(world.directory, world.writer)
    answer, signed = await home.say(Poll(home.ven.ven_id))
    assert (answer.response.code, signed) == (200, False)


async def test_a_large_message_is_verified_too(home):
    message = OadrResponse((await home.line.say(Poll(home.ven.ven_id))).response, home.ven.ven_id)
    body = home.signed(message).replace(b"</oadr:oadrPayload>", b" " * 70_000 + b"</oadr:oadrPayload>")
    assert (await home.send(message, body.replace(b">OK<", b">KO<")))[0] == 403
    assert (await home.send(message, body))[0] == 200, "white space between elements is nobody's"


async def test_behind_a_proxy_the_vens_certificate_counts(world, pki, line_at):
    edge = Edge(proxy_header="X-Client", proxy_secret="the secret of a proxy")
    async with line_at(edge, tls=False) as line:
        home = Signing(line, read_signer(pki, "home"))
        headers = {"Content-Type": "application/xml", "X-Proxy-Secret": "the secret of a proxy"}
        headers["X-Client"] = home.ven.peer.fingerprint
        poll = Poll(home.ven.ven_id)
        assert (await home.send(poll, headers=headers))[0] == 200
        other = replace(home, signer=read_signer(pki, "other"))
        assert (await other.send(poll, headers=headers))[0] == 403


async def test_without_tls_the_vens_certificate_counts(line_at, pki):
    async with line_at(Edge(insecure=True), tls=False) as line:
        home = Signing(line, read_signer(pki, "home"))
        assert (await home.send(Poll(home.ven.ven_id)))[0] == 200
        assert (await home.send(Poll(line.other.ven_id)))[0] == 403


@pytest.fixture
def eager(monkeypatch):
    """Have it looked each time whether a key's file has changed."""
    monkeypatch.setattr("vtn.transport.v20b.signatures._LOOK_S", -1.0)


async def test_the_key_is_of_the_kind_that_the_ven_has(tmp_path, pki, eager):
    server = pki.authority.issue_server(["127.0.0.1"], key_type="rsa")
    (tmp_path / "rsa.pem").write_text(server.chain_pem)
    (tmp_path / "rsa.key").write_text(server.key_pem)
    ec = SigningFiles(pki.directory / "server.pem", pki.directory / "server.key")
    keys = SigningKeys([ec, SigningFiles(tmp_path / "rsa.pem", tmp_path / "rsa.key")])
    assert keys.like(RSA_SHA256).algorithm == RSA_SHA256
    assert {keys.like(method).algorithm for method in (ECDSA_SHA256, None)} == {ECDSA_SHA256}
    before = keys.like(None)
    assert keys.like(None) is before, "read once"
    (tmp_path / "rsa.pem").write_text("half of it")
    assert keys.like(RSA_SHA256).algorithm == RSA_SHA256


async def test_a_renewed_key_is_taken_up(tmp_path, pki, eager):
    pair = SigningFiles(tmp_path / "it.pem", tmp_path / "it.key")
    seen = set()
    keys = SigningKeys([pair])
    with pytest.raises(UnavailableError, match="cannot be read"):
        keys.like(None)
    for _ in range(2):
        issued = pki.authority.issue_server(["127.0.0.1"])
        pair.cert.write_text(issued.chain_pem)
        pair.key.write_text(issued.key_pem)
        seen.add(keys.like(None).certificate)
    assert len(seen) == 2


def test_the_default_has_no_key(world):
    vtn = Vtn20b(world.writer, world.directory, world.settings, world.clock, world.faults)
    assert not vtn.signatures.can_sign


async def test_what_is_known_of_polls_does_not_make_them_good(home, monkeypatch):
    """The first one is read, the next ones are recognised: that must not be told from outside."""
    poll = Poll(home.ven.ven_id)
    for _ in range(3):
        assert (await home.say(poll))[1]
    parsed = []
    monkeypatch.setattr("vtn.transport.v20b.http.decode_noting", lambda *_, **__: parsed.append(1))
    body = home.signed(poll)
    assert (await home.say(poll, body))[1]
    assert (await home.send(poll, body))[0] == 403, "again"
    assert (await home.send(poll, home.signed(poll, after=timedelta(seconds=90))))[0] == 403, "of later"
    fresh, other = home.signed(poll), home.signed(poll, after=timedelta(seconds=3))
    stamp = other.partition(b"timestamp>")[2].partition(b"<")[0]
    mixed = fresh.replace(fresh.partition(b"timestamp>")[2].partition(b"<")[0], stamp)
    assert (await home.send(poll, mixed))[0] == 403, "changed"
    assert parsed == []
    async with home.line.world.tx() as tx:
        await provisioning.revoke_certificate(tx, home.ven.peer.fingerprint, home.line.world.now, who="ann")
    status, answer = await home.send(poll)
    assert (status, b"463" in answer) == (200, True)
