"""EiRegisterParty (catalogue RG), and who a certificate is (SE-07)."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from core.errors import ConflictError, NotFoundError
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.registration import Profile, Transport, VenProfile
from openadr.model.report import METADATA, ReportRequest
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedPartyRegistration,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdateReport,
)
from support.vtn_world import HOUR, MINUTE, NOON, data, fake_fingerprint, usage
from vtn.services import provisioning, registration
from vtn.services.settings import VtnSettings, WantedReport
from vtn.store.tables import ven_certificate
from vtn.transport.peer import Peer


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


async def registered(world):
    return [row.registration_id for row in await world.rows("ven")]


async def test_rg02_a_query_tells_ids_only_to_the_registered(world):
    ven = await world.ven(register=False)
    answer = await ven.say(QueryRegistration("q"))
    assert isinstance(answer, CreatedPartyRegistration)
    assert (answer.response.code, answer.response.request_id) == (200, "q")
    assert (answer.registration_id, answer.ven_id, answer.vtn.vtn_id) == (None, None, "vtn")
    assert answer.vtn.profiles == ((Profile.B, (Transport.SIMPLE_HTTP,)), (Profile.A, (Transport.SIMPLE_HTTP,)))
    assert await registered(world) == [None]
    given = await ven.register()
    answer = await ven.say(QueryRegistration(""))
    assert (answer.registration_id, answer.ven_id) == (given.registration_id, ven.ven_id)
    assert answer.response.request_id == ""


async def test_rg03_a_first_registration_names_no_ids_or_the_right_ven_id(world):
    ven, other = await world.ven(register=False), await world.ven(register=False)
    profile = VenProfile()
    assert (await ven.say(CreatePartyRegistration("q", profile, None, "none such"))).response.code == 452
    assert (await ven.say(CreatePartyRegistration("q", profile, None, other.ven_id))).response.code == 463
    assert (await ven.say(CreatePartyRegistration("q", profile, "none such"))).response.code == 452
    assert await registered(world) == [None, None]
    assert (await ven.say(CreatePartyRegistration("q", profile, None, ven.ven_id))).response.code == 200


@pytest.mark.parametrize(
    "profile",
    [
        {"http_pull": False, "transport_address": "https://home"},
        {"http_pull": False},
        {"http_pull": None, "transport_address": "https://home"},
        {"transport": Transport.XMPP, "transport_address": "home@xmpp/oadr"},
        {"profile": Profile.A},
        {"xml_signature": True},
    ],
    ids=["push", "push without address", "push by address", "XMPP", "2.0a", "signatures"],
)
async def test_rg04_what_is_not_served_is_refused(world, profile):
    ven = await world.ven(register=False)
    answer = await ven.register(**profile)
    assert answer.response.code == 459
    assert (answer.registration_id, answer.ven_id) == (None, None)
    assert await registered(world) == [None]


async def test_rg05_the_answer_names_everything(world):
    ven = await world.ven(register=False)
    answer = await ven.register(ven_name="Zoë's hütte 家")
    assert (answer.response.code, answer.ven_id, answer.vtn.vtn_id) == (200, ven.ven_id, "vtn")
    assert answer.registration_id
    assert answer.vtn.poll_freq == world.settings.poll_period
    assert answer.vtn.profiles == ((Profile.B, (Transport.SIMPLE_HTTP,)), (Profile.A, (Transport.SIMPLE_HTTP,)))
    (row,) = await world.rows("ven")
    assert row.profile["ven_name"] == "Zoë's hütte 家"
    assert (row.protocol_version, row.mode, row.address) == ("2.0b", "pull", None)


async def test_how_a_ven_is_reached_is_what_it_said_last(world):
    """Whether a version or a mode is served, its transport says; the service keeps what it is told."""
    ven = await world.ven()
    for profile, *said in (
        (VenProfile(Profile.A, http_pull=False, transport_address="https://ven/"), "2.0a", "push", "https://ven/"),
        (VenProfile(http_pull=None, transport_address="https://ven/"), "2.0b", "push", "https://ven/"),
        (VenProfile(transport=Transport.XMPP, transport_address="ven@home"), "2.0b", "push", "ven@home"),
        (VenProfile(http_pull=True, transport_address="https://ven/"), "2.0b", "pull", None),
        (VenProfile(http_pull=None), "2.0b", "pull", None),
    ):
        for registration_id in (ven.registration_id, None):
            async with world.tx() as tx:
                await registration.register(tx, ven.ven_id, profile, registration_id, world.now)
            (row,) = await world.rows("ven")
            assert [row.protocol_version, row.mode, row.address] == said


async def test_rg06_rg07_a_reregistration_keeps_the_id_and_everything_else(any_world):
    world = any_world
    ven = await world.ven()
    asked = await ven.offer(usage("meter"))
    await world.dispatch(ven)
    before = await world.dump()
    for _ in range(2):
        answer = await ven.say(CreatePartyRegistration("q", VenProfile(), ven.registration_id, ven.ven_id))
        assert (answer.response.code, answer.registration_id) == (200, ven.registration_id)
    assert await world.dump() == before
    assert (await ven.report(data(asked[0], NOON, 1.0))).response.code == 200


async def test_rg08_a_registration_without_ids_starts_afresh(any_world):
    world = any_world
    ven = await world.ven()
    (old,) = await ven.offer(usage("meter"))
    await ven.report(data(old, NOON, 1.0))
    await world.dispatch(ven)
    await ven.register()
    assert await world.rows("report_offer") == []
    assert await world.rows("report_request") == []
    assert [type(one) for one in await ven.drain()] == [RegisterReport, DistributeEvent]
    assert (await ven.report(data(old, NOON, 2.0))).response.code == 452
    (chunk,) = await world.rows("chunk")
    assert chunk.values == [1], "readings stay"
    (new,) = await ven.offer(usage("meter"))
    assert new.request_id != old.request_id
    assert (await ven.report(data(new, NOON, 2.0))).response.code == 200


async def test_tr12_a_first_registration_sent_twice_gives_the_same_ids(world):
    ven = await world.ven(register=False)
    one, two = await ven.register(), await ven.register()
    assert (one.registration_id, one.ven_id) == (two.registration_id, two.ven_id)


async def test_rg09_a_reregistration_request_comes_out_of_a_poll(world):
    ven = await world.ven()
    async with world.tx() as tx:
        await registration.ask_to_reregister(tx, ven.ven_id, world.now, who="test")
    message = await ven.poll()
    assert isinstance(message, RequestReregistration)
    assert message.ven_id == ven.ven_id


async def test_rg10_a_cancelled_registration_is_forgotten(any_world):
    world = any_world
    ven = await world.ven()
    (asked,) = await ven.offer(usage("meter"))
    answer = await ven.say(CancelPartyRegistration("q", ven.registration_id, ven.ven_id))
    assert isinstance(answer, CanceledPartyRegistration)
    assert (answer.response.code, answer.response.request_id) == (200, "q")
    assert (answer.registration_id, answer.ven_id) == (ven.registration_id, ven.ven_id)
    assert await registered(world) == [None]
    assert await world.rows("report_offer") == await world.rows("report_request") == []
    assert (await ven.poll()).response.code == 463
    assert (await ven.report(data(asked, NOON, 1.0))).response.code == 463
    old = ven.registration_id
    assert (await ven.register()).registration_id != old


@pytest.mark.parametrize("wrong", ["none such", "of another VEN", "other case", ""])
async def test_rg11_a_cancellation_with_a_wrong_id_is_452_and_changes_nothing(world, wrong):
    ven, other = await world.ven(), await world.ven()
    named = {"of another VEN": other.registration_id, "other case": ven.registration_id.upper()}.get(wrong, wrong)
    before = await world.dump()
    answer = await ven.say(CancelPartyRegistration("q", named, ven.ven_id))
    assert isinstance(answer, CanceledPartyRegistration)
    assert answer.response.code == 452
    answer = await ven.say(CancelPartyRegistration("q", ven.registration_id, "none such"))
    assert answer.response.code == 452
    assert await world.dump() == before


def everything(ven):
    """Return one of each request that only registered VENs may send."""
    ven_id = ven.ven_id
    spoken = Opt("o", OptType.OUT, "economic", NOON, availability=(Availability(NOON, HOUR),))
    return [
        Poll(ven_id),
        RequestEvent(ven_id, "q"),
        CreatedEvent(ven_id),
        CreateOpt(ven_id, "q", spoken),
        CancelOpt(ven_id, "q", "o"),
        RegisterReport("q", (usage("m"),), ven_id),
        CreateReport("q", (ReportRequest("m", METADATA, ()),), ven_id),
        UpdateReport("q", (data("r", NOON, 1.0),), ven_id),
        CancelReport("q", ("r",), ven_id=ven_id),
        CancelPartyRegistration("q", "reg", ven_id),
        OadrResponse(Response(), ven_id),
    ]  # fmt: skip


ANSWERS = {
    "Poll": "OadrResponse",
    "RequestEvent": "DistributeEvent",
    "CreatedEvent": "OadrResponse",
    "CreateOpt": "CreatedOpt",
    "CancelOpt": "CanceledOpt",
    "RegisterReport": "RegisteredReport",
    "CreateReport": "CreatedReport",
    "UpdateReport": "UpdatedReport",
    "CancelReport": "CanceledReport",
    "CancelPartyRegistration": "CanceledPartyRegistration",
    "OadrResponse": "OadrResponse",
}


async def test_rg14_the_unregistered_get_463_in_the_fitting_answer(world):
    ven = await world.ven(register=False)
    before = await world.dump()
    for message in everything(ven):
        answer = await ven.say(message)
        assert type(answer).__name__ == ANSWERS[type(message).__name__]
        assert answer.response.code == 463, message
    assert await world.dump() == before


async def test_rg15_gn08_a_wrong_ven_id_inside_gets_452_in_the_fitting_answer(world):
    ven = await world.ven()
    before = await world.dump()
    for wrong in ("none such", ven.ven_id.upper()):
        for message in everything(ven):
            answer = await ven.say(type(message)(**_with_ven_id(message, wrong)))
            assert type(answer).__name__ == ANSWERS[type(message).__name__]
            assert answer.response.code == 452, message
    assert await world.dump() == before


async def test_se07_another_vens_id_inside_gets_463(world):
    ven, other = await world.ven(), await world.ven()
    before = await world.dump()
    for message in everything(ven):
        answer = await ven.say(type(message)(**_with_ven_id(message, other.ven_id)))
        assert answer.response.code == 463, message
    assert await world.dump() == before


def _with_ven_id(message, ven_id):
    return {name: getattr(message, name) for name in message.__slots__} | {"ven_id": ven_id}


async def test_rg16_our_cancellation_comes_out_of_a_poll_and_counts_when_answered(world):
    ven = await world.ven()
    async with world.tx() as tx:
        await registration.ask_to_cancel(tx, ven.ven_id, world.now, who="test")
    message = await ven.poll()
    assert isinstance(message, CancelPartyRegistration)
    assert (message.registration_id, message.ven_id) == (ven.registration_id, ven.ven_id)
    refusal = CanceledPartyRegistration(Response(452, "no", message.request_id), "x", ven.ven_id)
    assert (await ven.say(refusal)).response.code == 200
    assert await registered(world) == [ven.registration_id]
    answer = CanceledPartyRegistration(Response(200, "OK", message.request_id), ven.registration_id, ven.ven_id)
    assert (await ven.say(answer)).response.code == 200
    assert await registered(world) == [None]
    assert (await ven.poll()).response.code == 463


async def test_a_cancellation_nobody_asked_for_is_no_cancellation(world):
    ven = await world.ven()
    await ven.say(CanceledPartyRegistration(Response(), ven.registration_id, ven.ven_id))
    assert await registered(world) == [ven.registration_id]


async def test_only_the_registered_are_asked_to_do_anything(world):
    ven = await world.ven(register=False)
    for ask in (registration.ask_to_reregister, registration.ask_to_cancel):
        with pytest.raises(NotFoundError):
            async with world.tx() as tx:
                await ask(tx, ven.ven_id, world.now, who="test")


async def test_a_message_without_ven_id_is_the_certificates(world):
    ven, strict = await world.ven(), await world.ven(strict=True)
    (asked,) = await ven.offer(usage("meter"))
    assert (await ven.say(UpdateReport("u", (data(asked, NOON, 1.0),)))).response.code == 200
    (theirs,) = await strict.offer(usage("meter"))
    answer = await strict.say(UpdateReport("u", (data(asked, NOON, 9.0),)))
    assert answer.response.code == 452, "strict VENs must say who they are"
    answer = await ven.say(UpdateReport("u", (data(theirs, NOON, 9.0),)))
    assert answer.response.code == 452, "another VEN's report is not reached by leaving the venID out"
    assert [row.values for row in await world.rows("chunk")] == [[1]]


async def test_several_certificates_speak_for_a_ven_until_they_are_revoked(world):
    ven = await world.ven()
    newer = Peer(fake_fingerprint(99))
    async with world.tx() as tx:
        await provisioning.add_fingerprint(tx, ven.ven_id, newer.fingerprint, world.now, who="test")
    assert (await ven.poll()).response.code == 200
    assert (await ven.say(Poll(ven.ven_id), peer=newer)).response.code == 200
    async with world.tx() as tx:
        await provisioning.revoke_certificate(tx, ven.peer.fingerprint, world.now, who="test")
    assert (await ven.poll()).response.code == 463
    assert (await ven.say(Poll(ven.ven_id), peer=newer)).response.code == 200


async def test_se04_a_certificate_that_has_expired_since_is_refused(world):
    ven = await world.ven()
    async with world.tx() as tx:
        past = datetime.now(UTC) - timedelta(seconds=1)
        await tx.conn.execute(update(ven_certificate).values(not_after=past))
        tx.changed(ven.ven_id)
    assert (await ven.poll()).response.code == 463


async def test_se07_a_certificate_belongs_to_one_ven(world):
    ven, other = await world.ven(), await world.ven()
    with pytest.raises(ConflictError):
        async with world.tx() as tx:
            await provisioning.add_fingerprint(tx, other.ven_id, ven.peer.fingerprint, world.now, who="test")


async def test_a_removed_ven_is_a_stranger(any_world):
    world = any_world
    ven = await world.ven()
    await world.dispatch(ven)
    async with world.tx() as tx:
        await provisioning.remove_ven(tx, ven.ven_id, world.now, who="test")
    assert (await ven.poll()).response.code == 463
    assert set((await world.outbox(ven)).values()) == {"done"}
    with pytest.raises(ConflictError, match="was removed"):
        await world.dispatch(ven)


async def test_who_was_seen_is_written_together(world):
    vens = [await world.ven() for _ in range(2)]
    world.later(minutes=5)
    for ven in vens:
        await ven.poll()
    await world.directory.flush_seen()
    assert [row.last_seen_at for row in await world.rows("ven")] == [world.now] * 2
