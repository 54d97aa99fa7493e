"""The memory that the engine stands on: what it keeps and may rely on. `ven.store` is the one on a disk."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from openadr.model.opt import Opt
from openadr.v20b.messages import Message
from ven.vtn_state import KnownEvent, Registration, ReportTask


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the outbox."""

    seq: int
    message: Message
    tries: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that could not be handled: how often it failed, and at how many starts it ended the process."""

    kind: str
    key: str
    count: int
    ends: int
    reason: str
    last: datetime


class Memory(Protocol):
    """What one VEN remembers.

    Every method may raise UnavailableError: then nothing of that call was kept. What does not come back as it was put
    raises InvalidError.
    """

    def transaction(self) -> AbstractContextManager[object]:
        """Keep everything inside together, or nothing. May be nested: an inner one takes back its own changes only."""

    def drop_unreadable(self, now: datetime) -> None:
        """Let go of what cannot be read back, and note each as a fault."""

    def erase_relation(self) -> None:
        """Forget everything about the VTN (RG-10); the readings stay."""

    # -- facts and the registration

    def fact(self, name: str) -> Any:
        """Return a JSON value, or None."""

    def set_fact(self, name: str, value: Any) -> None:
        """Keep a JSON value; None removes it."""

    def registration(self) -> Registration | None:
        """Return the confirmed registration, or None."""

    def set_registration(self, registration: Registration | None) -> None:
        """Keep the registration; None forgets it."""

    # -- events and opt schedules

    def events(self) -> list[KnownEvent]:
        """Return every remembered event, by eventID."""

    def event(self, event_id: str) -> KnownEvent | None:
        """Return one remembered event, or None."""

    def put_event(self, event: KnownEvent, kept_until: datetime | None = None) -> None:
        """Remember an event; it may be forgotten after `kept_until`."""

    def forget_events(self, *, before: datetime | None = None) -> None:
        """Forget the events whose time to be kept has run out; without `before`, all of them."""

    def trim_events(self, kept_until: datetime, most_bytes: int) -> None:
        """Of the events that are to be kept until then at most, forget the oldest beyond so many bytes."""

    def opts(self) -> list[Opt]:
        """Return the opt schedules that were made here and not cancelled."""

    def put_opt(self, opt: Opt) -> None:
        """Remember an opt schedule."""

    def drop_opt(self, opt_id: str) -> None:
        """Forget an opt schedule."""

    # -- reports

    def report_tasks(self) -> list[ReportTask]:
        """Return every report request that is still owed something, by reportRequestID."""

    def report_task_count(self) -> int:
        """Return how many those are."""

    def report_task(self, request_id: str) -> ReportTask | None:
        """Return one of them, or None."""

    def put_report_task(self, task: ReportTask) -> None:
        """Remember a report request and how far it was served."""

    def drop_report_task(self, request_id: str) -> None:
        """Forget a report request."""

    # -- the outbox

    def push(self, message: Message) -> None:
        """Put a message at the end of the outbox; the number of those that wait is bounded, the oldest are buried."""

    def waiting_seqs(self) -> list[int]:
        """Return the numbers of the messages that wait, oldest first. A number is given once."""

    def waiting(self, seq: int) -> Waiting:
        """Return a message that waits. Raises InvalidError if it cannot be read."""

    def tried(self, seq: int) -> None:
        """Count a failed try of a message."""

    def done(self, seq: int) -> None:
        """Remove a message that the VTN has answered."""

    def bury(self, seq: int, reason: str) -> None:
        """Set a message aside that the VTN will never take, for people to see."""

    def drop_waiting(self) -> None:
        """Forget the messages that wait."""

    # -- what went wrong, for people to see

    def note_fault(self, kind: str, key: str, reason: str, now: datetime, *, ended: bool = False) -> Fault:
        """Count a failure to handle something, and return what is known of it now. `ended`: it ended the process."""

    def faults(self) -> list[Fault]:
        """Return what could not be handled, the newest last."""

    def note_refusal(self, message: str, code: str, reason: str, now: datetime) -> None:
        """Count an answer of the VTN that is an error."""
