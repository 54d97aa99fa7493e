"""Push mode for VENs of 2.0a: a server of their own, and messages written by hand (catalogue PA, TR-01, TR-11)."""

from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from certs.tls import server_context
from core.clock import machine_now
from core.errors import ConflictError, NotFoundError
from openadr.model.registration import Profile, SignaturePolicy, VenProfile
from openadr.model.target import Target
from support.older_ven import EI_EVENT, OlderVen
from support.vtn_world import power, simple
from vtn.services import dispatch, fleet, outbox, provisioning, registration, ven_faults
from vtn.services.fleet import Presence
from vtn.services.message_log import MessageSender
from vtn.services.outbox import Intent
from vtn.services.signatures import set_policy
from vtn.transport.peer import Peer
from vtn.transport.v20a.push import Push20a, url_of
from vtn.transport.v20a.service import Vtn20a
from vtn.transport.v20b.push import PushRules, PushSender
from vtn.transport.v20b.push_address import Addresses
from vtn.transport.v20b.push_client import OwnTls, PushClient
from web.http_client import Guard

ALLOWED = Addresses(Guard.allowing(["127.0.0.0/8"]))


class Stage:
    """A VTN that pushes; its machine time moves when the test says so."""

    def __init__(self, world, pki):
        self.world, self.pki = world, pki
        self.machine = machine_now()
        self.noted = []
        self.peers = {}
        self.vtn20a = Vtn20a(world.vtn, world.writer, world.directory, world.clock)
        self.sender = self.make()
        self.stack = AsyncExitStack()

    def make(self, addresses=ALLOWED, **more):
        home, w = self.pki.directory, self.world
        tls = OwnTls(home / "server.pem", home / "server.key", self.pki.authority.directory / "ca.pem")
        client = PushClient(w.directory, addresses, tls, timeout_s=5.0)
        registry = CollectorRegistry()
        return PushSender(
            w.vtn,
            w.directory,
            w.writer,
            w.faults,
            client,
            w.settings,
            w.clock,
            registry,
            older=Push20a(self.vtn20a),
            note=self.noted.append,
            utcnow=lambda: self.machine,
            **more,
        )

    def tls(self, name):
        home = self.pki.directory
        return server_context(home / f"{name}.pem", home / f"{name}.key", self.pki.authority.directory / "ca.pem")

    async def older(self, name="home", shows=None) -> OlderVen:
        """Start a VEN's server, and have the operator say where it is."""
        pem = (self.pki.directory / f"{name}.pem").read_text()
        async with self.world.tx() as tx:
            ven_id = await provisioning.create_ven(tx, name, self.world.now, who="test")
            fingerprint = await provisioning.add_certificate(tx, ven_id, pem, self.world.now, who="test")
        self.peers[ven_id] = Peer(fingerprint)
        ven = OlderVen(ven_id, self.tls(shows or name))
        await ven.start()
        self.stack.push_async_callback(ven.stop)
        await self.push_to(ven, ven.address)
        return ven

    async def push_to(self, ven, address):
        async with self.world.tx() as tx:
            await registration.set_push_address(tx, ven.ven_id, address, self.world.now, who="ann")

    async def turn(self, sender=None):
        for task in await (sender or self.sender).turn():
            await task

    async def after(self, **pause):
        self.machine += timedelta(**pause)
        await self.turn()

    async def row(self, ven):
        (row,) = await self.world.rows("ven", id=ven.ven_id)
        return row

    async def says(self, ven, body):
        """Have a VEN post a message, over the connection of its certificate."""
        return await self.vtn20a.answer(self.peers[ven.ven_id], body)

    async def opts(self, ven):
        return [row.opt_type for row in await self.world.rows("opt", ven_id=ven.ven_id)]


@pytest_asyncio.fixture
async def stage(world, pki):
    made = Stage(world, pki)
    yield made
    await made.sender.close()
    await made.stack.aclose()


@pytest.mark.parametrize("address", ["https://ven", "https://ven/", "https://ven/OpenADR2/Simple/EiEvent"])
def test_pa01_it_is_posted_to_the_service_of_2_0a(address):
    assert url_of(address) == "https://ven/OpenADR2/Simple/EiEvent"
    assert url_of("https://ven/a/b/") == "https://ven/a/b/OpenADR2/Simple/EiEvent"


async def test_an_event_is_pushed_and_answered_by_a_message_of_its_own(stage):
    ven = await stage.older()
    row = await stage.row(ven)
    assert (row.protocol_version, row.mode, row.address) == ("2.0a", "push", ven.address)
    assert row.last_seen_at is None, "it has not spoken yet"
    await stage.turn()
    assert ven.heard == [], "nothing waits: 2.0a has neither reports nor a registration"
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert ven.requests == [("POST", EI_EVENT)]
    assert ven.at("self::oadr:oadrDistributeEvent")
    assert ven.at("//@*[local-name()='schemaVersion']") == []
    assert ven.at("//ei:signalName/text()") == ["SIMPLE"]
    assert ven.at("//ei:currentValue//ei:value/text()") == ["0.0"]
    (event,) = await stage.world.rows("event")
    assert ven.at("//ei:eventID/text()") == [event.id]
    assert ven.at("oadr:eiResponse | ei:eiResponse") == []
    assert await stage.world.outbox(ven) == {("events_changed", ""): "sent"}
    await stage.says(ven, ven.created("optIn"))
    assert await stage.opts(ven) == ["optIn"]
    assert await stage.world.outbox(ven) == {("events_changed", ""): "done"}
    await stage.after(hours=1)
    assert len(ven.heard) == 1
    exchange = stage.noted[-1]
    assert (exchange.sender, exchange.profile, exchange.status) == (MessageSender.VTN, Profile.A, 200)


async def test_an_answer_in_the_same_exchange_is_taken_as_well(stage):
    ven = await stage.older()
    ven.answers_at_once = True
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert await stage.opts(ven) == ["optIn"]
    assert await stage.world.outbox(ven) == {("events_changed", ""): "done"}


async def test_an_answer_that_is_none_is_noted_and_hurts_nobody(stage):
    ven = await stage.older()
    ven.created = lambda _: b"<html>OK</html>"
    ven.answers_at_once = True
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert await stage.world.outbox(ven) == {("events_changed", ""): "sent"}
    await stage.world.faults.flush()
    async with stage.world.db.read() as conn:
        assert len(await ven_faults.of_ven(conn, ven.ven_id)) == 1


async def test_tr11_what_it_does_not_take_is_tried_again_and_it_becomes_unreachable(stage):
    stage.sender = stage.make(rules=PushRules(dead_after=3))
    ven = await stage.older()
    ven.status = 503
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    await stage.after(seconds=0.5)
    assert len(ven.heard) == 1
    await stage.after(seconds=0.7)
    assert len(ven.heard) == 2
    await stage.after(seconds=2.3)
    assert len(ven.heard) == 3
    assert "HTTP 503" in (await stage.row(ven)).unreachable_why
    ven.status = 200
    await stage.after(minutes=5)
    assert len(ven.heard) == 4
    assert (await stage.row(ven)).unreachable_at is None


async def test_after_a_restart_another_process_pushes_what_waits(stage):
    ven = await stage.older()
    await ven.stop()
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert stage.noted[-1].status is None
    await stage.sender.close()
    await ven.start()
    stage.sender = stage.make()
    stage.world.directory.resync()
    await stage.after(minutes=1)
    assert ven.at("//ei:signalName/text()") == ["SIMPLE"]


async def test_se05_nothing_is_sent_to_a_server_with_another_certificate(stage):
    ven = await stage.older(shows="other")
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert ven.heard == []
    assert b"not registered for this VEN" in stage.noted[-1].answer


async def test_an_address_that_is_not_allowed_any_more_is_not_called(stage):
    ven = await stage.older()
    stage.sender = stage.make(Addresses())
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert ven.heard == []
    assert b"not a public address" in stage.noted[-1].answer


async def test_what_2_0a_cannot_carry_is_left_out_and_does_not_count_as_sent(stage):
    ven = await stage.older()
    await stage.world.dispatch(ven, signals=(power(-1000.0),))
    await stage.world.dispatch(ven, signals=(simple(1.0),), target=Target(device_classes=("Thermostat",)))
    await stage.turn()
    assert ven.at("//oadr:oadrEvent") == []
    assert {row.first_sent_at for row in await stage.world.rows("delivery")} == {None}
    assert await stage.world.outbox(ven) == {("events_changed", ""): "done"}
    await stage.world.dispatch(ven, signals=(simple(1.0),))
    await stage.turn()
    assert len(ven.at("//oadr:oadrEvent")) == 1


async def test_a_change_and_a_cancellation_are_pushed(stage):
    ven = await stage.older()
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    await stage.says(ven, ven.created("optIn"))
    (row,) = await stage.world.rows("dispatch")
    async with stage.world.tx() as tx:
        await dispatch.change(tx, row.id, stage.world.now, who="ann", signals=(simple(1.0),))
    await stage.turn()
    assert ven.at("//ei:modificationNumber/text()") == ["1"]
    assert ven.at("//ei:signalPayload//ei:value/text()") == ["1.0"]
    async with stage.world.tx() as tx:
        await dispatch.cancel(tx, row.id, stage.world.now, who="ann")
    await stage.turn()
    assert ven.at("//ei:eventStatus/text()") == ["cancelled"]
    await stage.says(ven, ven.created("optIn"))
    assert await stage.world.outbox(ven) == {("events_changed", ""): "done"}


async def test_it_may_ask_for_its_events_all_the_same(stage):
    ven = await stage.older()
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    _, answered = await stage.says(ven, ven.asks())
    assert b"SIMPLE" in answered
    row = await stage.row(ven)
    assert (row.mode, row.address) == ("push", ven.address)
    await stage.turn()
    assert ven.heard == []


async def test_without_an_address_it_asks_again(stage):
    ven = await stage.older()
    await stage.push_to(ven, None)
    row = await stage.row(ven)
    assert (row.protocol_version, row.mode, row.address) == ("2.0a", "pull", None)
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert ven.heard == []
    actions = [row.action for row in await stage.world.rows("audit") if row.who == "ann"]
    assert actions == ["register", "set push address", "set push address"]


async def test_it_is_online_from_when_it_took_a_message(stage):
    ven = await stage.older()

    async def presence():
        await stage.world.directory.flush_seen()
        async with stage.world.db.read() as conn:
            return (await fleet.one(conn, ven.ven_id, stage.world.now, 60.0)).presence

    assert await presence() == Presence.OFFLINE
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    assert await presence() == Presence.ONLINE
    stage.world.later(hours=9)
    assert await presence() == Presence.ONLINE, "it may be silent"


async def test_another_address_ends_a_pause(stage):
    ven = await stage.older()
    ven.status = 500
    await stage.world.dispatch(ven, signals=(simple(2.0),))
    await stage.turn()
    ven.status = 200
    await stage.push_to(ven, f"{ven.address}/")
    await stage.turn()
    assert len(ven.heard) == 2


async def test_a_ven_of_2_0b_says_its_address_itself(stage):
    registered = await stage.world.ven("newer")
    with pytest.raises(ConflictError, match="itself"):
        await stage.push_to(registered, "https://127.0.0.1")
    with pytest.raises(NotFoundError):
        await stage.push_to(OlderVen("nobody", None), "https://127.0.0.1")
    ven = await stage.older()
    async with stage.world.tx() as tx:
        await registration.register(tx, ven.ven_id, VenProfile(), None, stage.world.now)
    row = await stage.row(ven)
    assert (row.protocol_version, row.mode, row.address) == ("2.0b", "pull", None)


async def test_se08_one_that_must_sign_is_not_pushed_to(stage):
    fresh = await stage.world.ven("fresh", register=False)
    async with stage.world.tx() as tx:
        await set_policy(tx, fresh.ven_id, SignaturePolicy.REQUIRED, stage.world.now, who="ann")
    with pytest.raises(ConflictError, match="no signatures"):
        await stage.push_to(fresh, "https://127.0.0.1")
    assert (await stage.row(fresh)).registration_id is None


async def test_its_registration_ends_at_once_since_it_cannot_be_told(stage):
    ven = await stage.older()
    async with stage.world.tx() as tx:
        with pytest.raises(ConflictError, match="no registration"):
            await registration.ask_to_reregister(tx, ven.ven_id, stage.world.now, who="ann")
        await registration.ask_to_cancel(tx, ven.ven_id, stage.world.now, who="ann")
    assert (await stage.row(ven)).registration_id is None
    assert await stage.world.outbox(ven) == {}


async def test_what_only_2_0b_has_is_given_up(stage):
    ven = await stage.older()
    async with stage.world.tx() as tx:
        await outbox.put(tx, ven.ven_id, Intent.REPORTS_OFFERED, stage.world.now)
    await stage.turn()
    assert ven.heard == []
    assert await stage.world.outbox(ven) == {("reports_offered", ""): "dead"}
