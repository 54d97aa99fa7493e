"""What a gateway remembers of its VTN: the registration, the events, the reports that it owes."""

from dataclasses import dataclass, field
from datetime import datetime

from core.spans import Duration, Span, shifted
from openadr.model.event import Event
from openadr.model.opt import OptType
from openadr.model.report import ReportRequest
from openadr.v20b.codes import Code


def version_key(event: Event) -> str:
    """Return a name for one version of an event: a modification is handled anew."""
    return f"{event.event_id}.{event.modification_number}"


@dataclass(frozen=True, slots=True)
class Registration:
    """A registration that the VTN has confirmed (RG-05). `poll_freq` is what it asks for, if anything."""

    registration_id: str
    ven_id: str
    vtn_id: str
    poll_freq: Duration | None = None


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event with what this gateway decided about it.

    `request_id` is that of the delivery which was answered last (EV-44). `offset_s` is the random delay of start and
    end (EV-61). `stop_at` is set once the event is cancelled, by word or by being left out: when its execution ends
    (EV-62). `code` other than 200 means that the event was refused and is only remembered. `by_hand` marks an opt that
    a person gave; it outlives modifications.
    """

    event: Event
    request_id: str
    opt: OptType
    offset_s: int = 0
    code: int = Code.OK
    reason: str = ""
    stop_at: datetime | None = None
    by_hand: bool = False

    @property
    def start(self) -> datetime:
        """When it starts here: the event's start plus the random offset."""
        return shifted(self.event.period.start, self.offset_s)

    @property
    def span(self) -> Span:
        """When it runs here, cancellation included; an end of None is open (EV-66)."""
        end = Span.lasting(self.start, self.event.period.duration).end
        if self.stop_at is not None:
            end = max(self.start, min(end, self.stop_at) if end is not None else self.stop_at)
        return Span(self.start, end)

    @property
    def runs(self) -> bool:
        """Whether this gateway carries it out."""
        return self.opt is OptType.IN and self.code == Code.OK

    def over(self, now: datetime) -> bool:
        """Tell whether nothing of it is left to do."""
        end = self.span.end
        return (end is not None and end <= now) or (self.stop_at is not None and self.stop_at <= now)


@dataclass(frozen=True, slots=True)
class ReportTask:
    """A report request and how far it has been served.

    `delivered_until` is the end of the last window that the VTN confirmed; `covered` says for each rID until when
    valid energy was delivered, so that a gap is later closed by one interval out of the register. The two move only
    when the VTN has answered: they are the durable queue of reports. `last` marks a cancelled request that still
    owes one report (RP-61).
    """

    request: ReportRequest
    name: str
    delivered_until: datetime | None = None
    covered: dict[str, datetime] = field(default_factory=dict)
    next_try: datetime | None = None
    last: bool = False

    @property
    def id(self) -> str:
        """The reportRequestID."""
        return self.request.request_id
