"""Reports in the protocol: offering, being asked, delivering, cancelling."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, TypeVar

from core.errors import InvalidError, UnavailableError
from core.ids import new_id
from core.spans import LATEST, ZERO, Duration, Span, Steps, floor_to
from openadr.model.report import METADATA, ReportOffer, ReportRequest, check_lengths, check_request
from openadr.v20b.codes import CODES, Code
from openadr.v20b.messages import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    RegisteredReport,
    RegisterReport,
    Response,
    UpdatedReport,
    UpdateReport,
)
from ven.engine.actions import Action, Noted
from ven.memory import Memory
from ven.quarantine import Quarantine
from ven.reports import Reporter, Sampled
from ven.vtn_state import Registration, ReportTask

T = TypeVar("T")

_LEAST_WAIT: Final = timedelta(minutes=1)
_MOST_WAIT: Final = timedelta(hours=1)
_LEAST_METADATA: Final = Duration.of(minutes=1)
"""How close metadata reports may follow each other: nothing that they tell of changes faster."""
_MOST_REQUESTS: Final = 200
"""How many report requests are kept: far more than a household has data points."""


class ReportHandler:
    """Keeps the report requests of one VTN and makes its messages."""

    def __init__(self, memory: Memory, reporter: Reporter, quarantine: Quarantine | None = None) -> None:
        self._memory = memory
        self._reporter = reporter
        self._quarantine = quarantine or Quarantine(memory)

    # -- offering

    def offer(self, registration: Registration, now: datetime, report_request_id: str | None = None) -> RegisterReport:
        """Return the metadata message: everything that can be reported (RP-02, RP-03)."""
        return RegisterReport(new_id("req"), self._reporter.offers(now), registration.ven_id, report_request_id)

    def offers_known(self, now: datetime) -> bool:
        """Tell whether the VTN has confirmed just what is offered now."""
        return bool(self._memory.fact("offers") == _digest(self._reporter.offers(now)))

    def offered(
        self, answer: RegisteredReport, registration: Registration, now: datetime, *, periodic: bool = False
    ) -> list[Action]:
        """Take the answer to our metadata: all requests but metadata ones are void (RP-03), new ones may come.

        Metadata that comes periodically (RP-14) and says once more what the VTN has confirmed voids nothing.
        """
        if not (periodic and self.offers_known(now)):
            for task in self._memory.report_tasks():
                if task.name != METADATA:
                    self._memory.drop_report_task(task.id)
        self._memory.set_fact("offers", _digest(self._reporter.offers(now)))
        return self.requested(answer.requests, "", registration, now) if answer.requests else []

    # -- being asked

    def requested(
        self, requests: Sequence[ReportRequest], request_id: str, registration: Registration, now: datetime
    ) -> list[Action]:
        """Take report requests and put the answer in the outbox (RP-13, RP-14, RP-20..RP-31).

        A bad request does not spoil the good ones beside it: the answer carries the fault and lists what is pending.
        """
        fault: InvalidError | None = None
        follow: list[RegisterReport] = []
        for request in requests:
            try:
                with self._memory.transaction():
                    if request.is_metadata:
                        follow += self._metadata(request, registration, now)
                    else:
                        self._accept(request, now)
            except UnavailableError:
                raise
            except InvalidError as error:
                fault = fault or error
            except Exception as error:  # noqa: BLE001  whatever it is, the other requests go on
                reason = self._quarantine.caught("report request", request.request_id, error, now)
                fault = fault or InvalidError(reason)
        code, text = (CODES[fault.reason], str(fault)[:200]) if fault else (Code.OK, None)
        answer = CreatedReport(Response(code, text, request_id), self._pending(), registration.ven_id)
        self._memory.push(answer)
        for message in follow:
            self._memory.push(message)
        return [Noted(f"A report request was refused ({code.value}): {text}", problem=True)] if fault else []

    def _metadata(self, request: ReportRequest, registration: Registration, now: datetime) -> list[RegisterReport]:
        if not request.report_back:
            return [self.offer(registration, now, request.request_id)]
        check_lengths(request)
        asked = replace(request, start=request.start or now)
        if asked.report_back.held_after(now) < _LEAST_METADATA.held_after(now):
            text = f"Metadata each {asked.report_back} is asked, each {_LEAST_METADATA} is offered."
            raise InvalidError(text)
        if not self._is_kept(asked):
            self._put(ReportTask(asked, METADATA, asked.start))
        return []

    def _is_kept(self, asked: ReportRequest) -> bool:
        """Tell whether a request is the same again, which is no new one (TR-12)."""
        known = self._memory.report_task(asked.request_id)
        return known is not None and replace(known.request, start=asked.start) == asked and not known.last

    def _put(self, task: ReportTask) -> None:
        """Keep a request. Raises InvalidError where too many are kept."""
        if self._memory.report_task(task.id) is None and self._memory.report_task_count() >= _MOST_REQUESTS:
            raise InvalidError(f"This VEN keeps at most {_MOST_REQUESTS} report requests.")
        self._memory.put_report_task(task)

    def _accept(self, request: ReportRequest, now: datetime) -> None:
        offers = self._reporter.offers(now)
        asked = request
        if request.report_back and (request.start is None or request.duration is None):
            # RP-26 wants both; VTNs in the field leave them out and mean "from now on, for ever".
            start = request.start or floor_to(now, min(max(1, request.granularity.seconds), _DAY_S))
            asked = replace(request, start=start, duration=request.duration or _FOR_EVER)
        offer = next((one for one in offers if one.specifier_id == asked.specifier_id), None)
        if offer is not None and not asked.r_ids:
            asked = replace(asked, r_ids=tuple(one.r_id for one in offer.descriptions))
        asked = replace(asked, r_ids=tuple(dict.fromkeys(asked.r_ids)))
        offer = check_request(asked, offers)
        if not self._is_kept(asked):
            self._put(self._reporter.begin(asked, offer.name, now))

    def _pending(self) -> tuple[str, ...]:
        return tuple(task.id for task in self._memory.report_tasks())

    # -- cancelling

    def cancelled(self, message: CancelReport, registration: Registration) -> list[Action]:
        """Stop reports on the VTN's word and put the answer in the outbox (RP-60, RP-61)."""
        unknown = [one for one in message.report_request_ids if not self._stop(one, to_follow=message.report_to_follow)]
        code = Code.INVALID_ID if unknown else Code.OK
        text = f"Unknown reportRequestID: {', '.join(unknown)[:200]}" if unknown else None
        response = Response(code, text, message.request_id)
        self._memory.push(CanceledReport(response, self._pending(), registration.ven_id))
        return []

    def _stop(self, request_id: str, *, to_follow: bool) -> bool:
        task = self._memory.report_task(request_id)
        if task is None:
            return False
        if to_follow and task.name != METADATA:
            self._memory.put_report_task(replace(task, last=True, next_try=None))
        else:
            self._memory.drop_report_task(request_id)
        return True

    # -- delivering

    def next_due(
        self, now: datetime, held: Callable[[ReportTask], bool] = lambda _: False
    ) -> tuple[datetime, ReportTask] | None:
        """Return when the next report is due, and whose; of several that are overdue the oldest data goes first.

        Tasks that `held` names wait for something else. One that raises is dropped: the others go on.
        """
        due = [
            (max(when, now), task.delivered_until or now, task)
            for task in self._memory.report_tasks()
            if not held(task) and (when := self._guarded(task, self._due_at, now)) is not None
        ]
        if not due:
            return None
        when, _, task = min(due, key=lambda row: (row[0], row[1], row[2].id))
        return when, task

    def _guarded(self, task: ReportTask, work: Callable[[ReportTask, datetime], T], now: datetime) -> T | None:
        """Do a piece of work for a task. One that raises, or ended this VEN at too many starts, is given up."""
        if self._quarantine.barred("report", task.id):
            self._memory.drop_report_task(task.id)
            return None
        try:
            with self._quarantine.handling("report", task.id), self._memory.transaction():
                return work(task, now)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this report
            self._quarantine.caught("report", task.id, error, now)
            self._memory.drop_report_task(task.id)
            return None

    def _due_at(self, task: ReportTask, now: datetime) -> datetime | None:
        if task.name != METADATA:
            return self._reporter.due_at(task, now)
        due = task.delivered_until or now
        return max(due, task.next_try) if task.next_try else due

    def deliver(
        self, task: ReportTask, registration: Registration, now: datetime
    ) -> tuple[UpdateReport | RegisterReport | None, Sampled | None]:
        """Return the message of a due task and what the task becomes once that is confirmed; None: nothing to say."""
        if task.name == METADATA:
            after = self._guarded(task, lambda task, now: Sampled(None, _metadata_after(task, now)), now)
            return (self.offer(registration, now, task.id), after) if after else (None, None)
        sampled = self._guarded(task, self._reporter.sample, now)
        if sampled is None:
            return None, None
        if sampled.report is None:
            self.confirmed(task, sampled)
            return None, sampled
        return UpdateReport(new_id("req"), (sampled.report,), registration.ven_id), sampled

    def confirmed(self, task: ReportTask, sampled: Sampled) -> None:
        """Move a task on: its report has arrived."""
        now_asked = self._memory.report_task(task.id)
        if now_asked is None or now_asked.request != task.request:
            return  # cancelled or asked anew while the report was on its way
        if sampled.after is None:
            self._memory.drop_report_task(task.id)
        else:
            self._memory.put_report_task(replace(sampled.after, last=now_asked.last))

    def updated(self, task: ReportTask, sampled: Sampled, answer: UpdatedReport) -> list[Action]:
        """Take the answer to a data report; it may cancel the report (RP-62)."""
        code = answer.response.code
        if code == Code.INVALID_ID:
            self._memory.drop_report_task(task.id)
            return [Noted(f"The VTN does not know report {task.id} any more (452); it stops.", problem=True)]
        self.confirmed(task, sampled)
        if answer.cancel is not None and task.id in answer.cancel.report_request_ids:
            self._stop(task.id, to_follow=answer.cancel.report_to_follow)
        if not answer.response.ok:
            text = f"The VTN refused a report of {task.name} ({code}): {answer.response.description}"
            return [Noted(text, problem=True)]
        return []

    def postponed(self, task: ReportTask, now: datetime) -> None:
        """Try a report that the server could not take again when the next one is due."""
        back = task.request.report_back
        wait = min(max(_LEAST_WAIT, back.held_after(now) - now), _MOST_WAIT)
        self._memory.put_report_task(replace(task, next_try=now + wait))


def _metadata_after(task: ReportTask, now: datetime) -> ReportTask | None:
    """Return a periodic metadata request once it was answered; None: its time is over, or never comes again (RP-14)."""
    request = task.request
    start = request.start or now
    due = Steps(start, request.report_back).after(now)
    end = Span.lasting(start, request.duration or ZERO).end or LATEST
    return replace(task, delivered_until=due, next_try=None) if due < end else None


_FOR_EVER: Final = ZERO
_DAY_S: Final = 86_400


def _digest(offers: Sequence[ReportOffer]) -> str:
    text = repr([(one.specifier_id, one.name, str(one.duration), one.descriptions) for one in offers])
    return hashlib.sha256(text.encode()).hexdigest()
