"""A whole gateway in one process: a broker of our own, a VTN at a socket, real files."""

import asyncio
import json
from collections import defaultdict
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from bridges.backfill_request import request_topic
from bridges.backoff import Backoff
from bridges.connections import Message
from core.clock import ManualClock, system_clock
from core.errors import ConflictError, NotFoundError
from core.spans import Duration
from openadr.model.assessment import REPORT_NAME
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.opt import OptType
from openadr.model.registration import VtnProfile
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    CancelOpt,
    CreatedEvent,
    CreatedPartyRegistration,
    CreateOpt,
    CreatePartyRegistration,
    DistributeEvent,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    RequestReregistration,
    Response,
    UpdatedReport,
    UpdateReport,
)
from support.waiting import until
from ven import executor, ingest, vtn_session
from ven import gateway as gateways
from ven.assessment import HOW_TO_INSTALL, Assessments
from ven.gateway import Gateway, _trusted
from ven.household import Listen, Mode, Quiet
from ven.readings_store import Ring
from ven.status import as_lines, open_store, read_status
from ven.supervision import run_gateways
from ven.vitals_watch import VitalsWatch

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Broker:
    """A link whose devices obey: a Shelly and a HEMS actuator that report what they were told."""

    connected = True
    heard_s = None

    def __init__(self, clock):
        self.clock = clock
        self.handlers = defaultdict(list)
        self.switched = []
        self.states = {"heater": "on", "plug": "on"}

    async def publish(self, topic, payload, qos=1, *, retain=False):  # noqa: ARG002  a link's signature
        text = payload.decode() if isinstance(payload, bytes) else payload
        if topic == "shellies/plug-1/relay/0/command":
            self.plug(text)
        elif topic == "iflex/H1/control":
            command = json.loads(text)["devices_control"][0]["control_device"]["command"]
            self.heater(command)
        elif topic == request_topic("meter/m/measurement"):
            for hour in range(48, 0, -1):
                self.meter(self.clock.now() - timedelta(hours=hour), 1000.0 * (48 - hour))

    def plug(self, word):
        self.switched.append(("plug", word))
        self.states["plug"] = word
        self.say("shellies/plug-1/relay/0", word)

    def heater(self, word):
        self.switched.append(("heater", word))
        self.states["heater"] = word
        self.report_heater()

    def report_heater(self):
        at = self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%f")
        state = {"device": 2, "state": [{"bt": at, "actuator_id": 284, "vs": self.states["heater"]}]}
        self.say("iflex/H1/state", json.dumps({"devices_state": [state]}))

    def meter(self, at, watt_hours):
        record = [{"bn": "m:", "bt": at.timestamp(), "n": "energy", "u": "Wh", "v": watt_hours}]
        self.say("meter/m/measurement", json.dumps(record))

    def say(self, topic, text):
        for handler in self.handlers[topic]:
            handler(Message(topic, text.encode()))

    async def subscribe(self, topic_filter, handler, qos=1):  # noqa: ARG002  a link's signature
        self.handlers[topic_filter].append(handler)
        if topic_filter == "iflex/H1/state":
            self.report_heater()  # a retained message
        elif topic_filter == "shellies/plug-1/relay/0":
            self.say(topic_filter, self.states["plug"])

    async def unsubscribe(self, topic_filter, handler):
        self.handlers[topic_filter].remove(handler)

    def observe(self, observer):
        pass

    def acknowledge_after(self, storing):
        self.storing = storing

    async def run(self):
        try:
            await asyncio.Event().wait()
        finally:
            self.closed_with = self.storing()


class Vtn:
    """A small VTN at a socket: lists its events, asks for what it was given, and notes what it hears."""

    def __init__(self):
        self.heard, self.events, self.requests, self.news = [], [], [], False
        self.down = False

    async def answer(self, request):
        if self.down:
            return web.Response(status=503)
        message = decode(await request.read(), strict=True)
        self.heard.append(message)
        return web.Response(body=encode(self.say(message)), content_type="application/xml")

    def say(self, message):
        if isinstance(message, RequestEvent) or (isinstance(message, Poll) and self.news):
            self.news = False
            return self.list()
        profile = VtnProfile("vtn", poll_freq=Duration.of(seconds=60))
        answers = {
            QueryRegistration: CreatedPartyRegistration(Response(), profile),
            CreatePartyRegistration: CreatedPartyRegistration(Response(), profile, "reg", "ven-1"),
            RegisterReport: RegisteredReport(Response(), tuple(self.requests)),
            UpdateReport: UpdatedReport(Response()),
        }
        return answers.get(type(message), OadrResponse(Response(), "ven-1"))

    def list(self):
        status = {True: EventStatus.CANCELLED, False: EventStatus.FAR}
        events = tuple(DeliveredEvent(one, status[one.cancelled]) for one in self.events)
        return DistributeEvent("vtn", f"d{len(self.heard)}", events, Response())

    def publish(self, *events):
        self.events, self.news = list(events), True

    def all(self, kind):
        return [one for one in self.heard if isinstance(one, kind)]


@pytest.fixture
async def vtn():
    vtn = Vtn()
    runner = web.ServerRunner(web.Server(vtn.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    vtn.url = f"http://127.0.0.1:{runner.addresses[0][1]}/OpenADR2/Simple/2.0b"
    yield vtn
    await runner.cleanup()


class World:
    """One household's world, in which gateways come and go."""

    def __init__(self, household, vtn, folder):
        self.clock = ManualClock(NOON)
        self.broker = Broker(self.clock)
        self.vtn = vtn
        self.household = household.model_copy(
            update={
                "vtn": household.vtn.model_copy(update={"url": vtn.url, "longest_wait_s": 1}),
                "state": folder / "state",
                "log_file": folder / "log.jsonl",
            }
        )
        self.log = folder / "log.jsonl"

    @asynccontextmanager
    async def gateway(self, **changes):
        gateway = Gateway(
            self.household.model_copy(update=changes), connections={"mqtt": self.broker}, clock=self.clock
        )
        task = asyncio.create_task(gateway.run())
        try:
            yield gateway
        finally:
            gateway.stop()
            await task

    async def step(self, condition, what, by=timedelta(seconds=30)):
        """Let world time run in steps until something holds."""

        def moved():
            if condition():
                return True
            self.clock.advance(by)
            return False

        await until(moved, what)

    def lines(self, kind):
        return [one for one in map(json.loads, self.log.read_text().splitlines()) if one["kind"] == kind]


@pytest.fixture
def world(household, vtn, tmp_path):
    return World(household, vtn, tmp_path)


def opts(vtn):
    return [(one.event_id, one.opt_type) for message in vtn.all(CreatedEvent) for one in message.event_responses]


async def test_an_event_from_the_poll_to_the_restored_device(world, vtn, event):
    async with world.gateway():
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=30)))
        await world.step(lambda: opts(vtn), "the opt")
        await world.step(lambda: world.broker.switched, "the switching")
        await world.step(lambda: ("heater", "on") in world.broker.switched, "the restoring")
        await until(lambda: world.lines("command")[-1]["state"] == "restored", "the last line of the log")
    assert opts(vtn)[0] == ("evt", OptType.IN)
    assert world.broker.switched == [("heater", "off"), ("heater", "on")]
    states = [one["state"] for one in world.lines("command")]
    assert states == ["journalled", "sent", "confirmed", "restored"]
    (line, *_) = world.lines("opt")
    assert (line["event"], line["opt"], line["ven"]) == ("evt", "optIn", "home")


async def test_what_an_event_brought_is_computed_offered_and_shown(world, vtn, event):
    async with world.gateway() as gateway:
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=30)))
        await world.step(lambda: Assessments(gateway.store).newest(1), "the assessment")
        (kept,) = Assessments(gateway.store).newest(9)
    assert kept.event_id == "evt"
    assert "eligible days" in kept.outcome.resources[0].note, "its meter remembers two days"
    assert REPORT_NAME in {offer.name for message in vtn.all(RegisterReport) for offer in message.offers}
    assert read_status(world.household)["assessment"]["last"]["event_id"] == "evt"
    assert "last assessed: evt" in as_lines(read_status(world.household))


async def test_without_numpy_all_else_works_and_status_says_what_is_missing(world, vtn, monkeypatch):
    for module in ("ven.assessor", "ven.assessment_view"):
        monkeypatch.setattr(f"{module}.is_installed", lambda: False)
    async with world.gateway():
        await until(lambda: vtn.all(Poll), "the first poll")
    assert REPORT_NAME not in {offer.name for message in vtn.all(RegisterReport) for offer in message.offers}
    assert HOW_TO_INSTALL in as_lines(read_status(world.household))


async def test_a_restart_goes_on_with_a_running_event(world, vtn, event):
    async with world.gateway(on_stop="keep"):
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
    assert world.broker.switched == [("heater", "off")]
    async with world.gateway(on_stop="keep"):
        await until(lambda: len(vtn.all(RequestEvent)) > 1, "the resynchronisation")
        await world.step(lambda: ("heater", "on") in world.broker.switched, "the restoring")
    assert len(vtn.all(CreatePartyRegistration)) == 1
    assert len({one["id"] for one in world.lines("command")}) == 1
    mine = [world.log, *world.household.state.rglob("*")]
    assert not [one for one in mine if one.stat().st_mode & 0o077], "others could read what people do"


def log(world):
    return world.lines("command") if world.log.exists() else []


async def test_a_clean_stop_gives_the_device_back_and_the_next_start_takes_it_again(world, vtn, event):
    async with world.gateway():
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
    assert world.broker.switched == [("heater", "off"), ("heater", "on")]
    async with world.gateway(on_stop="keep"):
        await until(lambda: len(world.broker.switched) > 2, "the event to be resumed")
    assert world.broker.switched[-1] == ("heater", "off")


async def test_devices_come_and_go_with_the_household_file_while_others_stay_held(world, vtn, event, variant):
    """Orders heater and plug; the plug leaves the file, and comes back."""
    gateway = Gateway(world.household, connections={"mqtt": world.broker}, clock=world.clock)
    running = asyncio.create_task(run_gateways([gateway]))
    await until(lambda: vtn.all(Poll), "the first poll")
    since = read_status(world.household)["process"]["since"]
    vtn.publish(event(start=world.clock.now() + timedelta(minutes=5), values=((60, -2300.0),)))
    await world.step(lambda: {("heater", "off"), ("plug", "off")} <= set(world.broker.switched), "the switching")
    staying = [device for device in world.household.devices if device.id != "plug"]
    smaller = variant(
        devices=[device.model_dump(by_alias=True, exclude_unset=True) for device in staying],
        resources=[{"id": "home", "meter": "meter", "devices": ["heater"]}],
        programmes=[{"match": {"signal": "LOAD_DISPATCH"}, "shed": {"order": ["heater"]}}],
    ).model_copy(update={name: getattr(world.household, name) for name in ("vtn", "state", "log_file")})
    assert gateway.reload(smaller)
    assert not gateway.reload(smaller)
    await until(lambda: ("plug", "on") in world.broker.switched, "what left the file to be given back")
    await until(lambda: len(vtn.all(RequestEvent)) > 1, "the gateway with the smaller file")
    assert read_status(world.household)["process"]["since"] == since, "it runs as long as its process"
    assert gateway.reload(world.household)
    await until(lambda: world.broker.switched[-1] == ("plug", "off"), "what came back to be used")
    assert ("heater", "on") not in world.broker.switched
    await world.step(lambda: ("heater", "on") in world.broker.switched, "the end of the event")
    gateway.stop()
    await running
    assert dict(world.broker.switched) == {"heater": "on", "plug": "on"}


async def test_another_state_directory_begins_with_devices_as_they_were_before(world, vtn, event, tmp_path):
    gateway = Gateway(world.household, connections={"mqtt": world.broker}, clock=world.clock)
    running = asyncio.create_task(run_gateways([gateway]))
    await until(lambda: vtn.all(Poll), "the first poll")
    vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
    await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
    moved = world.household.model_copy(update={"state": tmp_path / "elsewhere"})
    assert gateway.reload(moved)
    await until(lambda: len(world.broker.switched) == 3, "the event under the other state")
    assert [word for _, word in world.broker.switched] == ["off", "on", "off"]
    (lease,) = read_status(moved)["leases"]
    assert lease["before"] == "on"
    await world.step(lambda: world.broker.switched[-1] == ("heater", "on"), "the end of the event")
    gateway.stop()
    await running


async def test_a_port_that_is_taken_keeps_nothing_but_pushes_from_the_gateway(world, vtn, monkeypatch):
    monkeypatch.setattr(vtn_session, "_LISTEN_AGAIN", Backoff(0.02, 0.05))
    taken = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = taken.sockets[0].getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    listen = Listen(host="127.0.0.1", port=port, address=address)
    pushed = world.household.vtn.model_copy(update={"mode": Mode.PUSH, "listen": listen})
    async with world.gateway(vtn=pushed) as gateway:
        await until(lambda: vtn.all(RequestEvent), "the registration")
        await until(lambda: "CANNOT PUSH" in as_lines(read_status(gateway.household)), "the trouble")
        found = read_status(gateway.household)["vtn"]
        assert str(port) in found["deaf_because"]
        assert found["answers"]
        taken.close()
        await taken.wait_closed()
        await until(lambda: f"it pushes to {address}" in as_lines(read_status(gateway.household)), "the port")
        assert read_status(gateway.household)["vtn"]["deaf_because"] is None
        async with (
            aiohttp.ClientSession() as http,
            http.post(
                f"{address}/OpenADR2/Simple/2.0b/EiRegisterParty",
                data=encode(RequestReregistration("ven-1")),
                headers={"Content-Type": "application/xml"},
            ) as answer,
        ):
            assert answer.status == 200
        await until(lambda: len(vtn.all(CreatePartyRegistration)) == 2, "what the push asked for")


async def test_quiet_hours_are_told_to_the_vtn_and_shown(world, vtn):
    quiet = Quiet.model_validate({"from": "22:00", "to": "06:00"})
    async with world.gateway(quiet=(quiet,)) as gateway:
        await until(lambda: vtn.all(CreateOpt), "the quiet hours")
        (told,) = vtn.all(CreateOpt)
        assert len(told.opt.availability) >= 7
        found = read_status(gateway.household)
        assert (found["quiet"], found["away"]) == (["22:00 to 06:00"], [])
        assert "  quiet 22:00 to 06:00" in as_lines(found)


async def test_a_household_file_that_nothing_can_be_made_of_changes_nothing(world, vtn):
    gateway = Gateway(world.household, connections={"mqtt": world.broker}, clock=world.clock)
    running = asyncio.create_task(run_gateways([gateway]))
    await until(lambda: vtn.all(Poll), "the first poll")
    secure = world.household.vtn.model_copy(update={"url": "https://127.0.0.1/OpenADR2/Simple/2.0b"})
    nobody = world.household.model_copy(update={"identity": world.household.state / "nobody", "vtn": secure})
    assert gateway.reload(nobody)
    await until(lambda: len(vtn.all(RequestEvent)) > 1, "the gateway with the file before")
    gateway.stop()
    await running


async def test_a_cancelled_event_restores_at_once(world, vtn, event):
    async with world.gateway():
        await until(lambda: vtn.all(Poll), "the first poll")
        one = event(start=world.clock.now() + timedelta(minutes=5))
        vtn.publish(one)
        await world.step(lambda: world.broker.switched, "the switching")
        vtn.publish(
            type(one)(
                **{name: getattr(one, name) for name in one.__slots__} | {"cancelled": True, "modification_number": 1}
            )
        )
        await world.step(lambda: ("heater", "on") in world.broker.switched, "the restoring")
        assert world.clock.now() < one.period.end


async def test_the_users_hand_wins_and_the_vtn_is_told(world, vtn, event):
    async with world.gateway():
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
        world.clock.advance(timedelta(seconds=30))
        world.broker.heater("on")  # somebody switches it by hand
        await until(lambda: ("evt", OptType.OUT) in opts(vtn), "the opt-out")
    assert any(one["state"] == "overridden" for one in world.lines("command"))
    assert world.broker.switched == [("heater", "off"), ("heater", "on")]


async def test_a_wish_from_the_command_line_is_granted(world, vtn, event):
    async with world.gateway() as gateway:
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(hours=5), vtn_comment="Grid is\ntight"))
        await world.step(lambda: opts(vtn), "the opt")
        typed = open_store(world.household)
        with pytest.raises(NotFoundError):
            typed.wish("nothing", OptType.OUT, "economic")
        typed.wish("evt", OptType.OUT, "economic")
        typed.close()
        await until(lambda: ("evt", OptType.OUT) in opts(vtn), "the opt-out")
        found = read_status(world.household)
        assert found["events"][0]["opt"] == "optOut"
        assert found["registration"]["ven_id"] == "ven-1"
        assert "evt.0: optOut (economic)" in as_lines(found)
        assert "    the operator says: Grid is tight" in as_lines(found).splitlines()
        assert vtn.all(CreatedEvent)[-1].event_responses[0].description == "economic", "the VTN is told why"
        assert gateway.store.wishes() == []


async def test_a_time_away_from_the_command_line_is_told_to_the_vtn_and_taken_back(world, vtn, event):
    async with world.gateway() as gateway:
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(hours=5)))
        await world.step(lambda: opts(vtn), "the opt")
        typed = open_store(world.household)
        typed.wish_absence(world.clock.now(), world.clock.now() + timedelta(days=1), "x-holiday")
        await until(lambda: vtn.all(CreateOpt), "the opt schedule")
        (said,) = vtn.all(CreateOpt)
        assert (said.opt.opt_type, said.opt.reason, said.opt.event_id) == (OptType.OUT, "x-holiday", None)
        assert read_status(world.household)["events"][0]["opt"] == "optOut"
        typed.wish_presence(said.opt.opt_id)
        await until(lambda: vtn.all(CancelOpt), "its end")
        assert vtn.all(CancelOpt)[0].opt_id == said.opt.opt_id
        assert (typed.opts(), gateway.store.absence_wishes()) == ([], [])
        typed.close()


async def test_what_people_ask_for_before_the_gateway_is_registered_waits_for_it(world, vtn, monkeypatch):
    turns, look = [], VitalsWatch.look
    monkeypatch.setattr(gateways, "_PEOPLE_EVERY_S", 0.02)
    monkeypatch.setattr(VitalsWatch, "look", lambda vitals: (turns.append(1), look(vitals)))
    vtn.down = True
    async with world.gateway() as gateway:
        typed = open_store(world.household)
        typed.wish_absence(world.clock.now(), world.clock.now() + timedelta(hours=1), "x-over by then")
        typed.wish_absence(world.clock.now(), world.clock.now() + timedelta(days=1), "x-holiday")
        typed.close()
        seen = len(turns)
        await until(lambda: len(turns) >= seen + 2, "a turn in which the gateway looks at what people ask for")
        assert len(gateway.store.absence_wishes()) == 2
        world.clock.advance(timedelta(hours=2))
        vtn.down = False
        await until(lambda: vtn.all(CreateOpt), "the opt schedule")
        reasons = [said.opt.reason for said in vtn.all(CreateOpt)]
        assert reasons == ["x-holiday"], "nobody is told of a time that is over"
        await until(lambda: not gateway.store.absence_wishes(), "both are dealt with")


async def test_the_meters_past_is_asked_for_once_and_reported(world, vtn, request_for):
    start = NOON - timedelta(days=2)
    request = request_for("HISTORY_USAGE", "home/energy", start=start, step_s=0, back_s=0, duration_s=2 * 86400)
    vtn.requests = [request]
    hourly = world.household.history.model_copy(update={"step": Duration.of(hours=1), "wait_s": 10})
    async with world.gateway(history=hourly):
        await until(lambda: vtn.all(UpdateReport), "the history")
    (report,) = vtn.all(UpdateReport)[0].reports
    assert {one.payloads[0].value for one in report.intervals} == {1000.0}
    assert len(report.intervals) == 47
    before = len(vtn.heard)
    async with world.gateway(history=hourly) as gateway:
        await until(lambda: len(vtn.heard) > before, "the restart")
        assert gateway.store.fact("backfilled") is True


async def test_live_readings_become_reports(world, vtn, request_for):
    vtn.requests = [request_for("TELEMETRY_USAGE", "home/energy", "home/power", start=NOON)]
    none = world.household.history.model_copy(update={"days": 0})
    async with world.gateway(history=none):
        await until(lambda: vtn.all(Poll), "the first poll")
        for minute in range(4):
            world.broker.meter(world.clock.now(), 20.0 * minute)
            await asyncio.sleep(0)
            world.clock.advance(timedelta(minutes=1))
        await until(lambda: len(vtn.all(UpdateReport)) >= 3, "three reports")
    found = [one for message in vtn.all(UpdateReport) for one in message.reports]
    assert [one.start for one in found[:3]] == [NOON + timedelta(minutes=n) for n in range(3)]
    assert [payload.value for payload in found[0].intervals[0].payloads] == [20.0, 1200.0]


async def test_a_message_is_acknowledged_when_its_readings_are_stored(world, monkeypatch):
    monkeypatch.setattr(gateways, "connect", lambda _: world.broker)
    gateway = Gateway(world.household, clock=world.clock)
    task = asyncio.create_task(gateway.run())
    await until(lambda: world.broker.handlers["meter/m/measurement"], "the meter's driver")
    world.broker.meter(NOON - timedelta(minutes=1), 20.0)
    storing = world.broker.storing()
    assert storing is not None
    assert not gateway._ring.newest("meter.energy")
    await until(storing.done, "the acknowledgement")
    assert gateway._ring.newest("meter.energy").value == 20.0
    world.broker.meter(NOON, 30.0)
    storing = world.broker.storing()
    gateway.stop()
    await task
    assert storing.done()
    assert world.broker.closed_with is None, "all was stored, and could be acknowledged, before the link closed"


async def test_what_comes_all_the_time_is_stored_in_batches(world, vtn, monkeypatch):
    """Storing makes the conversation look again; it stores what waits itself, which must not make it look again."""
    batches, add = [], Ring.add
    monkeypatch.setattr(Ring, "add", lambda ring, readings: (batches.append(len(readings)), add(ring, readings)))
    monkeypatch.setattr(ingest, "_BATCH_S", 3600.0)
    async with world.gateway() as gateway:
        await until(lambda: vtn.all(Poll), "the first poll")
        batches.clear()
        gateway._poke()
        for number in range(500):
            world.broker.meter(NOON - timedelta(seconds=number), 20.0)
            await asyncio.sleep(0)
        assert len(batches) < 5, "a conversation that keeps itself awake stores readings nearly singly"


async def test_a_vtn_that_is_away_is_waited_for(world, vtn):
    vtn.down = True
    async with world.gateway():
        await asyncio.sleep(0)
        vtn.down = False
        await until(lambda: vtn.all(Poll), "the first poll after the outage")


async def test_readings_of_a_doubtful_time_are_reported_with_their_true_one(world, vtn, request_for, monkeypatch):
    monkeypatch.setattr(gateways, "_PEOPLE_EVERY_S", 0.02)
    vtn.requests = [request_for("TELEMETRY_USAGE", "home/energy", start=NOON)]
    none = world.household.history.model_copy(update={"days": 0})
    async with world.gateway(history=none) as gateway:
        await until(lambda: vtn.all(Poll), "the first poll")
        right = world.clock.now()
        world.clock.set(right - timedelta(minutes=30))
        for minute in range(4):
            world.broker.meter(right + timedelta(minutes=minute), 20.0 * minute)
            await asyncio.sleep(0.03)
            world.clock.advance(timedelta(minutes=1))
        assert gateway.clock.doubt is not None
        polls = len(vtn.all(Poll))
        await until(lambda: len(vtn.all(Poll)) > polls, "another poll, in doubt")
        assert not vtn.all(UpdateReport)
        world.clock.set(right + timedelta(minutes=4))
        await until(lambda: len(vtn.all(UpdateReport)) >= 3, "three reports")
    found = [one for message in vtn.all(UpdateReport) for one in message.reports]
    values = {one.start: one.intervals[0].payloads[0].value for one in found}
    assert [values[right + timedelta(minutes=n)] for n in range(3)] == [20.0] * 3


async def test_two_gateways_on_one_state_directory_are_refused(world, vtn):
    async with world.gateway():
        with pytest.raises(ConflictError, match="Another gateway"):
            Gateway(world.household, connections={"mqtt": world.broker}, clock=world.clock)


async def test_without_an_identity_the_next_step_is_named(world):
    household = world.household.model_copy(update={"vtn": world.household.vtn.model_copy(update={"url": None})})
    with pytest.raises(NotFoundError, match="evenload ven enrol"):
        Gateway(household, connections={"mqtt": world.broker}, clock=world.clock)


async def test_a_restart_with_a_clock_that_is_behind_gives_nothing_back(world, vtn, event, monkeypatch):
    """The host starts half an hour in the past, within an event, and is put right later."""
    monkeypatch.setattr(gateways, "_PEOPLE_EVERY_S", 0.02)
    start = NOON + timedelta(minutes=5)
    async with world.gateway(on_stop="keep"):
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=start))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
        right = world.clock.now()
    world.clock.set(right - timedelta(minutes=30))
    async with world.gateway(on_stop="keep") as gateway:
        await until(lambda: "clock" in read_status(world.household)["notices"], "the notice")
        for _ in range(4):
            world.clock.advance(timedelta(minutes=1))
            await asyncio.sleep(0.02)
        assert "clock: the host's clock says" in as_lines(read_status(world.household))
        assert gateway.clock.doubt is not None
        world.clock.set(right + timedelta(minutes=5))
        await until(lambda: not read_status(world.household)["notices"], "the end of the doubt")
        assert set(world.broker.switched) == {("heater", "off")}  # told again after our start, and nothing else
        await world.step(lambda: ("heater", "on") in world.broker.switched, "the restoring")
    assert world.clock.now() >= start + timedelta(hours=1)
    assert world.broker.switched.count(("heater", "on")) == 1


async def test_a_device_given_back_by_a_wrong_clock_is_taken_again(world, vtn, event, monkeypatch):
    monkeypatch.setattr(executor, "_NAP_S", 0.02)
    async with world.gateway(on_stop="keep"):
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
        middle = world.clock.now()
        world.clock.set(middle + timedelta(hours=2))
        await until(lambda: ("heater", "on") in world.broker.switched, "the restoring")
        world.clock.set(middle)
        await world.step(lambda: len(world.broker.switched) == 3, "the heater taken again", timedelta(seconds=5))
        assert world.broker.switched[-1] == ("heater", "off")
        await world.step(lambda: len(world.broker.switched) == 4, "the restoring")


async def test_the_status_says_what_is_held_and_that_the_disk_is_full(world, vtn, event):
    async with world.gateway() as gateway:
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
        (lease,) = read_status(world.household)["leases"]
        assert (lease["device"], lease["value"], lease["event"]) == ("heater", "off", "evt")
        assert (lease["before"], lease["state"]) == ("on", "confirmed")
        assert "heater switch off for evt until" in as_lines(read_status(world.household))
        gateway._journal._db.execute("PRAGMA query_only = ON")
        await world.step(lambda: ("heater", "on") in world.broker.switched, "the restoring")
        await until(lambda: "wait for room" in read_status(world.household)["notices"].get("disk", ""), "the notice")
        gateway._journal._db.execute("PRAGMA query_only = OFF")
        await until(lambda: not read_status(world.household)["leases"], "the journal up to date")
        await until(lambda: not read_status(world.household)["notices"], "the notice gone")


async def test_the_status_tells_running_killed_without_broker_and_without_vtn_apart(world, vtn, event, monkeypatch):
    monkeypatch.setattr(gateways, "_PEOPLE_EVERY_S", 0.02)
    gateway = Gateway(world.household, connections={"mqtt": world.broker}, clock=world.clock)
    task = asyncio.create_task(gateway.run())

    def shows(text):
        return until(lambda: text in as_lines(read_status(world.household)), text)

    await shows("answers, last answer 2026-03-02")
    vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
    await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
    world.broker.meter(world.clock.now() - timedelta(minutes=1), 5000.0)
    world.broker.meter(world.clock.now(), 5020.0)
    await shows("meter: reachable, 1,200 W at 2026-03-02")
    await shows("heater: reachable, switch off\n    heater switch off for evt until 2026-03-02")
    found = read_status(world.household)
    assert found["process"]["running"]
    assert found["process"]["since"] == NOON.isoformat()
    assert found["vtn"]["answers"] is True
    contact = {"kind": "mqtt", "address": "localhost:1883", "connected": True, "since": NOON.isoformat()}
    assert found["connections"] == {"mqtt": contact | {"silent_s": None, "unused": {}}}

    monkeypatch.setattr(world.broker, "unused", {"cannot be read": 1200, "is too long": 1}, raising=False)
    monkeypatch.setattr(world.broker, "connected", False)
    vtn.down = True
    await shows("mqtt localhost:1883: NOT CONNECTED since 2026-03-02")
    await shows("1,201 messages came to nothing (1,200 cannot be read, 1 is too long); the log names them")
    await world.step(lambda: "NO ANSWER since 2026" in as_lines(read_status(world.household)), "the silence")
    assert "503" in read_status(world.household)["vtn"]["reason"]

    task.cancel()  # as kill -9 does, this leaves no farewell behind
    with pytest.raises(asyncio.CancelledError):
        await task
    killed = read_status(world.household)
    assert not killed["process"]["running"]
    assert killed["process"]["stopped"] is None
    assert (killed["vtn"]["answers"], killed["connections"]["mqtt"]["connected"]) == (None, None)
    assert {one["reachable"] for one in killed["devices"]} == {None}
    assert "gateway: NOT RUNNING, it ended without a clean stop; last seen at 2026-03-02" in as_lines(killed)
    assert "heater switch off for evt until" in as_lines(killed), "the lease is still in the journal"


async def test_the_status_names_a_clean_stop_and_a_device_that_its_user_took_back(world, vtn, event, monkeypatch):
    monkeypatch.setattr(gateways, "_PEOPLE_EVERY_S", 0.02)
    async with world.gateway():
        await until(lambda: vtn.all(Poll), "the first poll")
        vtn.publish(event(start=world.clock.now() + timedelta(minutes=5)))
        await world.step(lambda: any(one["state"] == "confirmed" for one in log(world)), "the switching")
        world.clock.advance(timedelta(seconds=30))
        world.broker.heater("on")
        words = "heater: reachable, switch on, taken back from an event by its user"
        await until(lambda: words in as_lines(read_status(world.household)), words)
    assert f"gateway: NOT RUNNING, stopped at {world.clock.now():%Y-%m-%d}" in as_lines(read_status(world.household))


async def test_the_status_of_a_stopped_gateway_says_that_its_vtn_never_answered(world, vtn):
    vtn.down = True
    async with world.gateway():
        await until(lambda: "NO ANSWER since" in as_lines(read_status(world.household)), "the silence")
    words = as_lines(read_status(world.household))
    assert "never answered (" in words
    assert "no OpenADR answer to QueryRegistration" in words or "answered QueryRegistration with HTTP 503" in words


@pytest.mark.parametrize(("up_s", "doubted"), [(10, True), (100_000, False)])
def test_a_host_that_has_just_started_is_doubted_until_its_clock_is_synchronised(monkeypatch, up_s, doubted):
    monkeypatch.setattr("ven.gateway.uptime_s", lambda: up_s)
    monkeypatch.setattr("ven.gateway.synchronised", lambda: False)
    assert ("just started" in (_trusted(system_clock()).doubt or "")) is doubted
