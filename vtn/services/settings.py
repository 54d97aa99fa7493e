"""What a deployment decides once, for all services."""

from dataclasses import dataclass, field

from core.spans import Duration


@dataclass(frozen=True, slots=True)
class WantedReport:
    """A report that the VTN asks of every VEN that offers it, as soon as the VEN has registered its reports.

    `history` is how far back a HISTORY report reaches; a telemetry report runs for ever, one every `report_back`.
    """

    name: str
    granularity: Duration
    report_back: Duration = field(default_factory=Duration)
    history: Duration | None = None


@dataclass(frozen=True, slots=True)
class VtnSettings:
    """Settings of the OpenADR side. Durations are world time.

    `resend_after` is when a row that was sent and not answered may be sent again: two poll periods, at least 60 s.
    After `max_tries` sendings it is dead and shown to the operator. `own_reports_after` is how long a report of this
    VTN's own waits after the end of what it covers; None: it offers VENs no reports.
    """

    vtn_id: str
    poll_period: Duration = field(default_factory=lambda: Duration.of(seconds=10))
    strict: bool = False
    max_tries: int = 10
    wanted_reports: tuple[WantedReport, ...] = ()
    own_reports_after: Duration | None = None
    time_zone: str = "UTC"

    @property
    def resend_after(self) -> Duration:
        """How long a sent row waits for its answer."""
        return Duration.of(seconds=max(60, 2 * self.poll_period.exact_s))


@dataclass(frozen=True, slots=True)
class LogBounds:
    """How much of the log of messages is kept: for how long, how many lines and bytes in all, and of each VEN.

    No time at all: nothing. Of reports of data that were taken, by far the most messages, one of each VEN is kept in
    each `report_every`.
    """

    keep: Duration = field(default_factory=lambda: Duration.of(days=14))
    lines: int = 200_000
    size: int = 256_000_000
    lines_each: int = 500
    size_each: int = 4_000_000
    report_every: Duration = field(default_factory=lambda: Duration.of(minutes=10))
