"""Push: a VEN with an HTTPS server of its own, and a VTN that posts to it (catalogue TR-11, TR-13, RG-04)."""

import asyncio
import contextlib
import itertools
import ssl
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry
from sqlalchemy import update
from structlog.testing import capture_logs

from certs.tls import server_context
from core.clock import machine_now
from core.spans import Duration
from openadr.fingerprint import der_of_pem, fingerprint_of_pem
from openadr.model.event import ResponseRequired
from openadr.model.registration import Mode, SignaturePolicy, Transport, VenProfile
from openadr.model.report import ReportRequest
from openadr.signature.sign import Signer, new_nonce
from openadr.signature.verify import Verifier
from openadr.v20b import messages as m
from openadr.v20b.decode import decode, decode_noting
from openadr.v20b.encode import encode
from support.vtn_world import Ven, simple, usage
from vtn.services import dispatch, fleet, outbox, provisioning, push, registration, report, ven_faults
from vtn.services.message_log import MessageSender
from vtn.services.outbox import Intent
from vtn.services.signatures import set_policy
from vtn.store.tables import ven as ven_table
from vtn.transport.v20b.push import PushRules, PushSender
from vtn.transport.v20b.push_address import Addresses, url_of
from vtn.transport.v20b.push_client import OwnTls, PushClient
from vtn.transport.v20b.signatures import Signatures, SigningFiles, SigningKeys
from web.http_client import Guard

LOCAL = Addresses(Guard.allowing(["127.0.0.0/8"]))
OK = m.Response(200, "OK", "q")


@dataclass
class Home:
    """A VEN's server: what it heard, and what it says. `says` maps a kind of message to (status, body)."""

    ven: Ven
    port: int = 0
    heard: list[object] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    says: dict[type, object] = field(default_factory=dict)
    sign: object = None
    verify: object = None
    signed: list[bool] = field(default_factory=list)
    shown: list[bytes | None] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}/ven"

    @property
    def kinds(self) -> list[str]:
        return [type(message).__name__ for message in self.heard]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        read = decode_noting(body, strict=True, verify=self.verify)
        self.heard.append(read.message)
        self.signed.append(read.signature is not None)
        self.requests.append((request.path, dict(request.headers)))
        tls = request.transport.get_extra_info("ssl_object")
        self.shown.append(tls.getpeercert(binary_form=True) if tls else None)
        said = self.says.get(type(read.message), self.says.get(object))
        if callable(said):
            said = await said(request, read.message)
        if isinstance(said, web.StreamResponse):
            return said
        if said is not None:
            status, text = said
            return web.Response(status=status, body=text, headers={"Content-Type": "application/xml"})
        answer = self.usual(read.message)
        if answer is None:
            return web.Response()
        return web.Response(body=encode(answer, sign=self.sign), headers={"Content-Type": "application/xml"})

    def usual(self, message) -> m.Message | None:
        """Return how a good VEN answers."""
        ven_id = self.ven.ven_id
        match message:
            case m.RegisterReport():
                return m.RegisteredReport(m.Response(200, "OK", message.request_id), (), ven_id)
            case m.CreateReport():
                ids = tuple(one.request_id for one in message.requests)
                return m.CreatedReport(m.Response(200, "OK", message.request_id), ids, ven_id)
            case m.CancelReport():
                return m.CanceledReport(m.Response(200, "OK", message.request_id), (), ven_id)
            case m.RequestReregistration():
                return m.OadrResponse(m.Response(200, "OK", ""), ven_id)
            case m.CancelPartyRegistration():
                answer = m.Response(200, "OK", message.request_id)
                return m.CanceledPartyRegistration(answer, message.registration_id, ven_id)
        return None

    async def created(self, opt_type="optIn"):
        """Answer the events that were pushed last, by a request of its own."""
        events = [one for one in self.heard if isinstance(one, m.DistributeEvent)][-1].events
        return await self.ven.created(
            *((one.event.event_id, one.event.modification_number, opt_type, 200) for one in events)
        )


class Stage:
    """A VTN that pushes. Machine time stands still unless the test moves it, so that no pause is waited for."""

    def __init__(self, world, pki, *, timeout_s=5.0):
        self.world, self.pki = world, pki
        self.machine = machine_now()
        self.noted = []
        world.vtn._addresses = LOCAL
        home = pki.directory
        self.tls = OwnTls(home / "server.pem", home / "server.key", pki.authority.directory / "ca.pem")
        self.sender = self.make(timeout_s)
        self._stack = contextlib.AsyncExitStack()

    def make(self, timeout_s=5.0, **more):
        client = PushClient(self.world.directory, LOCAL, self.tls, timeout_s=timeout_s)
        w = self.world
        return PushSender(
            w.vtn,
            w.directory,
            w.writer,
            w.faults,
            client,
            w.settings,
            w.clock,
            CollectorRegistry(),
            note=self.noted.append,
            utcnow=lambda: self.machine,
            **more,
        )

    async def home(self, name="home", *, shows=None, drained=True, **profile) -> Home:
        """Start a VEN's server, and register it in push mode."""
        ven = await self.world.ven(name, register=False)
        pem = (self.pki.directory / f"{name}.pem").read_text()
        async with self.world.tx() as tx:
            await provisioning.add_certificate(tx, ven.ven_id, pem, self.world.now, who="test")
        made = Home(ven)
        await self.listen(made, shows or name)
        answer = await ven.register(http_pull=False, transport_address=made.address, **profile)
        assert answer.response.code == 200, answer
        if drained:
            await self.turn()
            assert made.kinds == ["RegisterReport"]
            made.heard.clear()
        return made

    async def listen(self, home: Home, shows: str, port=0) -> None:
        directory = self.pki.directory
        context: ssl.SSLContext = server_context(
            directory / f"{shows}.pem", directory / f"{shows}.key", self.pki.authority.directory / "ca.pem"
        )
        runner = web.ServerRunner(web.Server(home.handle))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        home.port = runner.addresses[0][1]
        home.runner = runner
        self._stack.push_async_callback(runner.cleanup)

    async def turn(self, sender=None) -> None:
        """Let the sender push what is due, until it has finished."""
        tasks = await (sender or self.sender).turn()
        if tasks:
            await asyncio.wait(tasks)

    async def after(self, **pause) -> None:
        self.machine += timedelta(**pause)
        await self.turn()

    async def line(self, home: Home):
        (row,) = await self.world.rows("push_line", ven_id=home.ven.ven_id)
        return row

    async def row(self, home: Home):
        (row,) = await self.world.rows("ven", id=home.ven.ven_id)
        return row

    async def faults(self, home: Home) -> list[str]:
        await self.world.faults.flush()
        async with self.world.db.read() as conn:
            return [one.subject for one in await ven_faults.of_ven(conn, home.ven.ven_id)]

    async def close(self) -> None:
        await self.sender.close()
        await self._stack.aclose()


@pytest_asyncio.fixture
async def stage(world, pki):
    made = Stage(world, pki)
    yield made
    await made.close()


# -- registration


@pytest.mark.parametrize(
    ("profile", "text"),
    [
        ({"http_pull": False}, "oadrTransportAddress"),
        ({"http_pull": False, "transport_address": "127.0.0.1:8080"}, "no URL"),
        ({"http_pull": False, "transport_address": "/ven"}, "no URL"),
        ({"http_pull": False, "transport_address": "http://127.0.0.1/ven"}, "http"),
        ({"http_pull": False, "transport_address": "https://10.0.0.1/ven"}, "not a public address"),
        ({"http_pull": False, "transport_address": "https://user:pw@127.0.0.1/"}, "user"),
        ({"http_pull": False, "transport_address": "https://127.0.0.1/ven?x=1"}, "base"),
        ({"http_pull": False, "transport_address": "ftp://127.0.0.1/"}, "no URL"),
        ({"transport": Transport.XMPP, "transport_address": "home@xmpp/oadr"}, "simpleHttp"),
    ],
)
async def test_rg04_an_address_that_is_never_called_is_refused(stage, profile, text):
    ven = await stage.world.ven(register=False)
    answer = await ven.register(**profile)
    assert answer.response.code == 459
    assert text in answer.response.description
    (row,) = await stage.world.rows("ven")
    assert row.registration_id is None


async def test_rg04_an_insecure_listener_pushes_to_this_machine_by_http():
    plain = Addresses.on_loopback()
    for address in ("http://127.0.0.1:9000", "http://localhost/ven", "https://[::1]:9000/"):
        plain.check(address)
    for address in ("http://192.0.2.1/", "http://10.0.0.1/"):
        with pytest.raises(Exception, match="http is only"):
            plain.check(address)


@pytest.mark.parametrize(
    "address", ["https://ven", "https://ven/", "https://ven/OpenADR2/Simple/2.0b", "https://ven//"]
)
def test_the_address_may_end_in_the_path_of_the_services(address):
    assert url_of(address, "EiEvent") == "https://ven/OpenADR2/Simple/2.0b/EiEvent"


# -- what is pushed


async def test_rp01_the_metadata_goes_first_to_the_services_below_the_address(stage):
    home = await stage.home(drained=False)
    await stage.world.dispatch(home.ven)
    await stage.turn()
    assert home.kinds == ["RegisterReport", "DistributeEvent"]
    assert [path for path, _ in home.requests] == [
        "/ven/OpenADR2/Simple/2.0b/EiReport",
        "/ven/OpenADR2/Simple/2.0b/EiEvent",
    ]
    assert set((await stage.world.outbox(home.ven)).values()) == {"done", "sent"}


async def test_tr06_tr08_requests_are_plain_xml_with_a_length(stage):
    home = await stage.home()
    for _, headers in home.requests:
        assert headers["Content-Type"] == "application/xml"
        assert headers["Accept"] == "application/xml"
        assert headers["Content-Length"]
        assert not {"Content-Encoding", "Transfer-Encoding"} & set(headers)
    server = der_of_pem((stage.pki.directory / "server.pem").read_bytes())
    assert home.shown == [server], "the VTN shows its certificate"


async def test_tr13_ev19_events_are_answered_by_a_request_of_their_own(stage):
    home = await stage.home()
    dispatch_id = await stage.world.dispatch(home.ven)
    await stage.turn()
    (delivered,) = home.heard
    assert delivered.response is None
    (one,) = delivered.events
    (row,) = await stage.world.rows("delivery", event_id=one.event.event_id)
    assert row.first_sent_at == stage.world.now
    assert await stage.world.outbox(home.ven) == {("reports_offered", ""): "done", ("events_changed", ""): "sent"}
    assert (await home.created()).response.code == 200
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "done"
    async with stage.world.tx() as tx:
        await dispatch.cancel(tx, dispatch_id, stage.world.now, who="test")
    await stage.turn()
    assert home.heard[-1].events[0].event.cancelled


async def test_ev15_every_push_lists_all_events(stage):
    home = await stage.home()
    for _ in range(3):
        await stage.world.dispatch(home.ven, signals=(simple(1),))
        await stage.turn()
    assert [len(one.events) for one in home.heard] == [1, 2, 3]


async def test_events_that_need_no_answer_are_told_by_the_200(stage):
    home = await stage.home()
    await stage.world.dispatch(home.ven, rules={"response_required": ResponseRequired.NEVER})
    await stage.turn()
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "done"
    stage.world.later(minutes=10)
    await stage.turn()
    assert home.kinds == ["DistributeEvent"], "nobody waits for an answer"


async def test_an_answer_that_does_not_come_is_asked_for_again_until_it_is_given_up(stage):
    home = await stage.home()
    await stage.world.dispatch(home.ven, starts_in=timedelta(hours=5))
    for _ in range(stage.world.settings.max_tries + 3):
        await stage.turn()
        stage.world.later(seconds=61)
    assert len(home.heard) == stage.world.settings.max_tries
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "dead"
    assert (await stage.row(home)).unreachable_at is None, "it takes what is pushed"


async def test_reports_are_requested_and_cancelled_in_the_same_exchange(stage):
    home = await stage.home()
    await home.ven.say(m.RegisterReport("r", (usage("meter"),), home.ven.ven_id))
    await stage.turn()
    assert home.kinds == ["CreateReport"]
    (request,) = await stage.world.rows("report_request")
    assert (request.state, request.answered_at) == ("active", stage.world.now)
    async with stage.world.tx() as tx:
        await report.cancel(tx, request.id, stage.world.now, who="test")
    await stage.turn()
    assert home.kinds == ["CreateReport", "CancelReport"]
    assert set((await stage.world.outbox(home.ven)).values()) == {"done"}


async def test_a_report_request_that_is_refused_says_why(stage):
    home = await stage.home()
    home.says[m.CreateReport] = 200, encode(m.CreatedReport(m.Response(461, "no", "x"), (), home.ven.ven_id))
    await home.ven.say(m.RegisterReport("r", (usage("meter"),), home.ven.ven_id))
    await stage.turn()
    (request,) = await stage.world.rows("report_request")
    assert (request.state, request.reason) == ("refused", "461 no")
    assert "oadrCreatedReport 461" in await stage.faults(home)


async def test_rg09_rg10_registration_is_asked_for_again_and_ended(stage):
    home = await stage.home()
    async with stage.world.tx() as tx:
        await registration.ask_to_reregister(tx, home.ven.ven_id, stage.world.now, who="test")
    await stage.turn()
    assert home.kinds == ["RequestReregistration"]
    assert (await stage.world.outbox(home.ven))["reregister", ""] == "done"
    async with stage.world.tx() as tx:
        await registration.ask_to_cancel(tx, home.ven.ven_id, stage.world.now, who="test")
    await stage.turn()
    assert home.kinds[-1] == "CancelPartyRegistration"
    assert (await stage.row(home)).registration_id is None
    await stage.world.dispatch(home.ven)
    await stage.turn()
    assert len(home.heard) == 2, "nothing is pushed to a VEN that is not registered"


async def test_a_push_ven_may_poll_and_ask(stage):
    home = await stage.home()
    await stage.world.dispatch(home.ven)
    assert len(await home.ven.events()) == 1
    answer = await home.ven.say(m.RequestEvent(home.ven.ven_id, "q"))
    assert len(answer.events) == 1
    await stage.turn()
    assert home.heard == [], "a poll has brought it"


async def test_tr14_nothing_is_pushed_to_a_pull_ven(stage):
    home = await stage.home()
    pull = await stage.world.ven()
    await stage.world.dispatch(pull)
    await stage.turn()
    assert await stage.world.rows("push_line", ven_id=pull.ven_id) == []
    await home.ven.register(http_pull=True)
    await stage.world.dispatch(home.ven)
    await stage.turn()
    assert home.heard == [], "it registered in pull mode since"


async def test_exchanges_are_noted_and_counted(stage):
    home = await stage.home()
    pushed = stage.noted[0]
    assert (pushed.sender, pushed.ven_id, pushed.type) == (MessageSender.VTN, home.ven.ven_id, "oadrRegisterReport")
    assert isinstance(decode(pushed.request), m.RegisterReport)
    assert isinstance(decode(pushed.answer), m.RegisteredReport)
    assert (pushed.status, pushed.fingerprint != "") == (200, True)
    assert (await stage.row(home)).mode == Mode.PUSH


async def test_a_message_that_finds_nobody_is_noted_too(stage):
    home = await stage.home()
    await home.runner.cleanup()
    await stage.world.dispatch(home.ven)
    await stage.turn()
    lost = stage.noted[-1]
    assert (lost.type, lost.status) == ("oadrDistributeEvent", None)
    assert isinstance(decode(lost.request), m.DistributeEvent)
    assert b"127.0.0.1" in lost.answer


# -- failures


async def test_tr11_order_is_kept_and_pauses_double(stage):
    home = await stage.home()
    home.says[object] = 503, b""
    async with stage.world.tx() as tx:
        await registration.ask_to_reregister(tx, home.ven.ven_id, stage.world.now, who="test")
    stage.world.later(seconds=1)
    await stage.world.dispatch(home.ven)
    pauses = []
    for _ in range(9):
        await stage.turn()
        await stage.turn()
        pauses.append((await stage.line(home)).retry_at - stage.machine)
        stage.machine += pauses[-1]
    assert home.kinds == ["RequestReregistration"] * 9, "what is not taken stays the first, and is not sent early"
    for pause, expected in zip(pauses, (1, 2, 4, 8, 16, 32, 64, 128, 256), strict=True):
        assert 0.9 * expected <= pause.total_seconds() <= 1.1 * expected
    home.says.clear()
    await stage.turn()
    assert home.kinds[9:] == ["RequestReregistration", "DistributeEvent"]
    assert (await stage.line(home)).failures == 0


def test_tr11_pauses_have_a_longest():
    rules = PushRules(longest_pause=timedelta(minutes=1))
    assert max(rules.pause(10**6) for _ in range(50)) <= timedelta(seconds=66)
    assert len({rules.pause(3) for _ in range(10)}) > 1, "jitter"


@pytest.mark.parametrize("status", [404, 406, 501])
async def test_tr11_what_would_be_refused_again_is_given_up(stage, status):
    home = await stage.home()
    home.says[m.RequestReregistration] = status, b"no"
    async with stage.world.tx() as tx:
        await registration.ask_to_reregister(tx, home.ven.ven_id, stage.world.now, who="test")
    stage.world.later(seconds=1)
    await stage.world.dispatch(home.ven)
    await stage.turn()
    await stage.after(seconds=2)
    assert home.kinds == ["RequestReregistration", "DistributeEvent"], "the next one goes after a pause"
    assert (await stage.world.outbox(home.ven))["reregister", ""] == "dead"
    assert f"oadrRequestReregistration HTTP {status}" in await stage.faults(home)


@pytest.mark.parametrize("status", [301, 307, 400, 403, 429, 500, 503])
async def test_any_other_status_is_tried_again(stage, status):
    home = await stage.home()
    target = f"https://127.0.0.1:{home.port}/elsewhere"

    async def says(_request, _message):
        return web.Response(status=status, headers={"Location": target})

    home.says[m.DistributeEvent] = says
    await stage.world.dispatch(home.ven)
    await stage.turn()
    assert len(home.heard) == 1, "redirects are not followed"
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "pending"
    home.says.clear()
    await stage.after(seconds=2)
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "sent"


async def test_a_dead_ven_is_unreachable_and_said_so_once_until_it_takes_a_message(stage):
    home = await stage.home()
    await home.runner.cleanup()
    await stage.world.dispatch(home.ven)
    with capture_logs() as logs:
        for _ in range(8):
            await stage.after(minutes=10)
    said = [one for one in logs if one["event"] == "a VEN is unreachable"]
    assert [one["ven_id"] for one in said] == [home.ven.ven_id]
    row = await stage.row(home)
    assert row.unreachable_at == stage.world.now
    assert "does not answer" in row.unreachable_why
    async with stage.world.db.read() as conn:
        shown = await fleet.one(conn, home.ven.ven_id, stage.world.now, 60)
        assert shown.presence is fleet.Presence.UNREACHABLE
        assert (await fleet.counts(conn, stage.world.now, 60)).unreachable == 1
    await stage.listen(home, "home", home.port)
    with capture_logs() as logs:
        await stage.after(minutes=10)
    assert home.kinds == ["DistributeEvent"], "nothing was lost"
    assert [one["event"] for one in logs] == ["a VEN is reachable again: it took a message"]
    row = await stage.row(home)
    assert (row.unreachable_at, row.unreachable_why) == (None, None)


async def test_an_unreachable_ven_that_speaks_is_tried_at_once(stage):
    home = await stage.home()
    home.says[object] = 500, b""
    await stage.world.dispatch(home.ven)
    for _ in range(6):
        await stage.after(minutes=10)
    home.says.clear()
    await stage.turn()
    assert len(home.heard) == 6, "it rests"
    await home.ven.say(m.RequestEvent(home.ven.ven_id, "q"))
    assert (await stage.row(home)).unreachable_at is None
    await stage.turn()
    assert len(home.heard) == 7


async def test_a_ven_that_hangs_delays_nobody(stage):
    home, other = await stage.home(), await stage.home("other")
    gate = asyncio.Event()

    async def hangs(_request, _message):
        await gate.wait()
        return web.Response()

    home.says[m.DistributeEvent] = hangs
    await stage.world.dispatch(home.ven, other.ven)
    tasks = await stage.sender.turn()
    for _ in range(500):
        if other.heard and home.heard:
            break
        await asyncio.sleep(0.01)
    await stage.world.dispatch(other.ven)
    for _ in range(500):
        if len(other.heard) == 2:
            break
        await stage.sender.turn()
        await asyncio.sleep(0.01)
    assert len(home.heard) == 1, "one message at a time"
    gate.set()
    await asyncio.wait(tasks)


async def test_a_slow_answer_is_not_waited_for(stage):
    home = await stage.home()

    async def drips(request, _message):
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            for _ in itertools.repeat(None, 1000):
                await response.write(b"<")
                await asyncio.sleep(0.02)
        return response

    home.says[m.DistributeEvent] = drips
    await stage.world.dispatch(home.ven)
    impatient = stage.make(timeout_s=0.3)
    await stage.turn(impatient)
    await impatient.close()
    assert (await stage.line(home)).failures == 1
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "pending"


BAD = {
    "huge": b"<a>" + b"x" * 1_000_000,
    "doctype": b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
    "no xml": b"hello",
    "nothing": b"",
    "other bytes": bytes(range(256)),
}


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
async def test_hostile_answers_change_nothing_but_are_noted(stage, body):
    home = await stage.home()
    await home.ven.say(m.RegisterReport("r", (usage("meter"),), home.ven.ven_id))
    home.says[m.CreateReport] = 200, body
    await stage.turn()
    (request,) = await stage.world.rows("report_request")
    assert request.state == "queued"
    assert await stage.faults(home) == ["message"]
    assert (await stage.world.outbox(home.ven))["report_wanted", request.id] == "sent"
    home.says.clear()
    stage.world.later(seconds=61)
    await stage.turn()
    assert (await stage.world.rows("report_request"))[0].state == "active", "it is asked for again"


async def test_another_message_than_the_answer_is_noted_and_not_acted_on(stage):
    home = await stage.home()
    cancels = m.CancelPartyRegistration("q", home.ven.registration_id, home.ven.ven_id)
    home.says[m.CreateReport] = 200, encode(cancels)
    home.says[m.DistributeEvent] = 200, encode(cancels)
    await home.ven.say(m.RegisterReport("r", (usage("meter"),), home.ven.ven_id))
    await stage.world.dispatch(home.ven)
    await stage.turn()
    assert (await stage.row(home)).registration_id == home.ven.registration_id
    assert set(await stage.faults(home)) == {
        "oadrCreateReport with oadrCancelPartyRegistration",
        "oadrDistributeEvent with a body",
    }


async def test_an_answer_in_another_vens_name_is_refused(stage):
    home, other = await stage.home(), await stage.home("other")
    async with stage.world.tx() as tx:
        await registration.ask_to_cancel(tx, home.ven.ven_id, stage.world.now, who="test")
    answer = m.CanceledPartyRegistration(OK, home.ven.registration_id, other.ven.ven_id)
    home.says[m.CancelPartyRegistration] = 200, encode(answer)
    await stage.turn()
    assert (await stage.row(home)).registration_id is not None
    assert (await stage.row(other)).registration_id is not None


# -- certificates


@pytest.mark.parametrize("shows", ["other", "stranger", "foreign", "expired"])
async def test_se07_nothing_is_sent_to_a_server_with_another_certificate(stage, shows):
    home = await stage.home()
    await home.runner.cleanup()
    await stage.listen(home, shows, home.port)
    await stage.world.dispatch(home.ven)
    for _ in range(6):
        await stage.after(minutes=10)
    assert home.heard == []
    assert "is not registered for this VEN" in (await stage.row(home)).unreachable_why


@pytest.mark.parametrize(("shows", "why"), [("foreign", "none of the authorities"), ("expired", "registered")])
async def test_se05_a_registered_certificate_must_be_of_our_authority_and_valid(stage, shows, why):
    home = await stage.home()
    pem = (stage.pki.directory / f"{shows}.pem").read_text()
    async with stage.world.tx() as tx:
        name = fingerprint_of_pem(pem.encode())
        await provisioning.add_fingerprint(tx, home.ven.ven_id, name, stage.world.now, who="test")
    await home.runner.cleanup()
    await stage.listen(home, shows, home.port)
    await stage.world.dispatch(home.ven)
    for _ in range(6):
        await stage.after(minutes=10)
    assert home.heard == []
    assert why in (await stage.row(home)).unreachable_why or "expired" in (await stage.row(home)).unreachable_why


# -- processes


async def test_two_processes_share_the_lines(stage):
    home = await stage.home()
    await stage.world.dispatch(home.ven)
    second = stage.make()
    await asyncio.gather(stage.turn(), stage.turn(second))
    assert home.kinds == ["DistributeEvent"]
    await second.close()


async def test_a_process_that_dies_in_the_middle_loses_nothing(stage):
    home = await stage.home()
    gate = asyncio.Event()

    async def hangs(_request, _message):
        await gate.wait()
        return web.Response()

    home.says[m.RequestReregistration] = hangs
    async with stage.world.tx() as tx:
        await registration.ask_to_reregister(tx, home.ven.ven_id, stage.world.now, who="test")
    stage.world.later(seconds=1)
    await stage.world.dispatch(home.ven)
    doomed = stage.make()
    tasks = await doomed.turn()
    for _ in range(500):
        if home.heard:
            break
        await asyncio.sleep(0.01)
    for task in tasks:  # as kill -9 leaves it: the lease stays, nothing is written
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    gate.set()
    home.says.clear()
    await stage.turn()
    assert len(home.heard) == 1, "the line is leased"
    await stage.after(minutes=1)
    assert home.kinds == ["RequestReregistration", "RequestReregistration", "DistributeEvent"]


async def test_closing_waits_for_what_is_under_way(stage):
    home = await stage.home()

    async def slow(_request, _message):
        await asyncio.sleep(0.2)
        return web.Response()

    home.says[m.DistributeEvent] = slow
    await stage.world.dispatch(home.ven)
    await stage.sender.turn()
    for _ in range(500):
        if home.heard:
            break
        await asyncio.sleep(0.01)
    await stage.sender.close()
    assert (await stage.world.outbox(home.ven))["events_changed", ""] == "sent"
    assert (await stage.line(home)).leased_until is None


async def test_what_changes_on_the_way_is_pushed_next(stage):
    home = await stage.home()
    dispatch_id = await stage.world.dispatch(home.ven)

    async def cancelled_meanwhile(_request, message):
        if len(home.heard) == 1:
            stage.world.later(seconds=1)
            async with stage.world.tx() as tx:
                await dispatch.cancel(tx, dispatch_id, stage.world.now, who="test")
        return web.Response()

    home.says[m.DistributeEvent] = cancelled_meanwhile
    await stage.turn()
    assert [one.events[0].event.cancelled for one in home.heard] == [False, True]


# -- signatures


@pytest.mark.parametrize("asked", [True, False])
async def test_se08_a_ven_that_asks_for_signatures_or_must_sign_gets_them_and_its_answers_are_verified(stage, asked):
    directory = stage.pki.directory
    keys = SigningKeys([SigningFiles(directory / "server.pem", directory / "server.key")])
    stage.world.vtn.signatures = Signatures(stage.world.directory, stage.world.writer, keys)
    home = await stage.home(drained=False, xml_signature=asked)
    server = der_of_pem((directory / "server.pem").read_bytes())
    home.verify = lambda payload: Verifier().verify(payload, lambda der: der == server)
    signer = Signer((directory / "home.key").read_bytes(), (directory / "home.pem").read_bytes())
    home.sign = lambda body: signer.sign(body, machine_now(), new_nonce())
    async with stage.world.tx() as tx:
        await set_policy(tx, home.ven.ven_id, SignaturePolicy.REQUIRED, stage.world.now, who="test")
    await stage.turn()
    assert home.signed == [True]
    assert (await stage.world.outbox(home.ven))["reports_offered", ""] == "done"
    home.sign = None
    async with stage.world.tx() as tx:
        await outbox.put(tx, home.ven.ven_id, Intent.REREGISTER, stage.world.now)
    await stage.turn()
    assert home.signed == [True, True]
    assert (await stage.world.outbox(home.ven))["reregister", ""] == "sent", "an unsigned answer is ignored"


async def test_registering_again_ends_a_pause(stage):
    home = await stage.home()
    home.says[object] = 500, b""
    await stage.world.dispatch(home.ven)
    await stage.turn()
    assert (await stage.line(home)).failures == 1
    home.says.clear()
    profile = VenProfile(http_pull=False, transport_address=home.address)
    await home.ven.say(m.CreatePartyRegistration("q", profile, home.ven.registration_id, home.ven.ven_id))
    await stage.turn()
    assert home.kinds == ["DistributeEvent", "DistributeEvent"]
    async with stage.world.tx() as tx:
        assert not await push.fresh(tx, home.ven.ven_id)


async def test_an_insecure_vtn_pushes_by_http_on_this_machine(stage):
    world = stage.world
    world.vtn._addresses = Addresses.on_loopback()
    ven = await world.ven(register=False)
    home = Home(ven)
    runner = web.ServerRunner(web.Server(home.handle))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    await ven.register(http_pull=False, transport_address=f"http://127.0.0.1:{runner.addresses[0][1]}")
    client = PushClient(world.directory, Addresses.on_loopback())
    sender = PushSender(
        world.vtn, world.directory, world.writer, world.faults, client, world.settings, world.clock, CollectorRegistry()
    )
    await stage.turn(sender)
    assert home.kinds == ["RegisterReport"]
    assert await world.outbox(ven) == {("reports_offered", ""): "done"}
    await runner.cleanup()


async def test_a_line_with_much_to_say_goes_on_at_the_next_turn(stage):
    home = await stage.home()
    async with stage.world.tx() as tx:
        subjects = [f"m{number}" for number in range(30)]
        await outbox.put_subjects(tx, home.ven.ven_id, Intent.REPORTS_OFFERED, stage.world.now, subjects)
    await stage.turn()
    assert len(home.heard) == 20
    await stage.turn()
    assert [one.report_request_id for one in home.heard] == subjects


async def test_what_the_vtn_cannot_sign_waits(stage):
    home = await stage.home()
    async with stage.world.tx() as tx:
        await tx.conn.execute(update(ven_table).values(xml_signature=True))
        await outbox.put(tx, home.ven.ven_id, Intent.REREGISTER, stage.world.now)
        tx.changed(home.ven.ven_id)
    await stage.turn()
    assert home.heard == [], "the key is gone"
    assert (await stage.line(home)).failures == 1
    assert (await stage.world.outbox(home.ven))["reregister", ""] == "pending"


async def test_rp13_what_a_ven_asks_for_beside_its_receipt_is_confirmed_and_reported(stage):
    world = stage.world
    world.settings = world.vtn._settings = replace(world.settings, own_reports_after=Duration())
    stage.sender = stage.make()
    home = await stage.home(drained=False)

    async def taken(_request, message):
        return 200, encode(m.UpdatedReport(m.Response(200, "OK", message.request_id), None, home.ven.ven_id))

    home.says[m.UpdateReport] = taken
    minute = Duration.of(minutes=1)
    bad = ReportRequest("bad", "no such", ("energy",))
    wish = ReportRequest("r", "TELEMETRY_USAGE", ("energy",), minute, minute, world.now, Duration())
    for wanted, answered in ((bad, (452, ())), (wish, (200, ("r",)))):
        receipt = m.RegisteredReport(m.Response(200, "OK", "m"), (wanted,), home.ven.ven_id)
        home.says[m.RegisterReport] = 200, encode(receipt)
        async with world.tx() as tx:
            await outbox.put(tx, home.ven.ven_id, Intent.REPORTS_OFFERED, world.now)
        await stage.turn()
        assert home.kinds[-2:] == ["RegisterReport", "CreatedReport"]
        assert (home.heard[-1].response.code, home.heard[-1].pending) == answered
        assert home.requests[-1][0].endswith("/OpenADR2/Simple/2.0b/EiReport")
    for _ in range(2):
        world.later(minutes=1)
        await stage.turn()
    starts = [one.reports[0].start for one in home.heard if isinstance(one, m.UpdateReport)]
    assert starts == [wish.start, minute.after(wish.start)]
    assert await stage.faults(home) == ["oadrReportRequest 452"]


async def test_a_confirmation_that_a_ven_does_not_take_is_not_repeated(stage):
    home = await stage.home(drained=False)
    wanted = ReportRequest("r", "no such", ("energy",))
    home.says[m.RegisterReport] = 200, encode(m.RegisteredReport(m.Response(), (wanted,), home.ven.ven_id))
    for trouble in ((500, b""), web.Response(status=404)):
        home.says[m.CreatedReport] = trouble
        async with stage.world.tx() as tx:
            await outbox.put(tx, home.ven.ven_id, Intent.REPORTS_OFFERED, stage.world.now)
        await stage.turn()
        await stage.turn()
        assert home.kinds == ["RegisterReport", "CreatedReport"]
        home.heard.clear()
    assert (await stage.world.outbox(home.ven))["reports_offered", ""] == "done"
    assert (await stage.line(home)).failures == 0
