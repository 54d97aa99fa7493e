"""Which message may go out when: lanes that do not hold each other up, a back-off for each message, the poll's time."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from core.errors import UnavailableError
from core.ids import new_id
from core.spans import Duration
from openadr.model.report import METADATA
from openadr.v20b.messages import Message, Poll, RequestEvent
from ven.engine.outbox import Outbox
from ven.engine.pacing import Budget, Retries
from ven.engine.polling import PollTimer, bounded_period
from ven.engine.registration import Registrar, VenSettings
from ven.engine.registration_states import LANES, RIGHT_OF_WAY, Lane, Phase, RegistrationEvent
from ven.engine.reports import ReportHandler
from ven.memory import Memory, Waiting
from ven.quarantine import Quarantine
from ven.reports import Sampled
from ven.vtn_state import ReportTask

_COMES_BACK: Final = timedelta(hours=1)
"""After so long a VEN asks to register again that the VTN had unregistered (RG-12)."""
_POLL_LONGEST_S: Final = 60.0
"""A poll that failed is at most so much later than the VTN's frequency wants it."""
_A_MOMENT: Final = timedelta(milliseconds=1)
_MOST_SILENT: Final = 100
"""Reports without anything to say that are passed over in one go."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that waits for its answer, and where it came from. `key` names its back-off."""

    lane: Lane
    key: Hashable
    message: Message
    waiting: Waiting | None = None
    task: ReportTask | None = None
    sampled: Sampled | None = None


class Schedule:
    """Chooses what this VEN says next, and remembers how that went.

    World time (`now`) says when something is due; `monotonic` is machine time, for back-off only. While time is
    `in_doubt` no data is reported: it waits for its true time.
    """

    def __init__(
        self,
        memory: Memory,
        registrar: Registrar,
        reports: ReportHandler,
        quarantine: Quarantine,
        settings: VenSettings,
        random: Random,
        monotonic: Callable[[], float],
        in_doubt: Callable[[], bool],
    ) -> None:
        self._memory = memory
        self._registrar = registrar
        self._reports = reports
        self._in_doubt = in_doubt
        self._quarantine = quarantine
        self._settings = settings
        self._timer = PollTimer(settings.jitter, random)
        self._retries = Retries(settings.longest_wait_s, random, monotonic)
        self.outbox = Outbox(memory, self._retries)
        self._budget = Budget(settings.burst)
        self._proof = Lane.POLL if settings.push_address is None else Lane.SYNC
        self._has_proof = True
        """Whether something was answered as it should be that shows that the VTN knows its last new registration."""
        self._turns: list[Lane] = [Lane.POLL, Lane.REPORT]

    def start(self) -> None:
        """Forget what failed, and poll at once: the process, or its memory, was away."""
        self._timer.at_once()
        self._retries.clear()
        self.outbox.start()

    def wake_at(self, now: datetime) -> datetime | None:
        """Return when `next` may have something to say, as things stand; None: not until something happens.

        A back-off is told as if world time ran like machine time: where it runs faster, this is too early.
        """
        phase = self._registrar.phase
        times = [when for lane in self._lanes(phase) if (when := self._due_at(lane, now)) is not None]
        if phase is Phase.OVER and self._registrar.comes_back and self._timer.at is not None:
            times.append(self._timer.at)
        if (left_s := self._retries.soonest_s()) is not None:
            times.append(now + timedelta(seconds=left_s) + _A_MOMENT)
        return max(min(times), now + self._budget.wait(now)) if times else None

    def next(self, now: datetime) -> Sent | None:
        """Return the next message to post, or None if nothing is due. Answers go before the next poll (PL-08)."""
        if self._budget.wait(now):
            return None
        with self._memory.transaction():
            sent = self._choose(now)
        if sent is not None:
            self._budget.spend()
        return sent

    def _choose(self, now: datetime) -> Sent | None:
        registrar = self._registrar
        if registrar.phase is Phase.OVER and registrar.comes_back and self._timer.due(now) and not self.outbox.next():
            registrar.happened(RegistrationEvent.BACK)
            self._timer.at_once()
        lanes = self._lanes(registrar.phase)
        order = [lane for lane in lanes if lane not in self._turns] + [lane for lane in self._turns if lane in lanes]
        for lane in order:
            if (chosen := self._make(lane, now)) is not None:
                if lane in self._turns:
                    self._wait_a_turn(lane)
                return chosen
        return None

    def _lanes(self, phase: Phase) -> tuple[Lane, ...]:
        """Return what may be said in a phase; a VEN that is pushed to never polls (PL-01)."""
        polls = self._settings.push_address is None
        return tuple(lane for lane in LANES[phase] if polls or lane is not Lane.POLL)

    def _make(self, lane: Lane, now: datetime) -> Sent | None:
        """Return a lane's message if one is due; what making it raises holds up this lane only."""
        try:
            with self._memory.transaction():
                due_at = self._due_at(lane, now)
                return self._MAKERS[lane](self, now) if due_at is not None and due_at <= now else None
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the other lanes go on
            self._quarantine.caught("message", lane, error, now)
            self._retries.failed(lane)
            return None

    def _due_at(self, lane: Lane, now: datetime) -> datetime | None:
        """Return when a lane has something to say; None: it has nothing, or waits for its back-off."""
        if not self._retries.ready(lane):
            return None
        if lane is Lane.POLL:
            return now if self._timer.at is None or self._timer.due(now) else self._timer.at
        if lane is Lane.REPORT:
            due = self._reports.next_due(now, self._held)
            return due[0] if due else None
        idle = (
            (lane is Lane.OFFER and not self._registrar.offer_due)
            or (lane is Lane.SYNC and not self._registrar.sync_due)
            or (lane is Lane.ANSWER and self.outbox.next() is None)
        )
        return None if idle else now

    def _held(self, task: ReportTask) -> bool:
        return not self._retries.ready(_report_key(task)) or (task.name != METADATA and self._in_doubt())

    # -- what is said

    def _query(self, _: datetime) -> Sent:
        return Sent(Lane.QUERY, Lane.QUERY, self._registrar.query())

    def _register(self, _: datetime) -> Sent:
        return Sent(Lane.REGISTER, Lane.REGISTER, self._registrar.create())

    def _offer(self, now: datetime) -> Sent:
        return Sent(Lane.OFFER, Lane.OFFER, self._reports.offer(self._registrar.confirmed, now))

    def _answer(self, _: datetime) -> Sent | None:
        waiting = self.outbox.next()
        return Sent(Lane.ANSWER, waiting.seq, waiting.message, waiting=waiting) if waiting else None

    def _sync(self, _: datetime) -> Sent:
        return Sent(Lane.SYNC, Lane.SYNC, RequestEvent(self._registrar.confirmed.ven_id, new_id("req")))

    def _poll(self, _: datetime) -> Sent:
        return Sent(Lane.POLL, Lane.POLL, Poll(self._registrar.confirmed.ven_id))

    def _report(self, now: datetime) -> Sent | None:
        for _ in range(_MOST_SILENT):
            due = self._reports.next_due(now, self._held)
            if due is None or due[0] > now:
                return None
            task = due[1]
            message, sampled = self._reports.deliver(task, self._registrar.confirmed, now)
            if message is not None:
                return Sent(Lane.REPORT, _report_key(task), message, task=task, sampled=sampled)
        self._retries.failed(Lane.REPORT)
        return None

    _MAKERS: Final[dict[Lane, Callable[["Schedule", datetime], Sent | None]]] = {
        Lane.QUERY: _query,
        Lane.REGISTER: _register,
        Lane.OFFER: _offer,
        Lane.ANSWER: _answer,
        Lane.SYNC: _sync,
        Lane.POLL: _poll,
        Lane.REPORT: _report,
    }

    # -- how it went

    def failed(self, sent: Sent, least_s: float = 0.0) -> None:
        """Let a message wait for its back-off, `least_s` at least, and others of its kind go first."""
        self._wait_a_turn(sent.lane)
        if sent.waiting is not None:
            self.outbox.failed(sent.waiting, least_s)
        else:
            longest_s = _POLL_LONGEST_S if sent.lane is Lane.POLL else None
            self._retries.failed(sent.key, least_s=least_s, longest_s=longest_s)

    def put_off(self, lane: Lane, least_s: float) -> None:
        """Let a whole lane wait for its back-off."""
        self._retries.failed(lane, least_s=least_s)

    def arrived(self, sent: Sent) -> None:
        """Take notice that a message was answered as it should be."""
        if sent.lane is self._proof:
            self._has_proof = True
            self._retries.over(Lane.REGISTER)
        if sent.lane is not Lane.REGISTER:
            self._retries.over(sent.key)
        self._give_way_to(sent.lane)

    def begin_anew(self) -> None:
        """Let all that was put off go at once: no failure of before counts with a new registration (RG-07).

        Where the VTN forgot the last one before it was of any use, the next one waits for its back-off.
        """
        for lane in (Lane.OFFER, Lane.SYNC, Lane.POLL):
            self._retries.over(lane)
            self._give_way_to(lane)
        if not self._has_proof:
            self._retries.failed(Lane.REGISTER)
        self._has_proof = False

    def _give_way_to(self, lane: Lane) -> None:
        if lane in RIGHT_OF_WAY and lane in self._turns:
            self._turns.remove(lane)

    def _wait_a_turn(self, lane: Lane) -> None:
        if lane in self._turns:
            self._turns.remove(lane)
        self._turns.append(lane)

    # -- when to poll

    def poll_on(self, now: datetime) -> None:
        """Poll on: the last one brought something (PL-05). Where the VTN unregistered this VEN: come back later."""
        if self._registrar.phase is Phase.OVER:
            self._timer.nothing(now, _COMES_BACK)
        else:
            self._timer.more(now, self.period(now))

    def poll_later(self, now: datetime) -> None:
        """Wait for the next period: there is nothing more, or no answer (PL-06, PL-10)."""
        self._timer.nothing(now, self.period(now))

    def period(self, now: datetime) -> timedelta:
        """Return the time between two polls: what the VTN asks for, within the household's bounds."""
        registration = self._registrar.registration
        asked = registration.poll_freq if registration and registration.poll_freq else self._settings.poll
        return bounded_period(asked, self._settings.shortest_poll, self._settings.longest_poll, now)

    def odd_period(self, now: datetime) -> str | None:
        """Say so where the VTN asks for another period than the bounds allow."""
        registration = self._registrar.registration
        period = self.period(now)
        if registration is None or not registration.poll_freq:
            return None
        if registration.poll_freq == Duration.between(now, now + period):
            return None
        bounds = "the bounds are vtn.shortest_poll and vtn.longest_poll"
        return f"The VTN asks to be polled every {registration.poll_freq}; it is polled every {period}: {bounds}."


def _report_key(task: ReportTask) -> tuple[str, str]:
    return ("report", task.id)
