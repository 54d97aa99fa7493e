"""Leases: a command holds a device until it runs out, then the device gets back what it did before.

Done here once, for every driver: arbitration, journal, read-back, re-assertion, restoring. `bridges.lease_state` has
the states and the theory; this module asks the clock, the journal and the drivers.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import structlog

from bridges.backlog import Backlog
from bridges.backoff import Backoff
from bridges.device import (
    CapabilityKind,
    Command,
    Contact,
    Driver,
    Observable,
    Outcome,
    Rank,
    Reverting,
    State,
    StateListener,
    Value,
    same,
)
from bridges.journal import Held, Journal
from bridges.lease_state import (
    SAME_MOMENT,
    UNANSWERED,
    UNSAID,
    Action,
    CapabilityState,
    Claim,
    Event,
    Lease,
    Pace,
    Phase,
    admitted,
)
from bridges.own_state import REMEMBERED
from core.clock import Clock
from core.errors import InvalidError, NotFoundError, UnavailableError

_log = structlog.get_logger(__name__)

_KEEP_HISTORY: Final = timedelta(days=400)
_FULL_DISK_S: Final = 2.0
_CONTACTS: Final = {Contact.LINK: Event.LINK, Contact.RESTARTED: Event.RESTARTED}


class LeaseManager:
    """Keeps leases on devices.

    Start: `recover()`, then each driver with `on_state=keeper.listener(device)`, then `run()` in a task group.
    `on_outcome` gets every step once, after it is on disk; a step taken just before a crash is in `Journal.outcomes`.
    """

    def __init__(
        self,
        drivers: Mapping[str, Driver],
        journal: Journal,
        clock: Clock,
        on_outcome: Callable[[Outcome], None],
        pace: Pace | None = None,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._on_outcome = on_outcome
        self._pace = pace or Pace()
        self._backoff = Backoff(0.5, self._pace.longest_s)
        self._backlog = Backlog(journal, self._tell)
        self._devices = frozenset(drivers)
        self._slots = {
            (device, capability.name): CapabilityState(device, capability, driver, self._pace)
            for device, driver in drivers.items()
            for capability in driver.describe().capabilities
        }
        for device, driver in drivers.items():
            if isinstance(driver, Observable):
                driver.observe(partial(self.contact, device))

    @property
    def unrecorded(self) -> int:
        """How many steps wait for room on the disk."""
        return len(self._backlog)

    async def recover(self) -> None:
        """Read the journal: `run()` then restores what ran out while we were down and goes on with what lives."""
        self._backlog.add(partial(self._prune, self._clock.now() - _KEEP_HISTORY))
        for entry in self._journal.open():
            slot = self._slots.get((entry.command.device, entry.command.capability))
            if slot is None:
                _log.error(
                    "a lease is open on a device that the household no longer names; it is restored when it returns",
                    device=entry.command.device,
                    command=entry.command.id,
                )
            else:
                slot.claims[entry.command.id] = Claim(entry.seq, entry.command, entry.released, entry.confirmed_at)
        for slot in self._slots.values():
            self._recall(slot)

    def _prune(self, before: datetime) -> Sequence[Outcome]:
        self._journal.prune(before)
        return ()

    def _recall(self, slot: CapabilityState) -> None:
        known = self._journal.held(slot.device, slot.capability.name)
        now, slot.since = self._clock.now(), self._clock.elapsed()
        fits = not slot.capability.values or known.chosen in slot.capability.values
        if fits and known.chosen is not None and known.chosen_at and abs(now - known.chosen_at) < REMEMBERED:
            slot.own.choose(known.chosen, slot.since - max(now - known.chosen_at, timedelta()))
        slot.own.began(slot.since)
        if known.written is not None and known.written_at is not None:
            slot.written = known.written
            # The world clock may have been set since, so its distance counts within bounds only.
            left = known.written_at + slot.capability.min_interval - now
            slot.may_write_at = self._clock.elapsed() + min(max(left, timedelta()), slot.capability.min_interval)
            slot.owed_until = self._now_s() + self._pace.settle_s
        holder = slot.strongest(slot.claims.values())
        self._recall_timer(slot, known, holder)
        if holder is None or not known.touched:
            return
        slot.previous, slot.holder, slot.phase = known.previous, holder, Phase.WRITE
        if holder.confirmed_at is not None and slot.repeats:
            slot.phase, slot.back_at = Phase.RECHECK, now
            slot.heard_at = self._said(holder.confirmed_at)
            slot.retry_at = self._now_s() + self._pace.settle_s

    def _recall_timer(self, slot: CapabilityState, kept: Held, holder: Claim | None) -> None:
        """Tell a driver whose device goes back by itself which timer may run there."""
        if not slot.capability.hardware_lease or not isinstance(slot.driver, Reverting):
            return
        before = kept.previous if kept.touched else None
        sent = self._journal.last_sent(slot.device, slot.capability.name, before)
        if holder is not None and before is not None and kept.written is not None and kept.written_at is not None:
            value = holder.command.value
            if same(kept.written, value) and not same(value, before):  # a crash may have come before its step
                sent = Outcome(holder.command, State.SENT, kept.written_at)
        if sent is not None:
            until = max(sent.command.until, sent.at + slot.capability.min_interval)
            slot.driver.recall(slot.capability.name, before, replace(sent.command, until=until))

    async def command(self, command: Command) -> Outcome:
        """Take a command and return how far it got; the writes follow in `run()`.

        The same id again changes nothing. A command of the same cause (`by`) and rank on the same capability is
        replaced by a newer one; other causes are arbitrated and wait for their turn. A value below the floor is raised
        to it (the returned command says what holds). REFUSED says why. Raises UnavailableError if the journal cannot
        be written; then nothing was taken.
        """
        self._catch_up()
        if (known := self._journal.latest(command.id)) is not None:
            return known
        now = self._clock.now()
        try:
            slot, value, note = self._admit(command, now)
        except InvalidError as error:
            self._journal.refuse(command, now, str(error))
            return self._tell(Outcome(command, State.REFUSED, now, str(error)))
        return self._take(slot, replace(command, value=value), now, note)

    def _admit(self, command: Command, now: datetime) -> tuple[CapabilityState, Value, str]:
        slot = self._slots.get((command.device, command.capability))
        if slot is None:
            what = f"has no {command.capability}" if command.device in self._devices else "is not known here"
            raise InvalidError(f"{command.device} {what}.")
        value, note = admitted(command, slot.capability, now)
        # A cause of rank EVENT is one event, so the user's word holds for all its intervals.
        event = command.rank is Rank.EVENT
        if event and self._journal.was_overridden(command.device, command.capability, command.by):
            raise InvalidError(f"The user took {command.device} back from {command.by}.")
        return slot, value, note

    def _take(self, slot: CapabilityState, command: Command, now: datetime, note: str) -> Outcome:
        older = [
            claim
            for claim in slot.claims.values()
            if (claim.command.by, claim.command.rank) == (command.by, command.rank) and not claim.over(now)
        ]
        with self._journal.transaction():
            entry = self._journal.accept(command, now, note)
            for claim in older:
                self._journal.mark_released(claim.command.id)
        for claim in older:
            claim.released = True
        slot.claims[command.id] = Claim(entry.seq, command)
        slot.wake.set()
        return self._tell(Outcome(command, State.JOURNALLED, now, note))

    async def release(self, command_id: str) -> None:
        """End a command before its time: the previous state is restored if the lease is still ours.

        A command that has ended is left as it is; a full disk keeps nothing from ending. Raises NotFoundError for an
        unknown id.
        """
        for slot in self._slots.values():
            if claim := slot.claims.get(command_id):
                self._release(claim)
                slot.wake.set()
                return
        if self._journal.latest(command_id) is None:
            raise NotFoundError(f"There is no command {command_id}.")

    def _release(self, claim: Claim) -> None:
        def entry() -> Sequence[Outcome]:
            self._journal.mark_released(claim.command.id)
            return ()

        claim.released = True
        self._backlog.add(entry)

    def held(self) -> list[Lease]:
        """Return the open leases, also those that wait behind a stronger one or are being restored."""
        now = self._clock.now()
        return [
            Lease(claim.command, claim is slot.holder, slot.phase, slot.previous, claim.over(now))
            for slot in self._slots.values()
            for claim in slot.claims.values()
        ]

    def listener(self, device: str) -> StateListener:
        """Return what that device's driver shall call with every state message (`Driver.start`, on_state)."""
        return partial(self.heard, device)

    # -- what happens to a slot

    def heard(self, device: str, capability: CapabilityKind, value: Value, at: datetime | None) -> None:
        """Take a device's own word: it confirms a command or a restore, or it shows the user's hand.

        `at` is when the device said so, None where that cannot be told; see `bridges.lease_state`.
        """
        slot = self._slots.get((device, capability))
        if slot is None:
            return
        said = self._clock.elapsed() if at is None else self._said(at)
        slot.spoken |= said + SAME_MOMENT >= slot.since
        if slot.listening and (slot.spoken or not slot.capability.readable):
            slot.retry_at = 0.0
            slot.wake.set()
        self._hear_own(slot, value, own=at is not None and said >= slot.since)
        if at is None:
            return
        if slot.written is not None and same(value, slot.written) and self._young(slot, said):
            slot.owed_until = 0.0
            slot.wake.set()
        if slot.phase in UNANSWERED and same(value, slot.goal):
            self._answered(slot, said)
        elif slot.phase in (Phase.HELD, Phase.RECHECK) and (slot.heard_at is None or said >= slot.heard_at):
            if same(value, slot.goal):
                slot.heard_at = said
            elif slot.back_at is None or at < slot.back_at:
                self._contradicted(slot, value)

    def _hear_own(self, slot: CapabilityState, value: Value, *, own: bool) -> None:
        """Take a word for the device's own where nothing of ours is on it, and no newer one overtook it."""
        state = slot.driver.state(slot.capability.name)
        ours = slot.phase not in (Phase.FREE, Phase.CLAIMED) or self._now_s() < slot.settled_until
        if not ours and state is not None and same(value, state):
            self._note_own(slot, value, own=own)

    def _note_own(self, slot: CapabilityState, value: Value, *, own: bool) -> None:
        if slot.own.hear(value, self._clock.elapsed(), own=own):
            try:
                self._journal.note_chosen(slot.device, slot.capability.name, value, self._clock.now())
            except UnavailableError:
                slot.own.on_disk = None  # so that the next word is tried again

    def _said(self, at: datetime) -> timedelta:
        """Return a time on the clock that cannot be set; what claims to come from the future is said now."""
        return self._clock.elapsed() - max(timedelta(), self._clock.now() - at)

    def _young(self, slot: CapabilityState, spoken_at: timedelta) -> bool:
        """Tell whether a word was said after our last write."""
        return slot.written_at is None or spoken_at + SAME_MOMENT >= slot.written_at

    def _answered(self, slot: CapabilityState, spoken_at: timedelta) -> None:
        """Take the goal's own word. One from before the write confirms nothing.

        Only where order after order is answered and the stamp stands still, the stamp is not the word's own time.
        """
        if not self._young(slot, spoken_at):
            slot.note_old_answer(spoken_at)
            if slot.old_answers <= 2 * self._pace.tries:
                return
        if slot.handing_over:
            slot.early = True
        else:
            slot.heard_at = spoken_at
            self._move(slot, Event.AGREED)

    def contact(self, device: str, contact: Contact) -> None:
        """Take notice that a device, or our way to it, went or is back."""
        for slot in self._slots.values():
            if slot.device == device:
                slot.spoken, slot.since = False, self._clock.elapsed()
                slot.own.began(slot.since)
                if contact is Contact.RESTARTED:
                    slot.settled = None
                if contact in _CONTACTS:
                    self._move(slot, _CONTACTS[contact])
                if slot.phase is Phase.RECHECK:
                    slot.retry_at = self._now_s() + self._pace.settle_s

    def _contradicted(self, slot: CapabilityState, value: Value) -> None:
        """Give way where the device left a confirmed lease: the user's hand wins, except over safety."""
        if slot.holder is not None and slot.holder.command.rank > Rank.USER:
            _log.warning("the device left a safety command, asserting it again", device=slot.device, state=value)
            self._move(slot, Event.DRIFT)
            self._note_drift(slot, slot.holder, value)
        else:
            self._move(slot, Event.HAND, value)

    def _note_drift(self, slot: CapabilityState, holder: Claim, value: Value) -> None:
        """Say that a device does not stay where it is told to be, and from then on press it now and then only."""
        holder.drifts += 1
        if holder.drifts == self._pace.drifts:
            self._step(holder, State.FAILED, f"the device went to {value} again and again")
        if holder.drifts >= self._pace.drifts:
            slot.retry_at = self._now_s() + self._pace.longest_s

    def _move(self, slot: CapabilityState, event: Event, value: Value | None = None, detail: str = "") -> None:
        """Let something happen to a slot, and record what the table says follows from it."""
        previous, holder, restoring = slot.before, slot.holder, slot.restoring
        match slot.move(event):
            case Action.CONFIRM if holder is not None:
                slot.back_at = None
                if slot.capability.readback:
                    self._step(holder, State.CONFIRMED)
            case Action.RESTORED if restoring is not None:
                self._let_go(slot, [restoring], State.RESTORED, "", previous)
            case Action.GIVE_UP if restoring is not None:
                self._let_go(slot, [restoring], State.FAILED, detail, None)
            case Action.DROP:
                ended = [claim for claim in slot.claims.values() if claim.over(self._clock.now())]
                self._let_go(slot, ended, State.FAILED, "it ended before the device could be told", None)
            case Action.GIVE_WAY if value is not None:
                claims = list(slot.claims.values())
                self._let_go(slot, claims, State.OVERRIDDEN, f"the device was set to {value} by hand", value)

    def _let_go(
        self, slot: CapabilityState, claims: Sequence[Claim], state: State, detail: str, left_at: Value | None
    ) -> None:
        """Close claims and free the device; a claim that came meanwhile stays, and is served next."""
        now, device, capability = self._clock.now(), slot.device, slot.capability.name

        def entry() -> Sequence[Outcome]:
            ended = [claim for claim in claims if self._journal.finish(claim.command.id, state, now, detail)]
            self._journal.free(device, capability)
            return [Outcome(claim.command, state, now, detail) for claim in ended]

        for claim in claims:
            slot.claims.pop(claim.command.id, None)
        slot.settle_at(left_at, self._now_s())
        self._backlog.add(entry)
        if left_at is not None:
            self._note_own(slot, left_at, own=True)

    # -- the work of a slot

    async def run(self) -> None:
        """Write, verify, re-assert, expire and restore until cancelled."""
        async with asyncio.TaskGroup() as group:
            for slot in self._slots.values():
                group.create_task(self._tend(slot))
            await asyncio.get_running_loop().create_future()  # a gateway without devices waits, too

    async def _tend(self, slot: CapabilityState) -> None:
        while True:
            slot.wake.clear()
            self._backlog.flush()
            self._settle(slot)
            await self._act(slot)
            await self._rest(slot)

    def _settle(self, slot: CapabilityState) -> None:
        """Turn to whoever holds now, and close what ended beside it."""
        now = self._clock.now()
        over = [claim for claim in slot.claims.values() if claim.over(now)]
        best = slot.strongest(claim for claim in slot.claims.values() if not claim.over(now))
        served = slot.restoring or slot.holder
        for claim in over:
            if best is not None and claim is served:
                self._finish(slot, claim, State.REPLACED, f"{best.command.id} holds the device now")
            elif best is not None or claim is not (served or slot.strongest(over)):
                self._finish(slot, claim, State.REPLACED, "it ended while another command held the device")
        if best is not None and best is not slot.holder:
            slot.holder, slot.restoring = best, None
            self._move(slot, Event.CLAIM)
        elif best is None and over and slot.restoring is None:
            slot.holder, slot.restoring = None, served or slot.strongest(over)
            self._move(slot, Event.END)

    async def _act(self, slot: CapabilityState) -> None:
        if self._now_s() < slot.retry_at:
            return
        if slot.phase is Phase.RECHECK:
            if slot.driver.online:
                self._move(slot, Event.DUE)
            else:
                slot.retry_at = self._now_s() + self._pace.ack_s
        if slot.phase in UNANSWERED:
            self._unconfirmed(slot)
        if slot.phase in UNSAID and self._distance(slot) <= timedelta() and self._pause_s(slot) <= 0:
            await self._write(slot)

    def _unconfirmed(self, slot: CapabilityState) -> None:
        self._move(slot, Event.SILENCE)
        if slot.driver.online:
            slot.silent += 1
            if slot.silent == self._pace.tries:
                _log.warning("the device does not confirm", device=slot.device, capability=slot.capability.name)
                if slot.holder is not None:
                    self._step(slot.holder, State.FAILED, f"not confirmed after {slot.silent} tries")

    def _distance(self, slot: CapabilityState) -> timedelta:
        """Return the world time until the next write; the same value again, or safety, need not wait."""
        urgent = slot.holder is not None and slot.holder.command.rank is Rank.SAFETY
        if urgent or slot.repeats or slot.may_write_at is None:
            return timedelta()
        return slot.may_write_at - self._clock.elapsed()

    def _pause_s(self, slot: CapabilityState) -> float:
        """Return the machine time until the next write: a flood of commands does not become a flood of switchings."""
        urgent = slot.holder is not None and slot.holder.command.rank is Rank.SAFETY
        return 0.0 if urgent else slot.paced_at() - self._now_s()

    async def _write(self, slot: CapabilityState) -> None:
        if not slot.driver.online:
            self._later(slot, "the device is not reachable")
            return
        first = slot.phase is Phase.CLAIMED
        if first and not self._mark(slot):
            return
        goal, until = slot.goal, self._until(slot)
        slot.note_order(self._now_s())
        slot.written, slot.written_at = goal, self._clock.elapsed()
        slot.may_write_at = slot.written_at + slot.capability.min_interval
        if not first:
            self._backlog.add(partial(self._note_write, slot, slot.before, goal, self._clock.now()))
        self._move(slot, Event.TOLD)
        slot.handing_over, slot.early = True, False
        try:
            await slot.driver.apply(slot.capability.name, goal, until)
        except UnavailableError as error:
            self._later(slot, str(error))
        except InvalidError as error:
            self._impossible(slot, str(error), first=first)
        except Exception:  # noqa: BLE001  a fault in one driver must not stop the other devices
            _log.exception("the driver failed", device=slot.device)
            self._later(slot, "the driver failed")
        else:
            self._handed_over(slot)
        finally:
            slot.handing_over = False

    def _until(self, slot: CapabilityState) -> datetime | None:
        """Return until when an order holds that goes out now: no timer of the device's shall switch it too soon."""
        if slot.holder is None:
            return None
        return max(slot.holder.command.until, self._clock.now() + slot.capability.min_interval)

    def _handed_over(self, slot: CapabilityState) -> None:
        if slot.holder is not None:
            self._step(slot.holder, State.SENT)
        if slot.phase in UNANSWERED:
            slot.attempts = 0
            slot.retry_at = self._now_s() + min(self._pace.ack_s * 2 ** min(slot.silent, 10), self._pace.longest_s)
            if slot.early or not slot.capability.readback:  # who never answers is believed to have heard
                slot.heard_at = slot.written_at
                self._move(slot, Event.AGREED)

    def _note_write(self, slot: CapabilityState, previous: Value, value: Value, at: datetime) -> Sequence[Outcome]:
        self._journal.before_write(slot.device, slot.capability.name, previous, value, at)
        return ()

    def _catch_up(self) -> None:
        """Have on disk what came before: the end of an earlier lease, written late, would end the next one there.

        Raises UnavailableError.
        """
        if not self._backlog.flush():
            raise UnavailableError("The command journal cannot be written: what came before waits for it, too.")

    def _mark(self, slot: CapabilityState) -> bool:
        """Have on disk what the device does before us; False while that is not known, or cannot be written."""
        if not self._learn_previous(slot):
            return False
        try:
            self._catch_up()
            self._note_write(slot, slot.before, slot.goal, self._clock.now())
        except UnavailableError as error:
            _log.error("a device is not told: the journal cannot be written", device=slot.device, reason=str(error))
            self._later(slot, str(error))
            return False
        slot.previous = slot.before
        self._move(slot, Event.MARKED)
        return True

    def _learn_previous(self, slot: CapabilityState) -> bool:
        """Note what the device does before us; False while it is worth waiting for its first word."""
        now_s = self._now_s()
        if slot.settled is not None and now_s < slot.settled_until:
            slot.previous = slot.settled
            return True
        slot.previous = slot.driver.state(slot.capability.name)
        mute = slot.capability.readback and (slot.previous is None or (slot.capability.readable and not slot.spoken))
        slot.listening = mute and not slot.listening
        if slot.listening:
            slot.retry_at = now_s + self._pace.first_word_s
            return False
        slot.previous = slot.own.instead_of(slot.previous, self._clock.elapsed())
        return True

    def _later(self, slot: CapabilityState, reason: str) -> None:
        self._move(slot, Event.UNTOLD)
        slot.attempts += 1
        slot.retry_at = self._now_s() + self._backoff.delay_s(slot.attempts)
        _log.info("the device cannot be told now, trying again", device=slot.device, reason=reason)

    def _impossible(self, slot: CapabilityState, reason: str, *, first: bool) -> None:
        """Give up an order that the driver rejects: nothing was sent, and asking again does not help."""
        _log.error("the device cannot do that", device=slot.device, capability=slot.capability.name, reason=reason)
        if slot.phase is Phase.RESTORING:
            self._restore_otherwise(slot, reason)
            return
        self._move(slot, Event.UNTOLD)
        if first:
            self._move(slot, Event.UNMARKED)
        holder = slot.holder
        if holder is None:
            return
        if not first and len(slot.claims) == 1:
            # What an earlier command did must still be undone; this one carries it to its end.
            self._step(holder, State.REFUSED, reason)
            self._release(holder)
            return
        self._finish(slot, holder, State.REFUSED, reason)
        slot.holder = None
        if not slot.claims:
            self._move(slot, Event.END)

    def _restore_otherwise(self, slot: CapabilityState, reason: str) -> None:
        """Give a device back to what is normal where its driver no longer takes what it did before us."""
        if same(slot.before, slot.capability.normal):
            self._move(slot, Event.HOPELESS, detail=f"the previous state cannot be restored: {reason}")
        else:
            slot.previous = slot.capability.normal
            self._move(slot, Event.UNTOLD)

    async def _rest(self, slot: CapabilityState) -> None:
        """Wait until something is due or somebody wakes the slot."""
        if slot.wake.is_set():
            return
        now, now_s = self._clock.now(), self._now_s()
        ends = [claim.command.until for claim in slot.claims.values() if claim is not slot.restoring]
        pauses = [self._pace.nap_s] if ends else []
        if slot.phase not in (Phase.FREE, Phase.HELD):
            pauses.append(max(slot.retry_at - now_s, self._pause_s(slot) if slot.phase in UNSAID else 0.0))
        if slot.phase in UNSAID and (distance := self._distance(slot)) > timedelta():
            ends.append(now + distance)
            pauses = [self._pace.nap_s]
        if self._backlog:
            pauses.append(_FULL_DISK_S)
        waits: list[asyncio.Task[object]] = [asyncio.create_task(slot.wake.wait())]
        if ends:
            waits.append(asyncio.create_task(self._clock.sleep_until(min(ends))))
        timeout = max(0.0, min(pauses)) if pauses else None
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if not slot.wake.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.grace_s):
                    await slot.wake.wait()

    # -- what is recorded and told

    def _step(self, claim: Claim, state: State, detail: str = "") -> None:
        outcome = Outcome(claim.command, state, self._clock.now(), detail)

        def entry() -> Sequence[Outcome]:
            return [outcome] if self._journal.step(claim.command.id, state, outcome.at, detail) else []

        self._backlog.add(entry)

    def _finish(self, slot: CapabilityState, claim: Claim, state: State, detail: str) -> None:
        outcome = Outcome(claim.command, state, self._clock.now(), detail)

        def entry() -> Sequence[Outcome]:
            return [outcome] if self._journal.finish(claim.command.id, state, outcome.at, detail) else []

        slot.claims.pop(claim.command.id, None)
        self._backlog.add(entry)

    def _tell(self, outcome: Outcome) -> Outcome:
        try:
            self._on_outcome(outcome)
        except Exception:  # noqa: BLE001  the listener's fault must not stop the lease
            _log.exception("an outcome could not be passed on", command=outcome.command.id, state=outcome.state)
        return outcome

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()
