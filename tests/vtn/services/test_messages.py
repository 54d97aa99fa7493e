"""What holds for all payloads (catalogue GN)."""

import pytest
from structlog.testing import capture_logs

from core.errors import UnavailableError
from core.spans import Duration
from openadr.model.event import EventStatus
from openadr.model.opt import Availability, Opt, OptType
from openadr.model.registration import VenProfile, VtnProfile
from openadr.model.report import ReportDescription, ReportOffer, SamplingRate
from openadr.model.signal import Signal
from openadr.v20b import messages as m
from support.vtn_world import HOUR, MINUTE, NOON, data, intervals, usage
from vtn.services.settings import VtnSettings, WantedReport
from vtn.transport.peer import Peer
from vtn.transport.v20b.service import Vtn20b


@pytest.fixture
def settings():
    return VtnSettings("vtn", wanted_reports=(WantedReport("TELEMETRY_USAGE", MINUTE, MINUTE),))


def opt(**more):
    what = {"opt_id": "o", "opt_type": OptType.OUT, "reason": "economic", "created_at": NOON}
    return Opt(**what | {"availability": (Availability(NOON, HOUR),)} | more)


@pytest.mark.parametrize("request_id", ["", "0", "None", "r" * 300, "ü<&>\"'"])
async def test_gn06_the_request_id_is_echoed(world, request_id):
    ven = await world.ven()
    (asked,) = await ven.offer(usage("meter"))
    good = [
        m.QueryRegistration(request_id),
        m.CreatePartyRegistration(request_id, VenProfile(), ven.registration_id, ven.ven_id),
        m.RequestEvent(ven.ven_id, request_id),
        m.CreateOpt(ven.ven_id, request_id, opt()),
        m.CancelOpt(ven.ven_id, request_id, "o"),
        m.UpdateReport(request_id, (data(asked, NOON, 1.0),), ven.ven_id),
        m.RegisterReport(request_id, (), ven.ven_id),
    ]
    bad = [
        m.RequestEvent("none such", request_id),
        m.CreateOpt(ven.ven_id, request_id, opt(availability=())),
        m.CancelOpt(ven.ven_id, request_id, "none such"),
        m.UpdateReport(request_id, (data("none such", NOON, 1.0),), ven.ven_id),
        m.CancelReport(request_id, ("none such",), ven_id=ven.ven_id),
        m.CancelPartyRegistration(request_id, "none such", ven.ven_id),
        m.CreatePartyRegistration(request_id, VenProfile(), "none such", ven.ven_id),
    ]
    for message in good + bad:
        answer = await ven.say(message)
        assert answer.response.request_id == request_id, message
        assert answer.response.ok == (message in good), answer


async def test_gn06_a_poll_has_no_request_id_and_its_answer_an_empty_one(world):
    ven = await world.ven()
    assert (await ven.poll()).response.request_id == ""
    assert ven.xpath("//pyld:requestID/text()") == []
    assert (await ven.say(m.Poll("none such"))).response.request_id == ""
    await world.dispatch(ven)
    assert (await ven.poll()).response.request_id == ""


async def test_gn09_ids_compare_byte_for_byte(world):
    ven = await world.ven()
    for other in (ven.ven_id.upper(), ven.ven_id.title(), f"{ven.ven_id} ", f"0{ven.ven_id}"):
        assert (await ven.say(m.Poll(other))).response.code == 452


async def test_gn14_values_of_ones_own_are_taken(any_world):
    world = any_world
    ven = await world.ven()
    own = Signal("x-kettle", "level", "k", intervals(7))
    await world.dispatch(ven, signals=(own,))
    (one,) = await ven.events()
    assert (one.event.signals[0].name, one.event.signals[0].type) == ("x-kettle", "level")
    assert (await ven.say(m.CreateOpt(ven.ven_id, "q", opt(reason="x-tired")))).response.code == 200
    line = ReportDescription("r", "x-mood", "x-felt", sampling=SamplingRate(MINUTE, HOUR))
    offer = ReportOffer("mood", "x-MOOD_REPORT", HOUR, (line,), NOON)
    assert (await ven.say(m.RegisterReport("q", (offer,), ven.ven_id))).response.code == 200


def not_for_a_vtn(ven):
    ven_id, fine = ven.ven_id, m.Response()
    return [
        m.DistributeEvent("vtn", "q", (), fine),
        m.CreatedOpt(fine, "o"),
        m.CanceledOpt(fine, "o"),
        m.CreatedPartyRegistration(fine, VtnProfile("vtn"), "reg", ven_id),
        m.RequestReregistration(ven_id),
    ]


async def test_gn15_what_only_a_vtn_says_is_refused(world):
    ven = await world.ven()
    before = await world.dump()
    for message in not_for_a_vtn(ven):
        service = m.SERVICES.get(type(message), "EiRegisterParty")
        assert (await ven.say(message, service)).response.code == 459, message
    assert await world.dump() == before


async def test_gn15_a_message_at_the_wrong_service_is_refused(world):
    ven = await world.ven()
    await world.dispatch(ven)
    before = await world.dump()
    for message, service in (
        (m.Poll(ven.ven_id), "EiEvent"),
        (m.RequestEvent(ven.ven_id, "q"), "OadrPoll"),
        (m.RegisterReport("q", (), ven.ven_id), "EiEvent"),
        (m.CreatePartyRegistration("q", VenProfile()), "EiReport"),
        (m.OadrResponse(m.Response(), ven.ven_id), "OadrPoll"),
    ):
        assert (await ven.say(message, service)).response.code == 459, message
    assert await world.dump() == before


async def test_gn11_each_refusal_is_logged_once(world):
    ven = await world.ven()
    for message in (m.Poll("none such"), m.CancelOpt(ven.ven_id, "q", "none such"), m.RequestReregistration("x")):
        with capture_logs() as logs:
            answer = await ven.say(message)
        assert [(one["log_level"], one["code"]) for one in logs] == [("warning", answer.response.code)]


async def test_two_vens_with_everything_going_on_stay_apart(any_world):
    world = any_world
    one, other = await world.ven(), await world.ven()
    (mine,) = await one.offer(usage("meter"))
    (theirs,) = await other.offer(usage("meter"))
    await world.dispatch(one, other)
    (my_event,), (their_event,) = await one.events(), await other.events()
    await one.opt(my_event, OptType.OUT)
    await other.opt(their_event, OptType.IN)
    await one.report(data(mine, NOON, 1.0))
    await other.report(data(theirs, NOON, 2.0))
    await one.say(m.CancelPartyRegistration("c", one.registration_id, one.ven_id))
    listed = await other.say(m.RequestEvent(other.ven_id, "q"))
    assert [(it.event.event_id, it.status) for it in listed.events] == [(their_event.event.event_id, EventStatus.FAR)]
    assert {(row.ven_id, row.opt_type) for row in await world.rows("opt")} == {
        (one.ven_id, "optOut"),
        (other.ven_id, "optIn"),
    }
    owner = {row.id: row.ven_id for row in await world.rows("series")}
    assert {(owner[row.series_id], *row.values) for row in await world.rows("chunk")} == {
        (one.ven_id, 1),
        (other.ven_id, 2),
    }
    assert (await other.report(data(theirs, NOON, 3.0))).response.code == 200


async def test_an_insecure_listener_takes_the_ven_from_the_message(world):
    ven = await world.ven()
    nobody = Peer()
    assert (await ven.say(m.Poll(ven.ven_id), peer=nobody)).response.code == 200
    assert (await ven.say(m.Poll("none such"), peer=nobody)).response.code == 463
    assert await world.rows("waiting_certificate") == []


async def test_on_an_insecure_listener_a_first_registration_names_the_ven_by_its_name(world):
    ven, nobody = await world.ven("Zoë's hütte", register=False), Peer()
    told = await ven.say(m.QueryRegistration("q"), peer=nobody)
    assert (told.response.code, told.vtn.vtn_id, told.registration_id, told.ven_id) == (200, "vtn", None, None)
    for name in (None, "", "hütte"):
        first = m.CreatePartyRegistration("q", VenProfile(ven_name=name))
        assert (await ven.say(first, peer=nobody)).response.code == 463
    for name in ("Zoë's hütte", ven.ven_id):
        given = await ven.say(m.CreatePartyRegistration("q", VenProfile(ven_name=name)), peer=nobody)
        assert (given.response.code, given.ven_id) == (200, ven.ven_id)
        assert given.registration_id
    assert isinstance(await ven.say(m.Poll(ven.ven_id), peer=nobody), m.RegisterReport)
    assert await world.rows("waiting_certificate") == []


async def test_with_a_certificate_the_name_is_only_a_name(world):
    ven, other = await world.ven("one", register=False), await world.ven("other", register=False)
    stranger = Peer("AA:AA:AA:AA:AA:AA:AA:AA:AA:FF", "a stranger")
    first = m.CreatePartyRegistration("q", VenProfile(ven_name="other"))
    assert (await ven.say(first, peer=stranger)).response.code == 463
    assert (await ven.say(first)).ven_id == ven.ven_id != other.ven_id


async def test_a_refusal_names_the_element_as_it_is_called(world):
    ven = await world.ven()
    answer = await ven.say(m.OadrResponse(m.Response(), ven.ven_id), "OadrPoll")
    assert answer.response.description == "oadrResponse is not for OadrPoll of a VTN."


async def test_strict_mode_is_the_vens_or_everybodys(world):
    loose, strict = await world.ven(), await world.ven(strict=True)
    assert [world.vtn.is_strict_for(await world.vtn.known_by(one.peer)) for one in (loose, strict)] == [False, True]
    everybody = Vtn20b(world.writer, world.directory, VtnSettings("vtn", strict=True), world.clock, world.faults)
    assert [everybody.is_strict_for(await everybody.known_by(one.peer)) for one in (loose, strict)] == [True, True]


async def test_nothing_is_acknowledged_that_could_not_be_stored(world):
    ven = await world.ven()
    (asked,) = await ven.offer(usage("meter"))
    await world.writer.close()
    for message in (
        m.UpdateReport("u", (data(asked, NOON, 1.0),), ven.ven_id),
        m.CreateOpt(ven.ven_id, "q", opt()),
        m.RequestEvent(ven.ven_id, "q"),
    ):
        with pytest.raises(UnavailableError):
            await ven.say(message)
    assert await world.rows("chunk") == []


async def test_durations_and_poll_period_reach_the_ven(world):
    ven = await world.ven(register=False)
    assert (await ven.register()).vtn.poll_freq == Duration.of(seconds=10)
