"""A whole VTN process: listeners, certificates, revocation, metrics, and how it starts and stops."""

import asyncio
import json
import os
import signal
import sqlite3
import ssl
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest.mock import ANY

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy import select, update
from structlog.testing import capture_logs
from yarl import URL

from certs.authority import Authority
from certs.keys import new_key, new_request
from certs.provisioning import Identity
from certs.tls import client_context, server_context
from core.errors import ConflictError, EvenloadError, ForbiddenError, InvalidError
from evenload.cli import _run
from evenload.client import OperatorClient
from evenload.demo.processes import free_port
from evenload.server import _warn_of_open_keys, running
from evenload.settings import load_settings
from evenload.setup import Shape, prepare
from openadr.fingerprint import der_of_pem
from openadr.model.registration import VenProfile
from openadr.v20b.decode import decode, decode_noting
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreatePartyRegistration, Poll, RegisteredReport, RegisterReport, Response
from support.older_ven import NAMES, OlderVen
from ven.engine import Failure
from ven.enrol import enrol
from ven.gateway import Gateway
from ven.household import Household
from ven.renewal import renew
from ven.status import as_lines, read_status
from ven.transport.pull import PullTransport, TransportError
from ven.transport.signatures import Signatures
from vtn.services import outbox, provisioning
from vtn.services.outbox import Intent
from vtn.store.database import Database
from vtn.store.tables import outbox as outbox_table
from vtn.store.tables import ven as ven_table
from vtn.store.tables import ven_certificate

DEADLINE_S = 30.0


async def _until(question):
    """Ask until the answer is true."""
    async with asyncio.timeout(DEADLINE_S):
        while not await question():  # noqa: ASYNC110  the question goes to another process or thread
            await asyncio.sleep(0.02)


class Place:
    """A VTN that runs in this process, an administrator at its desk, and gateways."""

    def __init__(self, vtn, desk, directory, gateways):
        self.vtn = vtn
        self.desk = desk
        self.directory = directory
        self.ca = directory / "ca" / "ca.pem"
        self._gateways = gateways

    async def enrol(self, name, ven_id=None):
        """Return (venID, identity) of a gateway that redeems a code; the VEN is new unless it is named."""
        made = await self.desk.post(f"/vens/{ven_id}/enrolment-codes" if ven_id else "/vens", _named(name, ven_id))
        place = self._gateways / name
        identity = await asyncio.to_thread(enrol, made["code"], f"{self.vtn.api_url}/v1", self.ca, place, name)
        return identity.ven_id, identity

    async def say(self, identity, message):
        """Send a message over a connection of its own; return the answer."""
        async with PullTransport(self.vtn.openadr_url, client_context(identity)) as line:
            return await line.post(message)

    async def text(self, path, headers=None):
        context = ssl.create_default_context(cafile=self.ca)
        url = f"{self.vtn.api_url}{path}"
        async with aiohttp.ClientSession() as session, session.get(url, headers=headers, ssl=context) as answer:
            return answer.status, await answer.text()


def _named(name, ven_id):
    return None if ven_id else {"name": name}


@asynccontextmanager
async def _place(tmp_path, change=lambda text: text):
    ports = free_port(), free_port()
    made = await prepare(tmp_path / "vtn", ("127.0.0.1",), "evenload", Shape("127.0.0.1", *ports))
    made.settings.write_text(change(made.settings.read_text()))
    directory = made.settings.parent
    async with AsyncExitStack() as stack:
        vtn = await stack.enter_async_context(running(load_settings(made.settings)))
        client = OperatorClient(f"{vtn.api_url}/v1", made.token, ca=directory / "ca" / "ca.pem")
        desk = await stack.enter_async_context(client)
        place = Place(vtn, desk, directory, tmp_path)
        place.token = made.token
        yield place


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    """Have the periodic work done often, so that no test waits for it."""
    for name in ("_SWEEP_S", "_GAUGE_S", "_FLUSH_S", "_PUSH_S"):
        monkeypatch.setattr(f"evenload.server.{name}", 0.1)


async def test_old_and_new_certificate_work_until_the_old_one_is_revoked(tmp_path):
    async with _place(tmp_path) as place:
        ven_id, old = await place.enrol("old")
        assert (await place.say(old, CreatePartyRegistration("r", VenProfile()))).response.ok
        same, new = await place.enrol("new", ven_id)
        assert same == ven_id
        profile = VenProfile()
        for identity in (old, new):
            assert (await place.say(identity, CreatePartyRegistration("r", profile, ven_id=ven_id))).ven_id == ven_id
        await place.desk.post(f"/certificates/{old.fingerprint}/revocation")
        assert (await place.say(old, Poll(ven_id))).response.code == 463
        assert (await place.say(new, CreatePartyRegistration("r", profile, ven_id=ven_id))).ven_id == ven_id


async def test_a_gateway_renews_its_certificate_by_itself_over_the_connection_of_the_old_one(tmp_path):
    async with _place(tmp_path) as place:
        ven_id, old = await place.enrol("home")
        home = SimpleNamespace(identity=old.directory, vtn=SimpleNamespace(url=None, check_hostname=True))
        with pytest.raises(ForbiddenError, match="can be renewed from"):  # its life has just begun
            await asyncio.to_thread(renew, home, old)
        assert Identity.load(old.directory) == old
        async with place.vtn.db.write() as tx:
            long_ago = datetime.now(UTC) - timedelta(days=1000)
            await tx.conn.execute(update(ven_certificate).values(not_before=long_ago))
        new = await asyncio.to_thread(renew, home, old)
        assert new.ven_id == ven_id
        assert new.fingerprint != old.fingerprint
        for identity in (replace(old, directory=old.directory.with_name("home.old")), new):
            registered = await place.say(identity, CreatePartyRegistration("r", VenProfile()))
            assert registered.response.code == 200, "both are valid meanwhile"
        async with place.vtn.db.write() as tx:
            await provisioning.revoke_certificate(tx, new.fingerprint, datetime.now(UTC), who="test")
        with pytest.raises(ForbiddenError, match="speaks for no VEN"):
            await asyncio.to_thread(renew, home, new)


async def test_a_certificate_is_renewed_only_so_often(tmp_path):
    async with _place(tmp_path) as place:
        _, old = await place.enrol("home")
        authority = Authority.load(place.directory / "ca")
        async with place.vtn.db.write() as tx:
            values = {"not_before": datetime.now(UTC) - timedelta(days=1000)}
            await tx.conn.execute(update(ven_certificate).values(values))
        csr = new_request(new_key("ec"), "home")
        for _ in range(5):
            async with place.vtn.db.write() as tx:
                later = datetime.now(UTC)
                await provisioning.renew(tx, old.fingerprint, csr, authority, later)
                await tx.conn.execute(
                    update(ven_certificate)
                    .where(ven_certificate.c.fingerprint != old.fingerprint)
                    .values(not_after=later + timedelta(days=3650))
                )
        async with place.vtn.db.write() as tx:
            with pytest.raises(ConflictError, match="several times"):
                await provisioning.renew(tx, old.fingerprint, csr, authority, datetime.now(UTC))


async def test_what_is_no_renewal_is_refused(tmp_path):
    async with _place(tmp_path) as place:
        _, old = await place.enrol("home")
        address = place.vtn.openadr_url.removesuffix("/OpenADR2/Simple/2.0b") + "/evenload/renewal"
        async with aiohttp.ClientSession() as session:
            for body in (b"", b"x", b"[]", b'{"csr": 7}', b"[" * 20_000, b" " * 40_000, b'{"csr": "x"}'):
                async with session.post(address, data=body, ssl=client_context(old)) as answer:
                    assert answer.status in {409, 422}, body[:20]
            async with session.get(address, ssl=client_context(old)) as answer:
                assert answer.status == 404


async def test_what_certs_revoke_did_is_carried_over(tmp_path):
    async with _place(tmp_path) as place:
        ven_id, identity = await place.enrol("home")
        await place.say(identity, CreatePartyRegistration("r", VenProfile()))
        Authority.load(place.directory / "ca").revoke(identity.fingerprint, "keyCompromise")

        async def is_revoked():
            (one,) = (await place.desk.get(f"/vens/{ven_id}"))["certificates"]
            return one["revoked_at"] is not None

        await _until(is_revoked)
        assert (await place.say(identity, Poll(ven_id))).response.code == 463
        newest = (await place.desk.get("/audit"))["items"][0]
        assert (newest["who"], newest["action"]) == ("certificate authority", "revoke certificate")


async def test_with_a_revocation_list_tls_itself_refuses(tmp_path):
    def with_list(text):
        return text.replace('ca = "ca/ca.pem"', 'ca = "ca/ca.pem"\ncrl = "ca/crl.pem"')

    async with _place(tmp_path, with_list) as place:
        ven_id, revoked = await place.enrol("revoked")
        await place.say(revoked, CreatePartyRegistration("r", VenProfile()))
        _, other = await place.enrol("other")
        assert (await place.say(other, CreatePartyRegistration("r", VenProfile()))).response.ok
        await asyncio.sleep(1.1)  # a list counts as newer from one second on
        await place.desk.post(f"/certificates/{revoked.fingerprint}/revocation")

        async def is_refused():
            try:
                answer = await place.say(revoked, Poll(ven_id))
            except (EvenloadError, TransportError):
                return True
            assert answer.response.code == 463, "the VTN itself refuses from the first message on"
            return False

        await _until(is_refused)
        assert (await place.say(other, CreatePartyRegistration("r", VenProfile()))).response.ok


async def test_metrics_cover_both_listeners_and_the_store(tmp_path):
    async with _place(tmp_path) as place:
        _, identity = await place.enrol("home")
        await place.desk.post("/vens", {"name": "another"})
        await place.say(identity, CreatePartyRegistration("r", VenProfile()))

        async def figures():
            status, text = await place.text("/metrics", {"Authorization": f"Bearer {place.token}"})
            assert status == 200
            return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

        async def are_fresh():
            return (await figures())["evenload_vens_online"] == "1.0"

        await _until(are_fresh)
        found = await figures()
        assert found['evenload_openadr_messages_total{status="200",type="CreatePartyRegistration"}'] == "1.0"
        assert found['evenload_http_requests_total{operation="redeem_code",status="201"}'] == "1.0"
        assert found['evenload_outbox_rows{state="pending"}'] == "1.0"
        assert found['evenload_outbox_rows{state="dead"}'] == "0.0"
        assert (found["evenload_vens"], found["evenload_vens_registered"]) == ("2.0", "1.0")
        assert 'evenload_certificate_expiry_timestamp_seconds{certificate="authority ca.pem"}' in found
        assert (await place.text("/metrics"))[0] == 401
        status, text = await place.text("/health")
        assert (status, json.loads(text)["ready"]) == (200, ["store"])


async def test_gateways_and_people_are_told_addresses_that_work(tmp_path):
    def everywhere(text):
        url = "https://vtn.example.com/OpenADR2/Simple/2.0b"
        text = text.replace('host = "127.0.0.1"', 'host = "0.0.0.0"')
        return "".join(f'url = "{url}/"\n' if line.startswith("url") else line + "\n" for line in text.splitlines())

    async with _place(tmp_path, everywhere) as place:
        assert place.vtn.api_url.startswith("https://localhost:")
        assert place.vtn.openadr_url == "https://vtn.example.com/OpenADR2/Simple/2.0b"
        assert (await place.desk.get("/status"))["openadr_url"] == place.vtn.openadr_url


async def test_behind_a_proxy_its_header_names_the_certificate(tmp_path):
    proxied = 'proxy_header = "X-Client-Fingerprint"\nproxy_secret = "0123456789abcdef"\n'

    def behind(text):
        return text.replace('ca = "ca/ca.pem"\n', f'ca = "ca/ca.pem"\n{proxied}')

    async with _place(tmp_path, behind) as place:
        _, identity = await place.enrol("home")
        url = place.vtn.openadr_url.replace("https:", "http:")
        message = CreatePartyRegistration("r", VenProfile())
        named = {"X-Client-Fingerprint": identity.fingerprint, "X-Proxy-Secret": "0123456789abcdef"}
        assert (await _ask(url, message, "EiRegisterParty", named)).response.ok
        for lie in ({"X-Proxy-Secret": "fedcba9876543210"}, {"X-Client-Fingerprint": "?"}):
            with pytest.raises(aiohttp.ClientResponseError, match="403"):
                await _ask(url, message, "EiRegisterParty", named | lie)


async def test_a_stop_lets_periodic_work_end(tmp_path, monkeypatch):
    """A statement cancelled in SQLite's thread leaves a task that no loop can end: the process would never stop."""
    for name in ("_SWEEP_S", "_GAUGE_S", "_FLUSH_S", "_RESYNC_S"):
        monkeypatch.setattr(f"evenload.server.{name}", 0.01)
    made = await prepare(tmp_path / "vtn", ("127.0.0.1",), "stopping", Shape("127.0.0.1", 0, 0))
    for turn in range(8):
        async with running(load_settings(made.settings)):
            await asyncio.sleep(0.05 + turn / 100)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert left == []


async def test_a_key_that_others_can_read_is_named_at_start(tmp_path):
    await prepare(tmp_path / "vtn", ("127.0.0.1",), "evenload", Shape("127.0.0.1", 0, 0))
    settings = load_settings(tmp_path / "vtn" / "vtn.toml")
    key = tmp_path / "vtn" / "ca" / "ca-key.pem"
    authority = Authority.load(tmp_path / "vtn" / "ca")
    for mode, count in ((0o600, 0), (0o640, 1), (0o604, 1)):
        key.chmod(mode)
        with capture_logs() as logs:
            _warn_of_open_keys(settings, authority)
        assert [(one["path"], one["next"]) for one in logs] == [(str(key), f"chmod 600 {key}")] * count


async def test_a_taken_port_is_named(tmp_path):
    async with _place(tmp_path) as place:
        with pytest.raises(InvalidError, match=r"Cannot listen on 127\.0\.0\.1:\d+: the port is taken"):
            async with running(load_settings(place.directory / "vtn.toml")):
                pass
        assert await place.desk.get("/vens", {"limit": 1}) is not None


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('ca = "ca/ca.pem"', 'ca = "nothing.pem"', r"nothing\.pem"),
        ('cert = "server-ec.pem", key = "server-ec.key"', 'cert = "x.pem", key = "x.key"', r"x\.pem"),
        (
            'cert = "server-ec.pem", key = "server-ec.key"',
            'cert = "server-ec.pem", key = "server-rsa.key"',
            "belong together",
        ),
        ('authority = "ca"', 'authority = "elsewhere"', "elsewhere"),
        ('"sqlite:///vtn.db"', '"sqlite:///vtn.toml"', "no SQLite database"),
        ('ca = "ca/ca.pem"', 'ca = "ca/ca.pem"\ncrl = "none.pem"', r"none\.pem"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named(tmp_path, old, new, word):
    with pytest.raises(EvenloadError, match=word):
        async with _place(tmp_path, lambda text: text.replace(old, new)):
            pass


PLAIN = """\
database = "{database}"
reuse_port = {shared}
[openadr]
insecure = true
port = {openadr}
[api]
port = {api}
"""


class Process:
    """A VTN in a process of its own, without TLS."""

    def __init__(self, process, urls, log):
        self.process = process
        self.urls = urls
        self.log = log

    async def end(self, number=signal.SIGTERM):
        if self.process.returncode is None:
            self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), DEADLINE_S)


@asynccontextmanager
async def _process(config):
    log = config.with_suffix(f".{os.urandom(3).hex()}.log")
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "evenload", "vtn", "--config", str(config), "--json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=sink,
        )
    line = await asyncio.wait_for(process.stdout.readline(), DEADLINE_S)
    assert line, log.read_text()
    one = Process(process, json.loads(line), log)
    try:
        yield one
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _config(tmp_path, database="sqlite:///vtn.db", *, shared=False, ports=(0, 0)):
    path = tmp_path / "vtn.toml"
    openadr, api = ports
    path.write_text(PLAIN.format(database=database, shared=str(shared).lower(), openadr=openadr, api=api))
    return path


async def _new_ven(config):
    db = await Database.open(load_settings(config).database)
    async with db.write() as tx:
        ven_id = await provisioning.create_ven(tx, "home", datetime.now(UTC), who="test")
    await db.close()
    return ven_id


async def _last_seen(config):
    db = await Database.open(load_settings(config).database)
    async with db.read() as conn:
        seen = (await conn.execute(select(ven_table.c.last_seen_at))).scalar_one()
    await db.close()
    return seen


async def _ask(url, message, service, more=None):
    headers = {"Content-Type": "application/xml"} | (more or {})
    body = encode(message)
    async with aiohttp.ClientSession() as session, session.post(f"{url}/{service}", data=body, headers=headers) as got:
        got.raise_for_status()
        return decode(await got.read(), strict=True)


async def test_a_stop_finishes_the_answer_on_its_way(tmp_path):
    config = _config(tmp_path)
    ven_id = await _new_ven(config)
    async with _process(config) as vtn:
        url = vtn.urls["openadr"]
        registered = await _ask(url, CreatePartyRegistration("r", VenProfile(), ven_id=ven_id), "EiRegisterParty")
        assert registered.response.ok
        lock = sqlite3.connect(tmp_path / "vtn.db", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        before = datetime.now(UTC)
        reader, writer = await asyncio.open_connection("127.0.0.1", URL(url).port)
        body = encode(CreatePartyRegistration("r", VenProfile(), ven_id=ven_id))
        head = f"POST {URL(url).path}/EiRegisterParty HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        writer.write(f"{head}Content-Type: application/xml\r\n\r\n".encode() + body)
        await writer.drain()
        async with aiohttp.ClientSession() as session, session.get(f"{vtn.urls['api']}/health") as health:
            assert health.status == 200, "whoever answers this has read the message that came before"
        vtn.process.send_signal(signal.SIGTERM)
        await _until(lambda: _is_closed(URL(url).port))
        lock.execute("ROLLBACK")
        lock.close()
        answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert decode(answer.partition(b"\r\n\r\n")[2], strict=True).response.ok
        assert await vtn.end() == 0
        log = vtn.log.read_text()
        assert "Traceback" not in log
        assert '"stopping' in log
        assert all(json.loads(line) for line in log.splitlines())
    assert await _last_seen(config) >= before, "who was seen last is written at the end"


async def _is_closed(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return True
    writer.close()
    return False


async def test_a_taken_port_is_exit_code_1_and_one_line(tmp_path):
    async with _process(_config(tmp_path)) as vtn:
        port = vtn.urls["api"].rpartition(":")[2]
        second = _config(tmp_path, ports=(0, port))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "evenload", "vtn", "--config", str(second)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, complaint = await asyncio.wait_for(process.communicate(), DEADLINE_S)
        assert process.returncode == 1
        assert out == b""
        assert complaint.decode() == (
            f"evenload: Cannot listen on 127.0.0.1:{port}: the port is taken, by another VTN perhaps.\n"
        )
        assert await vtn.end(signal.SIGINT) == 0, "Ctrl-C ends it as SIGTERM does"


async def test_several_processes_share_ports_and_one_postgresql(tmp_path, postgresql_url):
    config = _config(tmp_path, postgresql_url, shared=True, ports=(free_port(), free_port()))
    ven_id = await _new_ven(config)
    async with _process(config) as first, _process(config) as second:
        assert first.urls == second.urls
        url = first.urls["openadr"]
        assert (
            await _ask(url, CreatePartyRegistration("r", VenProfile(), ven_id=ven_id), "EiRegisterParty")
        ).response.ok
        assert await first.end() == 0
        await _ask(url, Poll(ven_id), "OadrPoll")
        assert await second.end() == 0


def test_it_runs_on_uvloop():
    used = []

    async def work():
        used.append(type(asyncio.get_running_loop()).__module__)

    _run(work())
    assert used == ["uvloop"]


@pytest.mark.parametrize("key_type", ["ec", "rsa"])
async def test_a_gateway_and_a_vtn_that_sign_what_they_say(tmp_path, key_type):
    async with _place(tmp_path) as place:
        ven_id, identity = await place.enrol("home")
        if key_type == "rsa":  # its own certificate, while the server's is an EC one
            issued = Authority.load(place.directory / "ca").issue_client(ven_id, key_type="rsa")
            await place.desk.post(f"/vens/{ven_id}/certificates", {"pem": issued.chain_pem})
            identity.key_path.write_text(issued.key_pem)
            identity.cert_path.write_text(issued.chain_pem)
        url = place.vtn.openadr_url
        await place.desk.put(f"/vens/{ven_id}/signatures", {"policy": "required"})
        with pytest.raises(TransportError, match="this VEN must sign"):
            await place.say(identity, Poll(ven_id))
        signatures = Signatures(identity, url, required=True)
        async with PullTransport(url, client_context(identity), signatures=signatures) as line:
            registered = await line.post(CreatePartyRegistration("r", VenProfile(xml_signature=True)))
            assert (registered.response.code, registered.ven_id) == (200, ven_id)
            assert await line.post(Poll(ven_id)) == RegisterReport(ANY, (), ven_id)
            for _ in range(3):
                assert (await line.post(Poll(ven_id))).response.code == 200
            assert (await place.desk.get(f"/vens/{ven_id}"))["ven"]["xml_signature"]
            await place.desk.put(f"/vens/{ven_id}/signatures", {"policy": "off"})
            with pytest.raises(TransportError, match="the VTN must sign") as caught:
                await line.post(Poll(ven_id))
            assert caught.value.failure is Failure.UNREACHABLE, "nothing that waits may be given up for that"


async def test_the_vtn_signs_with_keys_of_their_own(tmp_path):
    def change(text):
        return text.replace("[openadr]", '[openadr]\nsigning = [{ cert = "signing.pem", key = "signing.key" }]\n', 1)

    with pytest.raises(InvalidError, match=r"signing\.pem cannot be read"):
        async with _place(tmp_path, change):
            pass
    directory = tmp_path / "vtn"
    issued = Authority.load(directory / "ca").issue_server(["127.0.0.1"], key_type="rsa")
    (directory / "signing.pem").write_text(issued.chain_pem)
    (directory / "signing.key").write_text(issued.key_pem)
    async with running(load_settings(directory / "vtn.toml")) as vtn:
        async with vtn.db.write() as tx:
            ven_id = await provisioning.create_ven(tx, "home", datetime.now(UTC), who="test")
            client = Authority.load(directory / "ca").issue_client(ven_id)
            await provisioning.add_certificate(tx, ven_id, client.chain_pem, datetime.now(UTC), who="test")
        for name, text in (("key", client.key_pem), ("cert", client.chain_pem)):
            (tmp_path / f"{name}.pem").write_text(text)
        identity = SimpleNamespace(
            key_path=tmp_path / "key.pem",
            cert_path=tmp_path / "cert.pem",
            ca_path=directory / "ca" / "ca.pem",
            directory=tmp_path,
        )
        signatures = Signatures(identity, vtn.openadr_url, required=True)
        async with PullTransport(vtn.openadr_url, client_context(identity), signatures=signatures) as line:
            assert (await line.post(CreatePartyRegistration("r", VenProfile()))).ven_id == ven_id
        signed = await signed_answer(vtn, identity, ven_id, signatures)
        assert signed.certificate == der_of_pem(issued.chain_pem.encode())


async def signed_answer(vtn, identity, ven_id, signatures):
    """Post a signed poll and return what the answer's signature says."""
    body = encode(Poll(ven_id), sign=signatures.sign)
    async with aiohttp.ClientSession() as session:
        url, headers = f"{vtn.openadr_url}/OadrPoll", {"Content-Type": "application/xml"}
        async with session.post(url, data=body, headers=headers, ssl=client_context(identity)) as answer:
            return decode_noting(await answer.read(), verify=signatures.verify).signature


class _Pushed:
    """The server of a VEN in push mode, with the certificate of its enrolment."""

    def __init__(self, ven_id):
        self.ven_id = ven_id
        self.heard = []

    async def handle(self, request):
        message = decode(await request.read(), strict=True)
        self.heard.append(message)
        if isinstance(message, RegisterReport):
            answer = RegisteredReport(Response(200, "OK", message.request_id), (), self.ven_id)
            return web.Response(body=encode(answer), content_type="application/xml")
        return web.Response()


async def test_a_ven_in_push_mode_is_pushed_to_and_shown(tmp_path):
    def change(text):
        return text + '\n[openadr.push]\nallow = ["127.0.0.0/8"]\nunreachable_after = 1\n'

    async with _place(tmp_path, change) as place:
        ven_id, identity = await place.enrol("home")
        home = _Pushed(ven_id)
        context = server_context(identity.cert_path, identity.key_path, place.ca)
        runner = web.ServerRunner(web.Server(home.handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        address = f"https://127.0.0.1:{runner.addresses[0][1]}"
        refused = VenProfile(http_pull=False, transport_address="https://10.0.0.1/")
        assert (await place.say(identity, CreatePartyRegistration("r", refused))).response.code == 459
        profile = VenProfile(http_pull=False, transport_address=address)
        registered = await place.say(identity, CreatePartyRegistration("r", profile))
        assert registered.response.code == 200

        async def is_told():
            async with place.vtn.db.read() as conn:
                return home.heard and "done" in (await outbox.count_open(conn, datetime.now(UTC)))

        await _until(is_told)
        shown = (await place.desk.get(f"/vens/{ven_id}"))["ven"]
        assert [shown[name] for name in ("mode", "address", "presence")] == ["push", address, "online"]
        await runner.cleanup()
        await place.desk.post(f"/vens/{ven_id}/reregistration")

        async def is_dead():
            return (await place.desk.get(f"/vens/{ven_id}"))["ven"]["presence"] == "unreachable"

        await _until(is_dead)
        assert "does not answer" in (await place.desk.get(f"/vens/{ven_id}"))["ven"]["unreachable_why"]


async def test_a_ven_of_2_0a_is_pushed_to_across_a_restart(tmp_path):
    """The operator says where it is; what it could not take before the restart comes after it."""

    def change(text):
        return text + '\n[openadr.push]\nallow = ["127.0.0.0/8"]\nunreachable_after = 1\n'

    async def called(desk, programme_id, value):
        signal = {"name": "SIMPLE", "type": "level", "intervals": [{"duration": "PT1H", "value": value}]}
        start = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        made = await desk.post("/dispatches", {"programme_id": programme_id, "start": start, "signals": [signal]})
        return made["events"][0]["id"]

    async with _place(tmp_path, change) as place:
        ven_id, identity = await place.enrol("home")
        path = f"/vens/{ven_id}"
        older = OlderVen(
            ven_id,
            server_context(identity.cert_path, identity.key_path, place.ca),
            client_context(identity),
            place.vtn.openadr_url.removesuffix("/OpenADR2/Simple/2.0b"),
        )
        await older.start()
        with pytest.raises(EvenloadError, match="not a public address"):
            await place.desk.put(f"{path}/push-address", {"address": "https://10.0.0.1/"})
        await place.desk.put(f"{path}/push-address", {"address": older.address})
        programme = await place.desk.post("/programmes", {"name": "P", "market_context": "http://grid/p"})
        await place.desk.post(f"/programmes/{programme['id']}/enrolments", {"ven_ids": [ven_id]})
        event_id = await called(place.desk, programme["id"], 1)

        async def has_opted_in():
            (event,) = (await place.desk.get(f"/events/{event_id}"))["events"]
            return event["opt"] == "optIn"

        await _until(has_opted_in)
        assert [answer.tag for answer in older.answers] == [f"{{{NAMES['oadr']}}}oadrResponse"]

        async def is_shown():
            ven = (await place.desk.get(path))["ven"]
            return [ven[name] for name in ("mode", "address", "presence")] == ["push", older.address, "online"]

        await _until(is_shown)
        await older.stop()
        await called(place.desk, programme["id"], 2)

        async def is_unreachable():
            return (await place.desk.get(path))["ven"]["presence"] == "unreachable"

        await _until(is_unreachable)

    await older.start()
    async with running(load_settings(place.directory / "vtn.toml")) as vtn:

        async def has_both():
            return len(older.at("//oadr:oadrEvent")) == 2

        await _until(has_both)
        assert sorted(older.at("//ei:signalPayload//ei:value/text()")) == ["1.0", "2.0"]

        async def is_online():
            async with OperatorClient(f"{vtn.api_url}/v1", place.token, ca=place.ca) as desk:
                return (await desk.get(path))["ven"]["presence"] == "online"

        await _until(is_online)
    await older.stop()


async def test_vtn_and_gateway_in_push_mode_with_mutual_tls(tmp_path):
    def change(text):
        return text + '\n[openadr.push]\nallow = ["127.0.0.0/8"]\n'

    async with _place(tmp_path, change) as place:
        ven_id, identity = await place.enrol("home")
        port = free_port()
        address = f"https://127.0.0.1:{port}/home"
        listen = {"host": "127.0.0.1", "port": port, "address": address}
        said = {
            "version": 1,
            "name": "home",
            "identity": identity.directory,
            "state": tmp_path / "state",
            "devices": [],
        }
        household = Household.model_validate(said | {"vtn": {"mode": "push", "listen": listen}})
        gateway = Gateway(household, connections={})
        work = asyncio.create_task(gateway.run())

        async def is_heard():
            ven = (await place.desk.get(f"/vens/{ven_id}"))["ven"]
            rows = await states()
            return ven["registered_at"] is not None and rows.get(Intent.REPORTS_OFFERED) == "done"

        async def states():
            async with place.vtn.db.read() as conn:
                return {row.kind: row.state for row in await conn.execute(select(outbox_table))}

        await _until(is_heard)
        first = (await place.desk.get(f"/vens/{ven_id}"))["ven"]
        assert [first[name] for name in ("mode", "address", "presence")] == ["push", address, "online"]
        await place.desk.post(f"/vens/{ven_id}/reregistration")

        async def is_told():
            return (await states()).get(Intent.REREGISTER) == "done"

        await _until(is_told)
        contact = gateway._conversation.contact
        assert (contact.listens_at, contact.last_push is not None) == (address, True)

        async def is_shown():
            lines = as_lines(read_status(household))
            return f"it pushes to {address}" in lines and "polls the VTN" not in lines

        await _until(is_shown)
        gateway.stop()
        await work
