"""What OpenADR 2.0b can carry: what an operator writes is tried on the wire before it is stored.

A value that cannot be sent would otherwise be found out at the poll of a VEN, again and again. The codec itself is the
judge, so that nothing has to be said twice.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from core.errors import EvenloadError, InvalidError
from core.spans import ZERO, Duration
from openadr.model import event as events
from openadr.model.event import ActivePeriod, DeliveredEvent, Event, EventStatus
from openadr.model.report import ReportRequest
from openadr.model.signal import Interval, Signal
from openadr.v20b.codes import Code
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreateReport, DistributeEvent, Message, Response

_LAST_YEAR: Final = 2199
"""The last year that the REST API writes (web.model)."""

_SIMPLE: Final = Signal("SIMPLE", "level", "simple", (Interval(Duration.of(hours=1), 1.0),))


async def check_event(event: Event) -> None:
    """Raise InvalidError for an event that breaks OpenADR's rules, fits no message, or ends beyond the calendar."""
    events.check_event(event)
    end = event.period.end
    if event.period.duration and end is None:
        raise InvalidError("The event would outlast the calendar.")
    if end is not None and end.year > _LAST_YEAR:
        raise InvalidError(f"The event would end after the year {_LAST_YEAR}.")
    delivered = DeliveredEvent(replace(event, event_id="trial"), EventStatus.FAR)
    await _try(DistributeEvent("vtn", "trial", (delivered,), Response(Code.OK, "OK", "trial")))


async def check_programme(market_context: str, period: ActivePeriod) -> None:
    """Raise InvalidError for a programme whose events could not be sent."""
    await check_event(Event("trial", 0, market_context, datetime(2026, 1, 1, tzinfo=UTC), period, (_SIMPLE,)))


async def check_request(request: ReportRequest) -> None:
    """Raise InvalidError for a report request that no oadrCreateReport can carry."""
    limits = (request.granularity, request.report_back, request.duration or ZERO)
    if any(length.months * 31 * 86400 + length.seconds > 400 * 366 * 86400 for length in limits):
        raise InvalidError("A duration is longer than 400 years.")
    await _try(CreateReport("trial", (request,), "ven"))


async def _try(message: Message) -> None:
    """Encode a message and read it in strict mode, in a thread: a long one takes a while."""

    def attempt() -> None:
        body = encode(message)
        decode(body, strict=True)

    try:
        await asyncio.to_thread(attempt)
    except EvenloadError as error:
        raise InvalidError(f"OpenADR 2.0b cannot carry this: {error}") from error
