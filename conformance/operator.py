"""What a black box cannot do from outside: events, report requests and VENs are the VTN operator's to make.

An adapter does it: over a VTN's own API, or by asking a person. What it cannot do raises UnableError, and the checks
that need it come out as not observable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from conformance.wire import Credentials
from core.errors import EvenloadError


class UnableError(EvenloadError):
    """This adapter, or this VTN, cannot do that."""


class OperatorRefusedError(EvenloadError):
    """The VTN's operator interface refused an order: for some rules that is what it has to do."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A VEN that the kit plays. `name` is its oadrVenName; `ven_id` is set where the VTN gave it out beforehand."""

    name: str
    credentials: Credentials | None = None
    ven_id: str | None = None
    known_as: str = ""
    """The venID by which the operator knows it already, though it may register without."""


@dataclass(frozen=True, slots=True)
class SignalOrder:
    """A signal: `values` are (seconds, value) of its intervals; `unit` such as W or EUR/kWh, "" for none."""

    name: str
    type: str
    values: tuple[tuple[int, float], ...]
    unit: str = ""
    device_classes: tuple[str, ...] = ()
    id: str = ""


@dataclass(frozen=True, slots=True)
class EventOrder:
    """An event. Lengths are seconds of world time; the event lasts as long as its first signal.

    `baseline` are (seconds, value) of the intervals of an eiEventBaseline that begins with the event; () for none.
    """

    start: datetime
    signals: tuple[SignalOrder, ...]
    market_context: str
    priority: int | None = None
    notification_s: int = 0
    ramp_up_s: int = 0
    start_after_s: int = 0
    always: bool = True
    resources: tuple[str, ...] = ()
    baseline: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class ReportOrder:
    """A report request; `back_s` 0 asks for one report."""

    specifier: str
    r_ids: tuple[str, ...]
    granularity_s: int = 0
    back_s: int = 0
    start: datetime | None = None
    duration_s: int | None = None


class Operator(Protocol):
    """An adapter. Methods raise UnableError for what cannot be done, OperatorRefusedError for what was refused."""

    def now(self) -> datetime:
        """Return the VTN's world time."""

    def provide(self, name: str, *, rsa: bool = False) -> Identity:
        """Return a VEN that may register, not used before."""

    def fingerprint(self, ven_id: str) -> str:
        """Return the fingerprint that the VTN shows for the VEN's certificate."""

    def require_signatures(self, ven: Identity, *, required: bool = True) -> None:
        """Have the VTN pass over what a VEN does not sign, or end that again (SE-08)."""

    def create_event(self, order: EventOrder, ven_ids: Sequence[str]) -> str:
        """Create an event for these VENs; return a handle for it."""

    def change_event(
        self, handle: str, *, start: datetime | None = None, signals: Sequence[SignalOrder] | None = None
    ) -> None:
        """Change its start or its signals."""

    def cancel_event(self, handle: str) -> None:
        """Cancel it."""

    def opt(self, handle: str, ven_id: str) -> str | None:
        """Return optIn or optOut as the operator sees it for a VEN, None without an answer."""

    def request_report(self, ven_id: str, order: ReportOrder) -> None:
        """Ask a VEN for a report that it offers."""

    def cancel_reports(self, ven_id: str) -> None:
        """Cancel all report requests of a VEN."""

    def reregister(self, ven_id: str) -> None:
        """Have the VEN asked to register again."""

    def unregister(self, ven_id: str) -> None:
        """Cancel the VEN's registration."""

    def restart(self) -> None:
        """End the VTN and start it again; return when its operator can be reached again."""
