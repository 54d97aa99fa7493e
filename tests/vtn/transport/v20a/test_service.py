"""A 2.0a VEN at the listener: it asks for its events and answers them, and that is all (catalogue chapter PA)."""

from datetime import timedelta

import pytest
from lxml import etree

from openadr.model.opt import OptType
from openadr.model.registration import SignaturePolicy
from openadr.signature.values import SignatureError
from openadr.v20a.names import NAMESPACES
from support.vtn_world import power, simple
from vtn.services import opt, provisioning
from vtn.services.signatures import set_policy
from vtn.transport.peer import Peer
from vtn.transport.v20a.service import PATH, Vtn20a

DECLARED = "".join(f' xmlns:{prefix}="{namespace}"' for prefix, namespace in NAMESPACES.items())


def request(ven_id, limit=""):
    return (
        f"<oadr:oadrRequestEvent{DECLARED}><pyld:eiRequestEvent><pyld:requestID>r1</pyld:requestID>"
        f"<ei:venID>{ven_id}</ei:venID>{limit}</pyld:eiRequestEvent></oadr:oadrRequestEvent>"
    ).encode()


def answer(ven_id, request_id, event_id, number=0, opt_type="optIn"):
    return (
        f"<oadr:oadrCreatedEvent{DECLARED}><pyld:eiCreatedEvent><ei:eiResponse><ei:responseCode>200</ei:responseCode>"
        f"<pyld:requestID/></ei:eiResponse><ei:eventResponses><ei:eventResponse><ei:responseCode>200</ei:responseCode>"
        f"<pyld:requestID>{request_id}</pyld:requestID><ei:qualifiedEventID><ei:eventID>{event_id}</ei:eventID>"
        f"<ei:modificationNumber>{number}</ei:modificationNumber></ei:qualifiedEventID><ei:optType>{opt_type}</ei:optType>"
        f"</ei:eventResponse></ei:eventResponses><ei:venID>{ven_id}</ei:venID></pyld:eiCreatedEvent>"
        "</oadr:oadrCreatedEvent>"
    ).encode()


class Older:
    """A VEN that only speaks 2.0a: created by the operator, and never registered."""

    def __init__(self, world, ven_id, peer):
        self.world, self.ven_id, self.peer = world, ven_id, peer
        self.vtn = Vtn20a(world.vtn, world.writer, world.directory, world.clock)

    async def say(self, body, peer=None):
        _, answered = await self.vtn.answer(peer or self.peer, body)
        self.root = etree.fromstring(answered)
        return self.root

    def at(self, path):
        return self.root.xpath(path, namespaces=NAMESPACES)

    async def row(self):
        (row,) = await self.world.rows("ven", id=self.ven_id)
        return row


@pytest.fixture
async def older(world):
    async with world.tx() as tx:
        ven_id = await provisioning.create_ven(tx, "older", world.now, who="test")
        await provisioning.add_fingerprint(tx, ven_id, "AA:" * 9 + "AA", world.now, who="test")
    return Older(world, ven_id, Peer("AA:" * 9 + "AA"))


async def test_its_first_message_registers_it(older):
    await older.say(request(older.ven_id))
    assert older.at("local-name()") == "oadrDistributeEvent"
    assert older.at("//ei:responseCode/text()") == ["200"]
    row = await older.row()
    assert (row.protocol_version, row.mode) == ("2.0a", "pull")
    registration = row.registration_id
    assert registration
    await older.say(request(older.ven_id))
    assert (await older.row()).registration_id == registration
    assert await older.world.rows("outbox", ven_id=older.ven_id) == []  # nothing waits for polls that never come


@pytest.mark.parametrize("registered", [False, True])
async def test_se08_of_a_ven_that_must_sign_nothing_is_taken_in(older, registered):
    if registered:
        await older.say(request(older.ven_id))
        await older.world.dispatch(older)
    async with older.world.tx() as tx:
        await set_policy(tx, older.ven_id, SignaturePolicy.REQUIRED, older.world.now, who="ann")
    before = await older.world.dump()
    with pytest.raises(SignatureError, match="must sign"):
        await older.say(request(older.ven_id))
    assert await older.world.dump() == before


async def test_an_event_is_fetched_answered_changed_and_cancelled(older):
    await older.say(request(older.ven_id))
    dispatch_id = await older.world.dispatch(older, signals=(simple(2.0), power(-1500.0)))
    await older.say(request(older.ven_id))
    assert older.at("//ei:signalName/text()") == ["SIMPLE"]
    (event_id,), (request_id,) = older.at("//ei:eventID/text()"), older.at("/*/pyld:requestID/text()")
    await older.say(answer(older.ven_id, request_id, event_id, opt_type="optOut"))
    assert older.at("local-name()") == "oadrResponse"
    assert older.at("//ei:responseCode/text()") == ["200"]
    async with older.world.db.read() as conn:
        (opted,) = (await opt.effective(conn, dispatch_id)).values()
    assert opted[0] is OptType.OUT
    assert [row.state for row in await older.world.rows("outbox", ven_id=older.ven_id)] == ["done"]
    older.world.later(hours=1, minutes=30)
    await older.say(request(older.ven_id))
    assert older.at("//ei:eventStatus/text()") == ["active"]
    assert older.at("//ei:currentValue//ei:value/text()") == ["2.0"]


async def test_what_it_says_wrong_is_refused_in_its_words(older):
    await older.say(request(older.ven_id))
    await older.say(answer(older.ven_id, "r", "evt_nobody"))
    assert older.at("local-name()") == "oadrResponse"
    assert older.at("//ei:responseCode/text()") == ["452"]  # EV-48
    await older.say(request("ven_nobody"))
    assert (older.at("local-name()"), older.at("//ei:responseCode/text()")) == ("oadrDistributeEvent", ["452"])
    await older.say(request(older.ven_id), Peer("BB:" * 9 + "BB"))
    assert older.at("//ei:responseCode/text()") == ["463"]


async def test_a_ven_of_2_0b_may_ask_and_stays_what_it_is(world):
    ven = await world.ven("newer")
    await ven.drain()
    await world.dispatch(ven, signals=(simple(1.0),), starts_in=timedelta(hours=2))
    await world.dispatch(ven, signals=(power(-500.0),), starts_in=timedelta(hours=4))
    older = Older(world, ven.ven_id, ven.peer)
    await older.say(request(ven.ven_id, "<pyld:replyLimit>1</pyld:replyLimit>"))
    assert len(older.at("//ei:eventID")) == 1
    assert (await older.row()).protocol_version == "2.0b"
    assert len((await ven.poll()).events) == 2  # of which 2.0a could not tell one


async def test_over_http_with_the_statuses_of_the_transport(line):
    status, body, headers = await line.send(request(line.home.ven_id), path=PATH, headers=None)
    assert (status, headers["Content-Type"]) == (200, "application/xml")
    assert etree.fromstring(body).tag == "{http://openadr.org/oadr-2.0a/2012/07}oadrDistributeEvent"
    asked = {"Content-Type": "application/xml", "Accept-Encoding": "gzip"}
    status, _, headers = await line.send(request(line.home.ven_id), path="/x/.." + PATH, headers=asked)
    assert (status, headers.get("Content-Encoding")) == (200, "gzip")  # TR-08
    await line.refuses(501, path=PATH, method="GET", note="TR-04")
    await line.refuses(406, b"<oadrPoll/>", path=PATH, note="TR-05")
    await line.refuses(406, request("x"), path=PATH, headers={"Content-Type": "text/plain"})
    await line.refuses(404, path="/OpenADR2/Simple/EiReport")
