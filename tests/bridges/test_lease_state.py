"""The lease machine: its table, and what hypothesis cannot break in it."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridges.device import Capability, Command, Contact, Device, Outcome, State, Value
from bridges.journal import Journal
from bridges.lease_state import TABLE, CapabilityState, Event, Pace, Phase
from bridges.leases import LeaseManager
from bridges.own_state import LEFT_ALONE
from core.errors import UnavailableError
from support.virtual_time import LoopClock, VirtualLoop

START = datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
SWITCH = Capability("switch", normal="on", values=("on", "off"), readable=True)
WORDS = st.sampled_from(["on", "off"])


def test_every_state_can_be_left_and_leads_home() -> None:
    assert set(TABLE) == set(Phase)
    ways = {phase: {target for target, _ in row.values()} for phase, row in TABLE.items()}
    for phase in Phase:
        reached, before = {phase}, set()
        while reached != before:
            before = set(reached)
            reached |= {target for state in before for target in ways[state]}
        assert Phase.FREE in reached


def test_no_claim_is_lost_in_any_state() -> None:
    for phase, row in TABLE.items():
        assert row[Event.CLAIM][0] in (Phase.CLAIMED, Phase.WRITE), phase


def test_what_was_written_is_left_by_the_hand_or_by_a_restore_only() -> None:
    """Whatever happens to a device that we wrote to, FREE is reached from there in three ways."""
    homes = {
        (phase, event)
        for phase, row in TABLE.items()
        for event, (target, _) in row.items()
        if target is Phase.FREE and phase not in (Phase.FREE, Phase.CLAIMED)
    }
    assert homes == {
        (Phase.HELD, Event.HAND),
        (Phase.RECHECK, Event.HAND),
        (Phase.RESTORING, Event.AGREED),
        (Phase.RESTORING, Event.HOPELESS),
    }


class House:
    """A switch behind a network that loses and delays, and its driver in the gateway. The switch outlives gateways."""

    def __init__(self, loop: VirtualLoop, clock: LoopClock, value: str) -> None:
        self.loop = loop
        self.clock = clock
        self.value = value
        self.losing = 0
        self.away = False
        self.linked = True
        self.words: list[tuple[str, datetime]] = []
        self.seen: Value | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self._on_state: Callable[[str, Value, datetime | None], None] | None = None
        self._on_contact: Callable[[Contact], None] | None = None

    # -- the driver

    def describe(self) -> Device:
        return Device("heater", "plug", (), (SWITCH,), 2000.0)

    def observe(self, on_contact: Callable[[Contact], None]) -> None:
        self._on_contact = on_contact

    @property
    def online(self) -> bool:
        return self.linked

    def state(self, _: str) -> Value | None:
        return self.seen

    async def apply(self, _: str, value: Value, __: datetime | None) -> None:
        if self.losing or self.away:
            self.losing = max(0, self.losing - 1)
            return
        self.later(0.02, lambda: self.obey(str(value)))

    def attach(self, keeper: LeaseManager) -> None:
        self.seen, self._on_state = None, keeper.listener("heater")
        self.say()

    def detach(self) -> None:
        self._on_state = self._on_contact = None

    # -- the switch

    def later(self, delay_s: float, act: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(delay_s)
            act()

        task = self.loop.create_task(wait())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def obey(self, value: str) -> None:
        if not self.away:
            self.value = value
            self.say()

    def say(self, *, known: bool = True) -> None:
        if self.away:
            return
        word = (self.value, self.clock.now())
        self.words = [*self.words[-9:], word]
        self.later(0.02, lambda: self.hear(*word, known=known))

    def hear(self, value: str, at: datetime, *, known: bool = True) -> None:
        if self.linked and self._on_state is not None:
            self.seen = value
            self._on_state("switch", value, at if known else None)

    def tell(self, contact: Contact) -> None:
        if self._on_contact is not None:
            self._on_contact(contact)


class Leases(RuleBasedStateMachine):
    """Claims, writes, losses, restarts and clock steps in any order; then everything ends, and the device is back."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.clock = LoopClock(self.loop, START)
        self.folder = tempfile.TemporaryDirectory()
        self.outcomes: list[Outcome] = []
        self.commands: list[Command] = []
        self.released: set[str] = set()
        self.baselines: set[str] = set()
        self.fell_at = timedelta(days=-1)
        self.full = False
        self.task: asyncio.Task[None] | None = None

    @initialize(value=WORDS)
    def begin(self, value: str) -> None:
        self.house, self.baselines = House(self.loop, self.clock, value), {value}
        self.start()
        self.run(1)

    def start(self) -> None:
        self.journal = Journal(Path(self.folder.name) / "journal.db")
        self.journal._db.execute("PRAGMA synchronous = OFF")
        self.keeper = LeaseManager({"heater": self.house}, self.journal, self.clock, self.outcomes.append)

        async def live() -> None:
            await self.keeper.recover()
            self.house.attach(self.keeper)
            await self.keeper.run()

        self.task = self.loop.create_task(live())
        self.run(0.001)

    def kill(self) -> None:
        if self.task is not None:
            known = self.journal.held("heater", "switch")
            if self.keeper.unrecorded and known.touched:  # a full disk and a crash: it is restored once more
                self.baselines = {str(known.previous)}
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(self.task)
            self.house.detach()
            self.journal.close()
        self.task = None

    def run(self, seconds: float) -> None:
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def do(self, act: Callable[[], None]) -> None:
        """Call something as the loop would."""

        async def called() -> None:
            act()

        self.loop.run_until_complete(called())

    def hear(self, value: str, at: datetime | None) -> None:
        house = self.house
        if house.linked and house._on_state is not None:
            listener = house._on_state
            house.seen = house.seen or value
            self.do(lambda: listener("switch", value, at))

    def tell(self, contact: Contact) -> None:
        self.do(lambda: self.house.tell(contact))

    @property
    def slot(self) -> CapabilityState:
        return self.keeper._slots["heater", "switch"]

    def live(self) -> list[Command]:
        ended = {one.command.id for one in self.outcomes if one.state is State.OVERRIDDEN} | self.released
        latest: dict[str, Command] = {}
        for command in self.commands:
            latest[command.by] = command
        return [one for one in latest.values() if one.id not in ended and one.until > self.clock.now()]

    @rule(value=WORDS, minutes=st.sampled_from([1, 20, 100]), event=st.integers(0, 2))
    def claim(self, value: str, minutes: int, event: int) -> None:
        if self.task is None:
            return
        if not self.slot.claims and self.slot.phase is Phase.FREE and self.is_settled():
            self.baselines = {self.house.value}
        until = self.clock.now() + timedelta(minutes=minutes)
        command = Command(f"c{len(self.commands)}", "heater", "switch", value, until, f"event-{event}")
        try:
            outcome = self.loop.run_until_complete(self.keeper.command(command))
        except UnavailableError:
            assert self.full
            return
        if outcome.state is State.REFUSED:
            assert "user took" in outcome.detail
        else:
            self.commands.append(command)

    @rule(number=st.integers(0, 5))
    def release(self, number: int) -> None:
        live = self.live()
        if self.task is not None and live:
            command = live[number % len(live)]
            self.loop.run_until_complete(self.keeper.release(command.id))
            self.released.add(command.id)

    @rule(seconds=st.sampled_from([0.001, 0.03, 0.1, 1, 8, 20, 100, 700]))
    def wait(self, seconds: float) -> None:
        self.run(seconds)

    @rule(count=st.integers(1, 3))
    def lose_orders(self, count: int) -> None:
        self.house.losing = count

    @rule(back=st.integers(1, 10))
    def an_old_word_again(self, back: int) -> None:
        """Late or twice: with the stamp that it has."""
        words = [word for word in self.house.words if self.clock.now() - word[1] > timedelta(seconds=0.1)]
        if words:
            self.hear(*words[-min(back, len(words))])

    @rule(value=WORDS)
    def a_word_of_unknown_age(self, value: str) -> None:
        if self.house.seen is not None:
            self.hear(value, None)
        if self.task is not None:
            self.slot.spoken = False  # such words come with a return, of which contact tells
        self.house.say()

    @rule(boots=WORDS, away_s=st.sampled_from([0.0, 5.0, 60.0]))
    def the_device_restarts(self, boots: str, away_s: float) -> None:
        self.run(0.1)  # nothing is on its way: what it said before is then told apart
        self.house.away = True
        self.tell(Contact.LOST)
        if away_s:
            self.run(away_s)
        self.house.away, self.house.value = False, boots
        if not self.on_the_device():  # what it fell into, or what it was before: that depends on when an order comes
            self.baselines |= {boots}
            self.fell_at = self.clock.elapsed()
        if self.house.linked:
            self.tell(Contact.RESTARTED)
            self.house.say(known=False)
        self.run(0.05)

    def is_settled(self) -> bool:
        """Tell whether what the device does has been left alone for so long that it is its own."""
        return not self.house.away and self.clock.elapsed() - self.fell_at > LEFT_ALONE

    def on_the_device(self) -> bool:
        """Tell whether something of ours is on the device: what the gateway knows, and for a dead one its journal."""
        if self.task is not None:
            return self.slot.phase not in (Phase.FREE, Phase.CLAIMED)
        with contextlib.closing(Journal(Path(self.folder.name) / "journal.db")) as journal:
            return journal.held("heater", "switch").touched

    @rule()
    @precondition(lambda self: self.task is not None and not self.full)
    def the_users_hand(self) -> None:
        """A person turns the knob at rest: of a confirmed lease, or of a device that nobody holds."""
        self.run(0.1)
        slot, other = self.slot, "off" if self.house.value == "on" else "on"
        rest = slot.phase is Phase.FREE and not slot.claims and self.loop.time() > slot.settled_until
        if not rest and slot.phase is not Phase.HELD:
            return
        open_ids = set(slot.claims)
        self.do(lambda: self.house.obey(other))
        self.run(0.021)
        self.baselines = {other}
        assert not open_ids or slot.phase is Phase.FREE or set(slot.claims).isdisjoint(open_ids)
        assert open_ids <= {one.command.id for one in self.outcomes if one.state is State.OVERRIDDEN}

    @rule(down_s=st.sampled_from([0.5, 30.0]))
    def the_link_is_lost_for_a_while(self, down_s: float) -> None:
        self.house.linked = False
        self.tell(Contact.LOST)
        self.run(down_s)
        self.house.linked = True
        self.tell(Contact.LINK)
        self.house.say(known=False)

    @rule(down_s=st.sampled_from([0.0, 3.0, 300.0]))
    def the_gateway_dies(self, down_s: float) -> None:
        self.kill()
        self.full = False
        self.run(down_s)
        self.start()
        for lease in self.keeper.held():  # as the plan says: what a full disk did not let us note is told again
            if lease.command.id in self.released:
                self.loop.run_until_complete(self.keeper.release(lease.command.id))

    @rule(minutes=st.sampled_from([-30, 30]))
    def the_clock_is_set(self, minutes: int) -> None:
        self.clock.step(timedelta(minutes=minutes))
        self.run(Pace().nap_s + 1)  # it is noticed

    @rule(full=st.booleans())
    def the_disk(self, *, full: bool) -> None:
        self.full = full
        self.journal._db.execute(f"PRAGMA query_only = {'ON' if full else 'OFF'}")

    @invariant()
    def what_is_over_stays_over(self) -> None:
        self.released |= {one.id for one in self.commands if one.until <= self.clock.now()}

    @invariant()
    def nothing_is_held_without_a_claim(self) -> None:
        if self.task is not None:
            assert all(lease.command in self.commands for lease in self.keeper.held())

    def teardown(self) -> None:
        try:
            if self.task is not None:
                self.house.losing = 0
                self.the_disk(full=False)
                self.run(700)
                live = self.live()
                if live:  # no claim is lost: the newest one that still lives has the device
                    newest = max(live, key=self.commands.index)
                    assert self.house.value == newest.value
                for command in live:
                    self.loop.run_until_complete(self.keeper.release(command.id))
                self.run(1500)
                assert self.keeper.held() == []
                assert self.house.value in self.baselines
                assert self.slot.phase is Phase.FREE
        finally:
            self.kill()
            for task in self.house.tasks if hasattr(self, "house") else ():
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
            self.folder.cleanup()


def test_fifty_modifications_a_second_are_paced_and_end_where_it_began() -> None:
    here = Leases()
    here.begin("on")
    house, orders = here.house, []
    apply = house.apply

    async def counted(capability: str, value: Value, until: datetime | None) -> None:
        orders.append((here.loop.time(), value))
        await apply(capability, value, until)

    house.apply = counted  # type: ignore[method-assign]
    until = here.clock.now() + timedelta(hours=1)
    try:
        for number in range(1000):
            value = "on" if number % 3 else "off"
            here.loop.run_until_complete(
                here.keeper.command(Command(f"c{number}", "heater", "switch", value, until, "event-1"))
            )
            here.run(0.02)
        assert len(orders) <= 4 * 3  # in 20 seconds
        here.run(20)
        assert house.value == "off"  # the newest counts
        here.loop.run_until_complete(here.keeper.release("c999"))
        here.run(20)
        assert (house.value, here.keeper.held()) == ("on", [])
    finally:
        here.teardown()


class TestLeases(Leases.TestCase):  # type: ignore[misc]
    settings = settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
