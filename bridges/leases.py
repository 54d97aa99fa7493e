"""Leases: a command holds a device until it runs out, then the device gets back what it did before.

Done here once, for every driver: arbitration, journal, read-back, re-assertion, restoring. World time ends leases and
spaces writes; machine time paces acknowledgements and retries.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from bridges.backoff import Backoff
from bridges.device import Command, Contact, Driver, Observable, Outcome, Rank, State, Value
from bridges.journal import Journal
from bridges.slots import Claim, Lease, Pace, Phase, Slot, admitted, same
from core.clock import Clock
from core.errors import InvalidError, NotFoundError, UnavailableError

_log = structlog.get_logger(__name__)

_KEEP_HISTORY = timedelta(days=400)


class Keeper:
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
        self._devices = frozenset(drivers)
        self._slots = {
            (device, capability.name): Slot(device, capability, driver)
            for device, driver in drivers.items()
            for capability in driver.describe().capabilities
        }
        for device, driver in drivers.items():
            if isinstance(driver, Observable):
                driver.observe(partial(self.contact, device))

    async def recover(self) -> None:
        """Read the journal: `run()` then restores what ran out while we were down and goes on with what lives."""
        self._journal.prune(self._clock.now() - _KEEP_HISTORY)
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

    def _recall(self, slot: Slot) -> None:
        known = self._journal.held(slot.device, slot.capability.name)
        slot.touched, slot.previous = known.touched, known.previous
        slot.written, slot.written_at = known.written, known.written_at
        holder = slot.strongest(slot.claims.values())
        if holder is None:
            return
        slot.aim(holder, None)
        if holder.confirmed_at is not None and known.written is not None and same(known.written, slot.goal):
            # Messages that wait for us may tell of the user's hand: listen before asserting again.
            slot.phase, slot.heard_at = Phase.HELD, holder.confirmed_at
            slot.reassert_at = self._now_s() + self._pace.settle_s

    async def command(self, command: Command) -> Outcome:
        """Take a command and return how far it got; the writes follow in `run()`.

        The same id again changes nothing. A command of the same cause (`by`) and rank on the same capability is
        replaced by a newer one; other causes are arbitrated and wait for their turn. A value below the floor is raised
        to it (the returned command says what holds). REFUSED says why. Raises UnavailableError if the journal cannot
        be written; then nothing was taken.
        """
        if (known := self._journal.latest(command.id)) is not None:
            return known
        now = self._clock.now()
        try:
            slot, value, note = self._admit(command, now)
        except InvalidError as error:
            self._journal.refuse(command, now, str(error))
            return self._tell(Outcome(command, State.REFUSED, now, str(error)))
        return self._take(slot, replace(command, value=value), now, note)

    def _admit(self, command: Command, now: datetime) -> tuple[Slot, Value, str]:
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

    def _take(self, slot: Slot, command: Command, now: datetime, note: str) -> Outcome:
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

        A command that has ended is left as it is. Raises NotFoundError for an unknown id.
        """
        for slot in self._slots.values():
            if claim := slot.claims.get(command_id):
                self._journal.mark_released(command_id)
                claim.released = True
                slot.wake.set()
                return
        if self._journal.latest(command_id) is None:
            raise NotFoundError(f"There is no command {command_id}.")

    def held(self) -> list[Lease]:
        """Return the open leases, also those that wait behind a stronger one or are being restored."""
        return [
            Lease(claim.command, claim is slot.holder, slot.phase, slot.previous)
            for slot in self._slots.values()
            for claim in slot.claims.values()
        ]

    def listener(self, device: str) -> Callable[[str, Value, datetime], None]:
        """Return what that device's driver shall call with every state message (`Driver.start`, on_state)."""
        return partial(self.heard, device)

    def heard(self, device: str, capability: str, value: Value, at: datetime) -> None:
        """Take a device's own state message: it confirms a command or a restore, or it shows the user's hand."""
        slot = self._slots.get((device, capability))
        if slot is None:
            return
        match slot.phase, same(value, slot.goal):
            case Phase.SENT, True if slot.handing_over:
                slot.early = at
            case Phase.SENT, True:
                self._confirm(slot, at)
            case Phase.HELD, True:
                slot.heard_at = min(at, self._clock.now())
            case Phase.HELD, False if slot.heard_at is None or at >= slot.heard_at:
                self._contradicted(slot, value)
            case Phase.WRITE, _ if slot.listening:
                slot.retry_at = 0.0
                slot.wake.set()

    def contact(self, device: str, contact: Contact) -> None:
        """Take notice that a device, or our way to it, is back."""
        if contact is Contact.LOST:
            return
        for slot in self._slots.values():
            if slot.device != device or slot.phase is Phase.FREE:
                continue
            if slot.phase is Phase.HELD and contact is Contact.LINK:
                slot.reassert_at = self._now_s() + self._pace.settle_s
            else:
                slot.aim(slot.holder, slot.restoring)
            slot.wake.set()

    async def run(self) -> None:
        """Write, verify, re-assert, expire and restore until cancelled."""
        async with asyncio.TaskGroup() as group:
            for slot in self._slots.values():
                group.create_task(self._tend(slot))
            await asyncio.get_running_loop().create_future()  # a gateway without devices waits, too

    async def _tend(self, slot: Slot) -> None:
        failures = 0
        while True:
            slot.wake.clear()
            try:
                self._settle(slot)
                await self._act(slot)
                failures = 0
            except UnavailableError as error:  # the journal: the disk is full or gone
                failures += 1
                _log.error("a lease cannot be kept, trying again", device=slot.device, reason=str(error))
                await asyncio.sleep(self._backoff.delay_s(failures))
            else:
                await self._rest(slot)

    def _settle(self, slot: Slot) -> None:
        """Close what has ended and turn to whoever holds now."""
        now = self._clock.now()
        best = slot.strongest(claim for claim in slot.claims.values() if not claim.over(now))
        over = [claim for claim in slot.claims.values() if claim.over(now)]
        current = slot.restoring or slot.holder or (slot.strongest(over) if best is None else None)
        for claim in over:
            if claim is not current:
                self._finish(slot, claim, State.REPLACED, "it ended while another command held the device")
        if best is slot.holder and best is not None:
            return
        ended = current if current in over else None
        if best is not None:
            if ended is not None:
                self._finish(slot, ended, State.REPLACED, f"{best.command.id} holds the device now")
            slot.aim(best, None)
        elif ended is not None and not slot.touched:
            with self._journal.transaction():
                told = self._journal.finish(
                    ended.command.id, State.FAILED, now, detail := "it ended before the device could be told"
                )
                self._journal.free(slot.device, slot.capability.name)
            slot.release()
            if told:
                self._tell(Outcome(ended.command, State.FAILED, now, detail))
        elif ended is not None and slot.restoring is None:
            slot.aim(None, ended)

    async def _act(self, slot: Slot) -> None:
        now_s = self._now_s()
        if slot.phase is Phase.HELD and slot.reassert_at is not None and slot.reassert_at <= now_s:
            if slot.driver.online:
                slot.aim(slot.holder, None)
            else:
                slot.reassert_at = now_s + self._pace.ack_s
        if slot.phase is Phase.SENT and slot.retry_at <= now_s:
            self._unconfirmed(slot)
        if slot.phase is Phase.WRITE and slot.retry_at <= now_s and self._may_write_at(slot) <= self._clock.now():
            await self._write(slot)

    def _unconfirmed(self, slot: Slot) -> None:
        slot.phase = Phase.WRITE
        if slot.driver.online:
            slot.silent += 1
            if slot.silent == self._pace.tries:
                _log.warning("the device does not confirm", device=slot.device, capability=slot.capability.name)
                if slot.holder is not None:
                    self._step(slot.holder, State.FAILED, f"not confirmed after {slot.silent} tries")

    def _may_write_at(self, slot: Slot) -> datetime:
        """Return the earliest world time of the next write; the same value again, or safety, need not wait."""
        now = self._clock.now()
        urgent = slot.holder is not None and slot.holder.command.rank is Rank.SAFETY
        repeat = slot.written is not None and slot.touched and same(slot.written, slot.goal)
        if urgent or repeat or slot.written_at is None:
            return now
        return slot.written_at + slot.capability.min_interval

    async def _write(self, slot: Slot) -> None:
        if not slot.driver.online:
            self._later(slot, "the device is not reachable")
            return
        name, first = slot.capability.name, not slot.touched
        if first and not self._learn_previous(slot):
            return
        goal, now = slot.goal, self._clock.now()
        previous = slot.capability.normal if slot.previous is None else slot.previous
        self._journal.before_write(slot.device, name, previous, goal, now)
        slot.touched, slot.previous, slot.written, slot.written_at = True, previous, goal, now
        slot.phase, slot.handing_over, slot.early = Phase.SENT, True, None
        until = slot.holder.command.until if slot.holder else None
        try:
            await slot.driver.apply(name, goal, until)
        except UnavailableError as error:
            slot.phase = Phase.WRITE
            self._later(slot, str(error))
        except InvalidError as error:
            self._impossible(slot, str(error), first=first)
        except Exception:  # noqa: BLE001  a fault in one driver must not stop the other devices
            _log.exception("the driver failed", device=slot.device)
            slot.phase = Phase.WRITE
            self._later(slot, "the driver failed")
        else:
            slot.attempts = 0
            slot.retry_at = self._now_s() + min(self._pace.ack_s * 2 ** min(slot.silent, 10), self._pace.longest_s)
            if slot.holder is not None:
                self._step(slot.holder, State.SENT)
            if slot.early is not None:
                self._confirm(slot, slot.early)
        finally:
            slot.handing_over = False

    def _learn_previous(self, slot: Slot) -> bool:
        """Note what the device does before the first write; False while it is worth waiting for its first word."""
        slot.previous = slot.driver.state(slot.capability.name)
        slot.listening = slot.previous is None and not slot.listening
        if slot.listening:
            slot.retry_at = self._now_s() + self._pace.first_word_s
        return not slot.listening

    def _later(self, slot: Slot, reason: str) -> None:
        slot.attempts += 1
        slot.retry_at = self._now_s() + self._backoff.delay_s(slot.attempts)
        _log.info("the device cannot be told now, trying again", device=slot.device, reason=reason)

    def _impossible(self, slot: Slot, reason: str, *, first: bool) -> None:
        """Give up an order that the driver rejects: nothing was sent, and asking again does not help."""
        _log.error("the device cannot do that", device=slot.device, capability=slot.capability.name, reason=reason)
        slot.phase, slot.touched = Phase.WRITE, not first
        slot.wake.set()
        if slot.restoring is not None:
            self._finish(slot, slot.restoring, State.FAILED, f"the previous state cannot be restored: {reason}")
        elif slot.holder is not None and slot.touched and len(slot.claims) == 1:
            # What an earlier command did must still be undone; this one carries it to its end.
            self._step(slot.holder, State.REFUSED, reason)
            self._journal.mark_released(slot.holder.command.id)
            slot.holder.released = True
        elif slot.holder is not None:
            self._finish(slot, slot.holder, State.REFUSED, reason)
            slot.holder = None
        if not slot.claims:
            self._journal.free(slot.device, slot.capability.name)
            slot.release()

    def _confirm(self, slot: Slot, at: datetime) -> None:
        if slot.restoring is not None:
            claim, now = slot.restoring, self._clock.now()
            with self._journal.transaction():
                told = self._journal.finish(claim.command.id, State.RESTORED, now)
                self._journal.free(slot.device, slot.capability.name)
            slot.release()
            if told:
                self._tell(Outcome(claim.command, State.RESTORED, now))
        elif slot.holder is not None:
            self._step(slot.holder, State.CONFIRMED)
            slot.phase, slot.heard_at = Phase.HELD, min(at, self._clock.now())
            slot.silent, slot.reassert_at = 0, None
            slot.wake.set()

    def _contradicted(self, slot: Slot, value: Value) -> None:
        """Give way where the device left a confirmed lease: the user's hand wins, except over safety."""
        if slot.holder is not None and slot.holder.command.rank > Rank.USER:
            _log.warning("the device left a safety command, asserting it again", device=slot.device, state=value)
            slot.aim(slot.holder, None)
            return
        claims, now, detail = list(slot.claims.values()), self._clock.now(), f"the device was set to {value} by hand"
        with self._journal.transaction():
            told = [claim for claim in claims if self._journal.finish(claim.command.id, State.OVERRIDDEN, now, detail)]
            self._journal.free(slot.device, slot.capability.name)
        slot.release()
        for claim in told:
            self._tell(Outcome(claim.command, State.OVERRIDDEN, now, detail))

    async def _rest(self, slot: Slot) -> None:
        """Wait until something is due or somebody wakes the slot."""
        if slot.wake.is_set():
            return
        machine = slot.reassert_at if slot.phase is Phase.HELD else slot.retry_at
        spaced = self._may_write_at(slot)
        ends = [claim.command.until for claim in slot.claims.values() if claim is not slot.restoring]
        if slot.phase is Phase.WRITE and spaced > self._clock.now():
            ends, machine = [*ends, spaced], None
        if slot.phase is Phase.FREE:
            machine = None
        waits: list[asyncio.Task[object]] = [asyncio.create_task(slot.wake.wait())]
        if ends:
            waits.append(asyncio.create_task(self._clock.sleep_until(min(ends))))
        timeout = None if machine is None else max(0.0, machine - self._now_s())
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()
        if not slot.wake.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.grace_s):
                    await slot.wake.wait()

    def _step(self, claim: Claim, state: State, detail: str = "") -> None:
        now = self._clock.now()
        if self._journal.step(claim.command.id, state, now, detail):
            self._tell(Outcome(claim.command, state, now, detail))

    def _finish(self, slot: Slot, claim: Claim, state: State, detail: str) -> None:
        now = self._clock.now()
        told = self._journal.finish(claim.command.id, state, now, detail)
        slot.claims.pop(claim.command.id, None)
        if told:
            self._tell(Outcome(claim.command, state, now, detail))

    def _tell(self, outcome: Outcome) -> Outcome:
        try:
            self._on_outcome(outcome)
        except Exception:  # noqa: BLE001  the listener's fault must not stop the lease
            _log.exception("an outcome could not be passed on", command=outcome.command.id, state=outcome.state)
        return outcome

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()
