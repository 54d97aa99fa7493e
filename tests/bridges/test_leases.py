"""Leases on scripted devices: who holds, what is confirmed, what is restored, and what a crash leaves behind."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from bridges.backoff import Backoff
from bridges.device import Capability, Command, Contact, Device, Outcome, Rank, State, Value
from bridges.journal import Journal
from bridges.lease_state import Phase
from bridges.leases import LeaseManager, Pace
from core.clock import ManualClock
from core.errors import InvalidError, NotFoundError, UnavailableError
from core.points import Reading
from support.waiting import until

START = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
FAST = Pace(ack_s=0.05, tries=3, settle_s=0.05, first_word_s=0.05, longest_s=0.1)

SWITCH = Capability("switch", normal="on", values=("on", "off"))
LIMIT = Capability("import_limit", normal=9000.0, unit="W", low=0.0, high=9000.0, floor=1500.0)


class Scripted:
    """A device with one capability that does what the test says, and nothing else."""

    def __init__(self, capability: Capability = SWITCH, value: Value | None = "on") -> None:
        self.capability = capability
        self.value = value
        self.spoken = value is not None
        self.online = True
        self.obeys = True
        self.fault: Exception | None = None
        self.orders: list[Value] = []
        self.until: list[datetime | None] = []
        self.clock: ManualClock | None = None
        self._on_state: Callable[[str, Value, datetime | None], None] | None = None
        self._on_contact: Callable[[Contact], None] | None = None

    def describe(self) -> Device:
        return Device("heater", "water_heater", (), (self.capability,), 2000.0)

    async def start(
        self, on_reading: Callable[[Reading], None], on_state: Callable[[str, Value, datetime | None], None]
    ) -> None:
        self._on_reading, self._on_state = on_reading, on_state

    async def stop(self) -> None:
        self._on_state = None

    def observe(self, on_contact: Callable[[Contact], None]) -> None:
        self._on_contact = on_contact

    def state(self, capability: str) -> Value | None:
        return self.value if self.spoken and capability == self.capability.name else None

    async def apply(self, capability: str, value: Value, until: datetime | None) -> None:
        assert capability == self.capability.name
        if self.fault is not None:
            raise self.fault
        words = self.capability.values
        fits = value in words if words else isinstance(value, str) == self.capability.text
        if not fits:
            raise InvalidError(f"{value} is no word of this device")
        self.orders.append(value)
        self.until.append(until)
        if self.obeys and self.capability.readback:
            self.value = value
            self.speak()

    def speak(self, value: Value | None = None, at: datetime | None = None) -> None:
        """Publish the device's state, or a state as if somebody had turned the knob."""
        if value is not None:
            self.value = value
        self.spoken = True
        assert self.value is not None
        if self._on_state is not None and self.clock is not None:
            self._on_state(self.capability.name, self.value, at or self.clock.now())

    def fall(self, value: Value) -> None:
        """Come back with that state, as a driver tells it right after a device's start."""
        self.value, self.spoken = value, True
        assert self._on_state is not None
        self._on_state(self.capability.name, value, None)

    def contact(self, contact: Contact) -> None:
        self.online = contact is not Contact.LOST
        if self._on_contact is not None:
            self._on_contact(contact)


class Gateway:
    """One life of a gateway: what a process would hold. The journal's file and the device outlive it."""

    def __init__(self, path: Path, clock: ManualClock, driver: Scripted, pace: Pace = FAST) -> None:
        self.clock, self.driver = clock, driver
        driver.clock = clock
        self.outcomes: list[Outcome] = []
        self.journal = Journal(path)
        self.keeper = LeaseManager({"heater": driver}, self.journal, clock, self.outcomes.append, pace)

    def states(self, command_id: str = "c1") -> list[State]:
        return [outcome.state for outcome in self.outcomes if outcome.command.id == command_id]

    def journalled(self, command_id: str = "c1") -> list[State]:
        return [outcome.state for outcome in self.journal.outcomes(command_id)]

    async def settled(self) -> None:
        """Return when the keeper has taken notice of everything and holds, or rests."""
        slots = self.keeper._slots.values()
        await until(lambda: all(s.phase.value in ("held", "free") and not s.wake.is_set() for s in slots), "rest")

    async def reach(self, state: State, command_id: str = "c1") -> None:
        await until(lambda: state in self.journalled(command_id), f"{command_id} {state}")


@contextlib.asynccontextmanager
async def living(gateway: Gateway) -> AsyncIterator[Gateway]:
    await gateway.keeper.recover()
    await gateway.driver.start(lambda _: None, gateway.keeper.listener("heater"))
    task = asyncio.create_task(gateway.keeper.run())
    try:
        yield gateway
    finally:  # like kill -9: nothing is tidied up but the test's own handles
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await gateway.driver.stop()
        gateway.journal.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.db"


def order(
    ident: str = "c1",
    value: Value = "off",
    *,
    until: datetime = START + HOUR,
    by: str = "event-1",
    rank: Rank = Rank.EVENT,
    capability: str = "switch",
) -> Command:
    return Command(ident, "heater", capability, value, until, by, rank)


def limit(ident: str, value: float, by: str, **more: object) -> Command:
    return order(ident, value, by=by, capability="import_limit", **more)  # type: ignore[arg-type]


LIFE = [State.JOURNALLED, State.SENT, State.CONFIRMED, State.RESTORED]


@pytest.mark.parametrize("before", ["on", "off"])
async def test_a_lease_from_command_to_restore(path: Path, clock: ManualClock, before: str) -> None:
    async with living(Gateway(path, clock, Scripted(value=before))) as gateway:
        outcome = await gateway.keeper.command(order())
        assert outcome.state is State.JOURNALLED
        await gateway.reach(State.CONFIRMED)
        (lease,) = gateway.keeper.held()
        assert (lease.command.id, lease.holds, lease.previous) == ("c1", True, before)
        assert gateway.driver.value == "off"
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)
        assert gateway.driver.orders == ["off", before]
        assert gateway.driver.until == [START + HOUR, None]
        assert gateway.states() == gateway.journalled() == LIFE
        assert gateway.keeper.held() == []
        assert not gateway.journal.held("heater", "switch").held


async def test_the_same_command_again_changes_nothing(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        again = await gateway.keeper.command(order())
        assert again.state is State.CONFIRMED
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)
        assert (await gateway.keeper.command(order())).state is State.RESTORED
        assert gateway.states() == LIFE
        assert gateway.driver.orders == ["off", "on"]


async def test_release_restores_early(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.release("c1")
        await gateway.reach(State.RESTORED)
        await gateway.keeper.release("c1")
        assert gateway.states() == LIFE
        with pytest.raises(NotFoundError):
            await gateway.keeper.release("c2")


async def test_the_previous_state_is_on_disk_before_the_first_write(path: Path, clock: ManualClock) -> None:
    seen = []

    class Peeking(Scripted):
        async def apply(self, capability: str, value: Value, until: datetime | None) -> None:
            other = Journal(path)
            seen.append(other.held("heater", "switch"))
            other.close()
            await super().apply(capability, value, until)

    async with living(Gateway(path, clock, Peeking(value="off"))) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
    assert (seen[0].held, seen[0].touched, seen[0].previous) == (True, True, "off")


async def test_an_unknown_previous_state_is_waited_for_then_taken_as_normal(path: Path, clock: ManualClock) -> None:
    patient = Pace(ack_s=5, first_word_s=30)
    async with living(Gateway(path, clock, Scripted(value=None), patient)) as gateway:
        await gateway.keeper.command(order())
        await until(lambda: gateway.keeper._slots["heater", "switch"].listening)
        gateway.driver.speak("off")  # the first word: it was off
        await gateway.reach(State.CONFIRMED)
        assert gateway.keeper.held()[0].previous == "off"
    silent = Scripted(value=None)
    async with living(Gateway(path.with_name("other.db"), clock, silent)) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        assert gateway.keeper.held()[0].previous == "on"


async def test_a_device_that_does_not_confirm(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    plug.obeys = False
    async with living(Gateway(path, clock, plug)) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.FAILED)
        assert len(plug.orders) >= FAST.tries
        assert gateway.states() == [State.JOURNALLED, State.SENT, State.FAILED]
        plug.obeys = True  # it comes to its senses: the lease still stands
        await gateway.reach(State.CONFIRMED)
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)
        assert plug.orders[-1] == "on"


async def test_a_device_that_ignores_everything_is_still_restored(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    plug.obeys = False
    async with living(Gateway(path, clock, plug)) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.FAILED)
        clock.advance(HOUR)
        await until(lambda: plug.orders[-1] == "on")
        assert State.RESTORED not in gateway.journalled()
        plug.speak()
        await gateway.reach(State.RESTORED)


async def test_a_state_from_before_the_command_confirms_nothing(path: Path, clock: ManualClock) -> None:
    plug = Scripted(value="off")  # it is off already
    plug.obeys = False
    plug.online = False
    async with living(Gateway(path, clock, plug, Pace(ack_s=60))) as gateway:
        gateway.keeper._backoff = Backoff(3600, 3600)  # only the contact makes it try again
        plug.speak("off")
        await gateway.keeper.command(order())
        await until(lambda: gateway.keeper._slots["heater", "switch"].attempts)
        plug.speak("off")
        plug.contact(Contact.LINK)
        await gateway.reach(State.SENT)
        assert State.CONFIRMED not in gateway.journalled()
        plug.speak("off")
        await gateway.reach(State.CONFIRMED)


async def test_the_users_hand_wins(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.driver.speak("on")
        assert gateway.states()[-1] is State.OVERRIDDEN
        assert "by hand" in gateway.outcomes[-1].detail
        clock.advance(HOUR)
        refused = await gateway.keeper.command(order("c2", until=START + 2 * HOUR))
        assert refused.state is State.REFUSED
        assert "user took" in refused.detail
        await gateway.keeper.command(order("c3", by="event-2", until=START + 2 * HOUR))
        await gateway.reach(State.CONFIRMED, "c3")
        assert gateway.driver.orders == ["off", "off"]  # nothing was restored over the user's choice
        assert gateway.states() == [State.JOURNALLED, State.SENT, State.CONFIRMED, State.OVERRIDDEN]


async def test_a_late_state_message_is_no_hand(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.driver.speak("on", at=START - MINUTE)
        gateway.driver.speak("off")
        assert State.OVERRIDDEN not in gateway.states()
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)


async def test_safety_is_asserted_over_the_hand(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order(rank=Rank.SAFETY, by="comfort"))
        await gateway.reach(State.CONFIRMED)
        gateway.driver.speak("on")
        await until(lambda: gateway.driver.orders == ["off", "off"])
        assert State.OVERRIDDEN not in gateway.states()


async def test_a_restarted_device_is_told_again(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        plug = gateway.driver
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        plug.contact(Contact.LOST)
        plug.contact(Contact.RESTARTED)
        plug.speak("on")  # what it boots with: drift, not the user
        await until(lambda: plug.orders == ["off", "off"])
        await until(lambda: gateway.keeper.held()[0].phase.value == "held")
        assert gateway.states() == [State.JOURNALLED, State.SENT, State.CONFIRMED]


async def test_after_our_own_absence_the_lease_is_asserted_again(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.driver.contact(Contact.LOST)
        gateway.driver.contact(Contact.LINK)
        await until(lambda: gateway.driver.orders == ["off", "off"])
        assert gateway.states() == [State.JOURNALLED, State.SENT, State.CONFIRMED]


async def test_a_hand_during_our_absence_wins(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted(), Pace(settle_s=60))) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.driver.contact(Contact.LOST)
        gateway.driver.contact(Contact.LINK)
        gateway.driver.speak("on")
        assert gateway.states()[-1] is State.OVERRIDDEN


@pytest.mark.parametrize("stage", ["journalled", "sent", "confirmed", "restoring"])
async def test_kill_and_recover(path: Path, clock: ManualClock, stage: str) -> None:
    plug = Scripted(value="on")
    async with living(Gateway(path, clock, plug)) as first:
        if stage == "journalled":
            plug.online = False
        if stage == "sent":
            plug.obeys = False
        await first.keeper.command(order())
        if stage in ("confirmed", "restoring"):
            await first.reach(State.CONFIRMED)
        if stage == "sent":
            await first.reach(State.SENT)
        if stage == "restoring":
            plug.obeys = False
            clock.advance(HOUR)
            await until(lambda: plug.orders[-1] == "on")
    plug.online = plug.obeys = True
    plug.spoken = False  # a new process has heard nothing yet
    async with living(Gateway(path, clock, plug)) as second:
        assert (await second.keeper.command(order())).state is not State.REFUSED
        if stage != "restoring":
            await second.reach(State.CONFIRMED)
            clock.advance(HOUR)
        await second.reach(State.RESTORED)
        assert plug.value == "on"
        assert second.journalled() == LIFE
        assert len(first.states() + second.states()) == len(LIFE)  # each step was told once over both lives


async def test_a_lease_that_ran_out_while_we_were_down_is_restored(path: Path, clock: ManualClock) -> None:
    plug = Scripted(value="off")
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
    clock.advance(2 * HOUR)
    async with living(Gateway(path, clock, plug)) as second:
        await second.reach(State.RESTORED)
        assert second.states() == [State.RESTORED]
        assert plug.orders == ["off", "off"]
        assert plug.until[-1] is None


async def test_a_live_lease_is_asserted_again_after_a_restart(path: Path, clock: ManualClock) -> None:
    plug = Scripted(value="on")
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
    async with living(Gateway(path, clock, plug)) as second:
        await until(lambda: plug.orders == ["off", "off"])
        await until(lambda: second.keeper.held()[0].phase.value == "held")
        assert second.states() == []
        assert second.keeper.held()[0].previous == "on"  # not the "off" that we made it


async def test_a_hand_while_we_were_down_wins(path: Path, clock: ManualClock) -> None:
    plug = Scripted(value="on")
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
    clock.advance(10 * MINUTE)
    async with living(Gateway(path, clock, plug, Pace(settle_s=60))) as second:
        plug.speak("on", at=START - MINUTE)  # from before the command, delivered again
        assert second.states() == []
        plug.speak("on", at=START + 5 * MINUTE)
        assert second.states() == [State.OVERRIDDEN]
        assert plug.orders == ["off"]


async def test_unreachable_at_the_end(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
        plug.fault = UnavailableError("the broker is away")
        clock.advance(HOUR)
        with structlog.testing.capture_logs() as logs:
            await until(lambda: len([log for log in logs if "cannot be told" in log["event"]]) >= 3)
        assert first.journalled() == LIFE[:3]
    async with living(Gateway(path, clock, plug)) as second:
        plug.fault = None
        await second.reach(State.RESTORED)
        assert plug.value == "on"


async def test_never_reached_is_nothing_to_restore(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    plug.online = False
    async with living(Gateway(path, clock, plug)) as gateway:
        await gateway.keeper.command(order())
        clock.advance(HOUR)
        await gateway.reach(State.FAILED)
        assert gateway.states() == [State.JOURNALLED, State.FAILED]
        assert plug.orders == []
        assert gateway.keeper.held() == []


async def test_a_driver_that_cannot(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    plug.fault = InvalidError("not with this firmware")
    async with living(Gateway(path, clock, plug)) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.REFUSED)
        assert gateway.keeper.held() == []
        plug.fault = None
        await gateway.keeper.command(order("c2"))
        await gateway.reach(State.CONFIRMED, "c2")
        plug.fault = InvalidError("nor back")
        clock.advance(HOUR)
        await gateway.reach(State.FAILED, "c2")
        assert "cannot be restored" in gateway.outcomes[-1].detail
        assert gateway.keeper.held() == []


async def test_what_the_driver_no_longer_takes_is_replaced_by_what_is_normal(path: Path, clock: ManualClock) -> None:
    plug = Scripted(Capability("mode", normal="eco", values=("eco", "fast", "off")), "fast")
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order(capability="mode"))
        await first.reach(State.CONFIRMED)
    other = Scripted(Capability("mode", normal="eco", values=("eco", "off")), "off")  # the file was changed meanwhile
    async with living(Gateway(path, clock, other)) as second:
        clock.advance(HOUR)
        await second.reach(State.RESTORED)
        assert other.value == "eco"
        assert second.keeper.held() == []


async def test_a_faulty_driver_and_a_faulty_listener_stop_nobody(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    plug.fault = RuntimeError("a fault of the driver")
    gateway = Gateway(path, clock, plug)

    def broken(_: Outcome) -> None:
        raise RuntimeError("a fault of the listener")

    gateway.keeper._on_outcome = broken
    with structlog.testing.capture_logs() as logs:
        async with living(gateway):
            await gateway.keeper.command(order())
            await until(lambda: any(log["event"] == "the driver failed" for log in logs))
            plug.fault = None
            await gateway.reach(State.CONFIRMED)
    assert any("could not be passed on" in log["event"] for log in logs)


@pytest.mark.parametrize(
    ("first", "second", "holds"),
    [
        (Rank.EVENT, Rank.EVENT, "c2"),  # of equals the newer
        (Rank.SCHEDULE, Rank.EVENT, "c2"),
        (Rank.EVENT, Rank.USER, "c2"),
        (Rank.USER, Rank.SAFETY, "c2"),
        (Rank.EVENT, Rank.SCHEDULE, "c1"),
        (Rank.SAFETY, Rank.EVENT, "c1"),
        (Rank.USER, Rank.EVENT, "c1"),
    ],
)
async def test_who_holds(path: Path, clock: ManualClock, first: Rank, second: Rank, holds: str) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order("c1", "off", by="a", rank=first, until=START + 2 * HOUR))
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.command(order("c2", "on", by="b", rank=second, until=START + HOUR))
        await gateway.settled()
        assert [lease.command.id for lease in gateway.keeper.held() if lease.holds] == [holds]
        clock.advance(HOUR)
        await gateway.reach(State.REPLACED, "c2")  # the other one still stands and has the device
        await until(lambda: [lease.holds for lease in gateway.keeper.held()] == [True])
        await until(lambda: gateway.keeper.held()[0].phase.value == "held")
        assert gateway.driver.value == "off"
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED, "c1")
        assert gateway.driver.value == "on"
        assert gateway.states("c1") == LIFE
        assert (State.SENT in gateway.states("c2")) is (holds == "c2")


@pytest.mark.parametrize(("one", "two", "stands"), [(2000.0, 3000.0, 2000.0), (3000.0, 2000.0, 2000.0)])
async def test_of_equal_limits_the_stricter(
    path: Path, clock: ManualClock, one: float, two: float, stands: float
) -> None:
    async with living(Gateway(path, clock, Scripted(LIMIT, 8000.0))) as gateway:
        await gateway.keeper.command(limit("c1", one, "a"))
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.command(limit("c2", two, "b"))
        await gateway.settled()
        assert gateway.driver.value == stands
        held = {lease.command.value: lease.holds for lease in gateway.keeper.held()}
        assert held == {stands: True, max(one, two): False}
        clock.advance(HOUR)
        await until(lambda: gateway.driver.value == 8000.0)
        assert gateway.driver.orders == ([2000.0, 8000.0] if one < two else [3000.0, 2000.0, 8000.0])


EXPORT = Capability("export_limit", normal=100.0, unit="%", low=0.0, high=100.0)
CURRENT = Capability("current_limit", normal=16.0, unit="A", low=6.0, high=32.0, floor=6.0)


@pytest.mark.parametrize(
    ("capability", "before", "wanted", "rank", "told"),
    [
        (LIMIT, 2000.0, 3000.0, Rank.EVENT, 2000.0),
        (LIMIT, 2000.0, 1700.0, Rank.EVENT, 1700.0),
        (LIMIT, 2000.0, 3000.0, Rank.SCHEDULE, 2000.0),
        (LIMIT, 2000.0, 3000.0, Rank.USER, 3000.0),
        (LIMIT, 0.0, 3000.0, Rank.EVENT, 3000.0),
        (LIMIT, 100.0, 3000.0, Rank.EVENT, 3000.0),
        (LIMIT, None, 3000.0, Rank.EVENT, 3000.0),
        (EXPORT, 70.0, 80.0, Rank.EVENT, 70.0),
        (EXPORT, 0.0, 80.0, Rank.EVENT, 0.0),
        (EXPORT, 100.0, 80.0, Rank.EVENT, 80.0),
        (CURRENT, 10.0, 16.0, Rank.EVENT, 16.0),
    ],
)
async def test_an_event_loosens_no_limit_that_was_there_before(
    path: Path,
    clock: ManualClock,
    capability: Capability,
    before: float | None,
    wanted: float,
    rank: Rank,
    told: float,
) -> None:
    """A shed to 3 kW is no reason to let a heat pump draw more than the 2 kW that its user allows.

    0, or less than the device takes, is how devices say that they have no import limit.
    """
    async with living(Gateway(path, clock, Scripted(capability, before))) as gateway:
        await gateway.keeper.command(order(value=wanted, capability=capability.name, rank=rank))
        await gateway.reach(State.CONFIRMED)
        assert gateway.driver.orders == [told]
    after = before if before is not None else capability.normal
    async with living(Gateway(path, clock, Scripted(capability, told))) as gateway:
        await gateway.settled()
        assert gateway.driver.value == told, "after a restart, too"
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)
        assert gateway.driver.value == after


async def test_of_limits_that_are_words_the_newest(path: Path, clock: ManualClock) -> None:
    words = Capability("import_limit", normal="full", values=("full", "half", "floor"))
    async with living(Gateway(path, clock, Scripted(words, "full"))) as gateway:
        await gateway.keeper.command(order("c1", "half", by="a", capability="import_limit"))
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.command(order("c2", "floor", by="b", capability="import_limit"))
        await gateway.reach(State.CONFIRMED, "c2")
        await gateway.keeper.release("c2")
        await until(lambda: gateway.driver.value == "half", "the older one")
    numbers = Scripted(LIMIT, 8000.0)  # the file was changed meanwhile
    async with living(Gateway(path, clock, numbers)) as second:
        await second.keeper.command(limit("c3", 3000.0, "b"))
        clock.advance(HOUR)
        await until(lambda: not second.keeper.held(), "the end of all")
        assert numbers.value == 9000.0


async def test_the_same_cause_replaces_its_command(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted(LIMIT, 8000.0))) as gateway:
        await gateway.keeper.command(limit("c1", 2000.0, "event-1"))
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.command(limit("c2", 3000.0, "event-1", until=START + MINUTE))
        await gateway.reach(State.CONFIRMED, "c2")
        assert gateway.states("c1") == [*LIFE[:3], State.REPLACED]
        clock.advance(MINUTE)
        await gateway.reach(State.RESTORED, "c2")
        assert gateway.driver.orders == [2000.0, 3000.0, 8000.0]


async def test_the_next_interval_follows_without_going_back(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted(LIMIT, 8000.0), Pace(grace_s=60))) as gateway:
        await gateway.keeper.command(limit("c1", 2000.0, "event-1", until=START + MINUTE))
        await gateway.reach(State.CONFIRMED)
        await until(lambda: clock._sleepers, "the wait for the end")
        clock.advance(MINUTE)
        for _ in range(10):
            await asyncio.sleep(0)  # the keeper wakes first
        await gateway.keeper.command(limit("c2", 3000.0, "event-1"))
        await gateway.reach(State.CONFIRMED, "c2")
        assert gateway.driver.orders == [2000.0, 3000.0]
        assert gateway.keeper.held()[0].previous == 8000.0


async def test_a_replacement_outlives_a_kill(path: Path, clock: ManualClock) -> None:
    plug = Scripted(LIMIT, 8000.0)
    plug.online = False
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(limit("c1", 2000.0, "event-1"))
        await first.keeper.command(limit("c2", 3000.0, "event-1"))
    plug.online = True
    async with living(Gateway(path, clock, plug)) as second:
        await second.reach(State.CONFIRMED, "c2")
        assert plug.orders == [3000.0]


async def test_a_command_during_the_restore_keeps_the_first_previous_state(path: Path, clock: ManualClock) -> None:
    plug = Scripted(LIMIT, 8000.0)
    async with living(Gateway(path, clock, plug)) as gateway:
        await gateway.keeper.command(limit("c1", 2000.0, "event-1", until=START + MINUTE))
        await gateway.reach(State.CONFIRMED)
        plug.obeys = False
        clock.advance(MINUTE)
        await until(lambda: plug.orders[-1] == 8000.0)
        plug.obeys = True
        await gateway.keeper.command(limit("c2", 3000.0, "event-2"))
        await gateway.reach(State.CONFIRMED, "c2")
        assert gateway.states("c1")[-1] is State.REPLACED
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED, "c2")
        assert plug.value == 8000.0


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (order(value="dim"), "takes on, off"),
        (order(value=1.0), "takes on, off"),
        (order(capability="mode"), "has no mode"),
        (Command("c1", "oven", "switch", "off", START + HOUR, "x"), "not known"),
        (order(until=START), "It was over"),
        (order(until=datetime(2026, 3, 2, 18)), "no time zone"),  # noqa: DTZ001  the fault under test
    ],
)
async def test_refused_switch(path: Path, clock: ManualClock, command: Command, reason: str) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        outcome = await gateway.keeper.command(command)
        assert outcome.state is State.REFUSED
        assert reason in outcome.detail
        assert gateway.journalled() == gateway.states() == [State.REFUSED]
        assert gateway.driver.orders == []


@pytest.mark.parametrize("value", ["off", True, float("nan"), float("inf"), 9001.0])
async def test_refused_limit(path: Path, clock: ManualClock, value: Value) -> None:
    async with living(Gateway(path, clock, Scripted(LIMIT, 8000.0))) as gateway:
        outcome = await gateway.keeper.command(order(value=value, capability="import_limit"))
        assert outcome.state is State.REFUSED
        assert "import_limit takes" in outcome.detail


async def test_the_floor_holds(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted(LIMIT, 8000.0))) as gateway:
        outcome = await gateway.keeper.command(limit("c1", 0.0, "event-1"))
        assert (outcome.command.value, outcome.detail) == (1500.0, "raised from 0 to the floor 1500 W")
        await gateway.reach(State.CONFIRMED)
        assert gateway.driver.orders == [1500.0]


async def test_writes_keep_their_distance(path: Path, clock: ManualClock) -> None:
    slow = Capability("switch", normal="on", values=("on", "off"), min_interval=10 * MINUTE)
    async with living(Gateway(path, clock, Scripted(slow))) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.driver.contact(Contact.RESTARTED)  # the same again need not wait
        await until(lambda: gateway.driver.orders == ["off", "off"])
        await until(lambda: gateway.keeper.held()[0].phase.value == "held")
        await gateway.keeper.release("c1")
        await until(lambda: START + 10 * MINUTE in [when for when, _ in clock._sleepers], "the wait for the distance")
        clock.advance(9 * MINUTE)
        assert gateway.driver.orders == ["off", "off"]
        clock.advance(MINUTE)
        await gateway.reach(State.RESTORED)
        # Also across a restart, and not for safety.
        gateway.journal.close()
        second = Gateway(path, clock, gateway.driver)
        async with living(second):
            await second.keeper.command(order("c2", by="event-2", until=clock.now() + HOUR))
            await second.keeper.command(order("c3", by="comfort", rank=Rank.SAFETY, until=clock.now() + HOUR))
            await second.reach(State.CONFIRMED, "c3")


async def test_no_timer_of_the_devices_own_ends_an_order_before_the_next_may_go_out(
    path: Path, clock: ManualClock
) -> None:
    slow = Capability("switch", normal="on", values=("on", "off"), min_interval=10 * MINUTE, hardware_lease=True)
    async with living(Gateway(path, clock, Scripted(slow))) as gateway:
        await gateway.keeper.command(order(until=START + MINUTE))
        await gateway.reach(State.CONFIRMED)
        assert gateway.driver.until == [START + 10 * MINUTE]


async def test_a_full_disk_is_waited_out(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        gateway.journal._db.execute("PRAGMA query_only = ON")
        with pytest.raises(UnavailableError, match="cannot be written"):
            await gateway.keeper.command(order())
        assert gateway.driver.orders == []
        gateway.journal._db.execute("PRAGMA query_only = OFF")
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.journal._db.execute("PRAGMA query_only = ON")
        with structlog.testing.capture_logs() as logs:
            clock.advance(HOUR)
            await until(lambda: any("cannot be kept" in log["event"] for log in logs))
        await until(lambda: gateway.driver.value == "on", "the device back, with the disk still full")
        assert State.RESTORED not in gateway.journalled() + gateway.states()
        assert gateway.keeper.unrecorded
        gateway.journal._db.execute("PRAGMA query_only = OFF")
        await gateway.reach(State.RESTORED)
        assert gateway.states() == gateway.journalled() == LIFE
        assert not gateway.keeper.unrecorded


async def test_the_end_of_a_lease_that_waits_for_the_disk_does_not_end_the_next_one_there(
    path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        journal, keeper = gateway.journal, gateway.keeper
        await keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        full = True

        def lacks_room(*_: object) -> None:
            if full:
                raise UnavailableError("no room")

        finish = journal.finish
        monkeypatch.setattr(journal, "finish", lambda *what: lacks_room() or finish(*what))
        await keeper.release("c1")
        await until(lambda: gateway.driver.value == "on" and keeper.unrecorded, "the device back, and no record of it")
        with pytest.raises(UnavailableError, match="what came before"):
            await keeper.command(order("c2", by="event-2"))
        full = False
        await keeper.command(order("c2", by="event-2"))
        await gateway.reach(State.CONFIRMED, "c2")
        assert journal.held("heater", "switch").previous == "on"


async def test_a_device_that_left_the_household_keeps_its_lease(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
    journal = Journal(path)
    empty = LeaseManager({}, journal, clock, lambda _: None)
    with structlog.testing.capture_logs() as logs:
        await empty.recover()
    journal.close()
    assert "no longer names" in logs[0]["event"]
    clock.advance(HOUR)
    async with living(Gateway(path, clock, plug)) as second:
        await second.reach(State.RESTORED)


async def test_old_commands_are_forgotten(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
        clock.advance(HOUR)
        await first.reach(State.RESTORED)
    clock.advance(timedelta(days=500))
    async with living(Gateway(path, clock, Scripted())) as second:
        assert second.journal.outcomes() == []


def test_a_foreign_file_is_no_journal(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    file.write_text("this is not a database, but it is long enough to be taken for one at first sight" * 20)
    with pytest.raises(InvalidError, match="not a command journal"):
        Journal(file)
    with pytest.raises(UnavailableError, match="cannot be opened"):
        Journal(tmp_path / "no" / "such" / "folder.db")


async def test_an_old_word_confirms_no_restore_that_nobody_received(path: Path, clock: ManualClock) -> None:
    plug = Scripted()
    async with living(Gateway(path, clock, plug)) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        plug.obeys = False
        clock.advance(HOUR)
        await until(lambda: plug.orders[-1] == "on", "the restore")
        for age in (3 * HOUR, MINUTE, timedelta(seconds=1)):
            plug._on_state("switch", "on", clock.now() - age)  # type: ignore[misc]
        plug._on_state("switch", "on", None)  # type: ignore[misc,arg-type]
        assert State.RESTORED not in gateway.states()
        plug.obeys = True
        await gateway.reach(State.RESTORED)
        assert plug.value == "on"


async def test_a_stamp_that_stands_still_is_believed_in_the_end(path: Path, clock: ManualClock) -> None:
    class Stopped(Scripted):
        def speak(self, value: Value | None = None, at: datetime | None = None) -> None:
            super().speak(value, at or START - HOUR)

    async with living(Gateway(path, clock, Stopped(), Pace(ack_s=0.01, tries=2, longest_s=0.02))) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.FAILED)
        assert State.CONFIRMED not in gateway.journalled()
        await gateway.reach(State.CONFIRMED)


@pytest.mark.parametrize("gap", [0, 1, 5, 50])
async def test_of_two_back_to_back_events_both_run(path: Path, clock: ManualClock, gap: int) -> None:
    """The second one comes `gap` turns of the loop after the first restore was written."""
    plug = Scripted()
    async with living(Gateway(path, clock, plug, Pace(ack_s=5))) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        plug.obeys = False
        clock.advance(HOUR)
        await until(lambda: plug.orders[-1] == "on", "the restore")
        for _ in range(gap):
            await asyncio.sleep(0)
        second = order("c2", by="event-2", until=START + 2 * HOUR)
        plug.value, plug.obeys = "on", True
        assert (await gateway.keeper.command(second)).state is State.JOURNALLED
        plug.speak()  # the first restore is confirmed while the second command waits
        await gateway.reach(State.CONFIRMED, "c2")
        assert plug.value == "off"
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED, "c2")
        assert (plug.value, gateway.keeper.held()) == ("on", [])


async def test_what_a_device_says_after_our_start_is_no_hand(path: Path, clock: ManualClock) -> None:
    """Power comes back in the whole house: the plug starts on, and so do we."""
    plug = Scripted()
    async with living(Gateway(path, clock, plug)) as first:
        await first.keeper.command(order())
        await first.reach(State.CONFIRMED)
    clock.advance(10 * MINUTE)
    async with living(Gateway(path, clock, plug, Pace(settle_s=0.2))) as second:
        clock.advance(timedelta(seconds=1))
        plug.speak("on")
        await until(lambda: plug.orders == ["off", "off"], "the lease asserted again")
        assert second.states() == []


@pytest.mark.parametrize("we_too", [True, False])
@pytest.mark.parametrize(("before", "falls"), [("on", "off"), ("off", "on")])
async def test_what_a_relay_falls_into_just_before_an_event_is_not_given_back(
    path: Path, clock: ManualClock, before: str, falls: str, *, we_too: bool
) -> None:
    """Power goes after the order and before the first command, and the relay comes back as its maker set it."""
    plug = Scripted(value=before)
    async with contextlib.AsyncExitStack() as first_life:
        gateway = await first_life.enter_async_context(living(Gateway(path, clock, plug)))
        plug.speak(before)
        clock.advance(5 * MINUTE)
        if we_too:
            await first_life.aclose()
            gateway = await first_life.enter_async_context(living(Gateway(path, clock, plug)))
        else:
            plug.contact(Contact.RESTARTED)
        plug.fall(falls)
        plug.speak(falls)
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.release("c1")
        await gateway.reach(State.RESTORED)
        assert plug.value == before


async def test_a_hand_after_a_power_cut_is_what_counts(path: Path, clock: ManualClock) -> None:
    plug = Scripted(value="off")
    async with living(Gateway(path, clock, plug)) as gateway:
        plug.speak("off")
        plug.contact(Contact.RESTARTED)
        plug.fall("off")
        clock.advance(MINUTE)
        plug.speak("on")
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        await gateway.keeper.release("c1")
        await gateway.reach(State.RESTORED)
        assert plug.value == "on"


async def test_what_a_full_disk_did_not_take_is_put_there_with_the_next_word(path: Path, clock: ManualClock) -> None:
    plug = Scripted(value="on")
    async with living(Gateway(path, clock, plug)) as gateway:
        plug.speak("on")
        gateway.journal._db.execute("PRAGMA query_only = ON")
        clock.advance(MINUTE)
        plug.speak("off")
        gateway.journal._db.execute("PRAGMA query_only = OFF")
        clock.advance(MINUTE)
        plug.speak("off")
        assert gateway.journal.held("heater", "switch").chosen == "off"


@pytest.mark.parametrize(("value", "at"), [("rubbish", "x"), ('"on"', "2026-03-02T17:00:00"), ("7.5", None)])
async def test_a_damaged_note_keeps_no_gateway_from_starting(
    path: Path, clock: ManualClock, value: str, at: str | None
) -> None:
    plug = Scripted(value="on")
    async with living(Gateway(path, clock, plug)) as gateway:
        plug.speak("on")
        moment = clock.now().isoformat() if at is None else at
        gateway.journal._db.execute("UPDATE slot SET chosen = ?, chosen_at = ?", (value, moment))
    async with living(Gateway(path, clock, plug)) as second:
        await second.keeper.command(order())
        await second.reach(State.CONFIRMED)
        await second.keeper.release("c1")
        await second.reach(State.RESTORED)
        assert plug.value == "on"


async def test_a_clock_set_back_delays_neither_writing_nor_restoring(path: Path, clock: ManualClock) -> None:
    slow = Capability("switch", normal="on", values=("on", "off"), min_interval=10 * MINUTE)
    async with living(Gateway(path, clock, Scripted(slow))) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        clock.set(START - 12 * HOUR)
        await gateway.keeper.release("c1")
        clock.advance(9 * MINUTE)
        await asyncio.sleep(0.1)
        assert gateway.driver.orders == ["off"]
        await until(lambda: clock._sleepers, "the wait for the distance")
        clock.advance(MINUTE)
        await gateway.reach(State.RESTORED)
    async with living(Gateway(path, clock, Scripted(slow))) as second:  # and a start with it waits the distance at most
        clock.set(START - 24 * HOUR)
        await second.keeper.command(order("c2", by="event-2"))
        await until(lambda: clock._sleepers, "the wait for the distance")
        clock.advance(10 * MINUTE)
        await second.reach(State.CONFIRMED, "c2")


async def test_a_hand_is_seen_after_the_clock_was_set_back(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        clock.set(START - HOUR)
        gateway.driver.speak("on")
        assert gateway.states()[-1] is State.OVERRIDDEN


async def test_a_full_disk_keeps_nothing_from_being_released(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted())) as gateway:
        await gateway.keeper.command(order())
        await gateway.reach(State.CONFIRMED)
        gateway.journal._db.execute("PRAGMA query_only = ON")
        await gateway.keeper.release("c1")
        await until(lambda: gateway.driver.value == "on", "the device back")
    async with living(
        Gateway(path, clock, gateway.driver)
    ) as second:  # the journal does not know: it is done once more
        await second.keeper.release("c1")
        await second.reach(State.RESTORED)


# -- a device that never says what it does

MUTE = Capability("notify", normal="", readback=False, text=True)


async def test_an_order_to_a_device_that_never_answers_counts_as_sent(path: Path, clock: ManualClock) -> None:
    async with living(Gateway(path, clock, Scripted(MUTE, None))) as gateway:
        await gateway.keeper.command(order(capability="notify", value="Peak hours"))
        await gateway.reach(State.SENT)
        await until(lambda: gateway.keeper.held()[0].phase is Phase.HELD, "believed to have heard")
        assert gateway.driver.orders == ["Peak hours"]  # once
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)
        assert gateway.driver.orders == ["Peak hours", ""]
    assert gateway.states() == [State.JOURNALLED, State.SENT, State.RESTORED]


async def test_it_is_told_again_after_a_restart_and_when_the_link_is_back(path: Path, clock: ManualClock) -> None:
    first = Scripted(MUTE, None)
    async with living(Gateway(path, clock, first)) as gateway:
        await gateway.keeper.command(order(capability="notify", value="Peak hours"))
        await gateway.reach(State.SENT)
    second = Scripted(MUTE, None)
    async with living(Gateway(path, clock, second)) as gateway:
        await until(lambda: second.orders == ["Peak hours"], "told again")
        assert second._on_contact is not None
        await until(lambda: gateway.keeper.held()[0].phase is Phase.HELD, "believed to have heard")
        second._on_contact(Contact.RESTARTED)
        await until(lambda: second.orders == ["Peak hours"] * 2, "told again")
        clock.advance(HOUR)
        await until(lambda: second.orders[-1] == "", "given back")


async def test_a_link_that_is_down_is_waited_for(path: Path, clock: ManualClock) -> None:
    device = Scripted(MUTE, None)
    device.fault = UnavailableError("no link")
    async with living(Gateway(path, clock, device)) as gateway:
        await gateway.keeper.command(order(capability="notify", value="Peak hours"))
        await until(lambda: gateway.keeper.held()[0].phase is not Phase.CLAIMED, "tried")
        assert gateway.states() == [State.JOURNALLED]
        device.fault = None
        await gateway.reach(State.SENT)


@pytest.mark.parametrize("value", [5.0, "x" * 201])
async def test_a_text_is_a_text_of_bounded_length(path: Path, clock: ManualClock, value: Value) -> None:
    async with living(Gateway(path, clock, Scripted(MUTE, None))) as gateway:
        outcome = await gateway.keeper.command(order(capability="notify", value=value))
        assert outcome.state is State.REFUSED
        assert "text of 200 characters" in outcome.detail


async def test_what_a_device_keeps_leaving_is_not_asserted_for_ever(path: Path, clock: ManualClock) -> None:
    pace = replace(FAST, drifts=3, burst_s=0.0, longest_s=3600.0)
    async with living(Gateway(path, clock, Scripted(), pace)) as gateway:
        await gateway.keeper.command(order(rank=Rank.SAFETY, by="comfort"))
        for orders in (1, 2, 3):
            await until(lambda: gateway.keeper.held()[0].phase is Phase.HELD, "held")
            assert gateway.driver.orders == ["off"] * orders
            clock.advance(timedelta(seconds=1))
            gateway.driver.speak("on")
        await gateway.reach(State.FAILED)
        await asyncio.sleep(0.1)
        assert gateway.driver.orders == ["off"] * 3
        assert "again and again" in gateway.outcomes[-1].detail
        clock.advance(HOUR)
        await gateway.reach(State.RESTORED)
