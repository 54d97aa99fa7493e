"""The server's own certificates are renewed in time and taken up without a restart."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from certs.authority import Authority
from certs.tls import server_context
from certs.validity import validity_of_file
from core.clock import machine_now
from evenload.demo.processes import free_port
from evenload.server import running
from evenload.server_certificates import ServerCertificates
from evenload.settings import ApiSettings, KeyPair, OpenADRSettings, Settings, load_settings
from evenload.setup import Shape, prepare
from openadr.fingerprint import fingerprint, fingerprint_of_pem


def issue(authority, directory, **more):
    issued = authority.issue_server(["127.0.0.1"], **more)
    pair = KeyPair(cert=directory / "server.pem", key=directory / "server.key")
    pair.cert.write_text(issued.chain_pem)
    pair.key.write_text(issued.key_pem)
    return pair


def settings_of(pair, ca):
    return Settings(api=ApiSettings(certificate=pair), openadr=OpenADRSettings(certificates=(pair,), ca=ca))


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path / "ca", "CA")


async def shown(port, ca, client=None):
    """Return the fingerprint of the certificate that a server shows."""
    context = ssl.create_default_context(cafile=ca)
    if client is not None:
        context.load_cert_chain(*client)
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return fingerprint(der)


def on_disk(pair):
    return fingerprint_of_pem(pair.cert.read_bytes())


@asynccontextmanager
async def listening(context):
    async def talk(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_a_changed_file_is_taken_up_without_a_restart(authority, tmp_path):
    pair, ca = issue(authority, tmp_path), authority.directory / "ca.pem"
    context = server_context(pair.cert, pair.key, pair.cert, require_client=False)
    certificates = ServerCertificates(settings_of(pair, ca), authority)
    certificates.serve(context, pair)
    async with listening(context) as port:
        first = on_disk(pair)
        assert await shown(port, ca) == first
        issue(authority, tmp_path)
        second = on_disk(pair)
        await certificates.check()
        assert await shown(port, ca) == second != first
        pair.key.write_text("half a ")  # what is in use stays in use
        await certificates.check()
        assert await shown(port, ca) == second


async def test_every_listener_takes_it_up(tmp_path, monkeypatch):
    monkeypatch.setattr("evenload.server._SWEEP_S", 0.05)
    ports = {"openadr_port": free_port(), "api_port": free_port(), "console_port": free_port()}
    made = await prepare(tmp_path / "vtn", ("127.0.0.1",), "vtn", Shape("127.0.0.1", **ports))
    text = made.settings.read_text()
    pair = 'certificate = {cert = "server-ec.pem", key = "server-ec.key"}'
    head, console = text.split("[console]")
    made.settings.write_text(f"{head}[console]\n{pair}{console}")
    directory, ca = made.settings.parent, made.settings.parent / "ca" / "ca.pem"
    authority = Authority.load(directory / "ca")
    client = authority.issue_client("x")
    (tmp_path / "c.pem").write_text(client.chain_pem)
    (tmp_path / "c.key").write_text(client.key_pem)
    mine = (tmp_path / "c.pem", tmp_path / "c.key")
    async with running(load_settings(made.settings)):
        before = {await shown(port, ca, mine) for port in ports.values()}
        assert len(before) == 1
        new = authority.renew(before.pop())
        (directory / "server-ec.pem").write_text(new.chain_pem)
        async with asyncio.timeout(30):
            for port in ports.values():
                while await shown(port, ca, mine) != new.record.fingerprint:  # noqa: ASYNC110  the server tells nobody
                    await asyncio.sleep(0.05)


async def test_after_two_thirds_of_its_life_our_authority_renews_it(authority, tmp_path):
    pair, ca = issue(authority, tmp_path, days=90), authority.directory / "ca.pem"
    first, key = on_disk(pair), pair.key.read_text()
    for days, renewed in ((59, False), (61, True)):
        later = machine_now() + timedelta(days=days)
        own = Authority.load(authority.directory, now=lambda later=later: later)
        await ServerCertificates(settings_of(pair, ca), own, lambda later=later: later).renew()
        assert (on_disk(pair) != first) == renewed
    assert pair.key.read_text() == key
    assert pair.cert.stat().st_mode & 0o077 == 0
    assert validity_of_file(pair.cert).end > machine_now() + timedelta(days=140)


async def test_what_our_authority_cannot_renew_stays(authority, tmp_path):
    foreign = Authority.create(tmp_path / "foreign", "Foreign")
    pair, ca = issue(foreign, tmp_path, days=1), authority.directory / "ca.pem"
    before = on_disk(pair)
    later = machine_now() + timedelta(days=300)
    await ServerCertificates(settings_of(pair, ca), authority, lambda: later).renew()
    await ServerCertificates(settings_of(pair, ca), None, lambda: later).renew()
    assert on_disk(pair) == before


async def test_at_the_end_of_the_authority_nothing_is_renewed_for_nothing(tmp_path):
    authority = Authority.create(tmp_path / "ca", "CA", days=10)
    pair, ca = issue(authority, tmp_path, days=365), authority.directory / "ca.pem"
    before = on_disk(pair)
    later = machine_now() + timedelta(days=9)
    await ServerCertificates(settings_of(pair, ca), authority, lambda: later).renew()
    assert on_disk(pair) == before
