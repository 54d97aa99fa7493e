"""Simulated homes: each speaks OpenADR over HTTP, draws power like a household, and follows its events."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiohttp

from core.clock import Clock
from core.direction import Direction
from core.spans import Duration, Span, floor_to
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.opt import OptType
from openadr.model.potential import REPORT_NAME, Quantile, describe, describe_nominal, nominal_r_id, r_id
from openadr.model.registration import VenProfile
from openadr.model.report import Report, ReportInterval, ReportOffer, ReportPayload, ReportRequest, SamplingRate
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import (
    SERVICES,
    CreatedEvent,
    CreatedReport,
    CreatePartyRegistration,
    CreateReport,
    DistributeEvent,
    EventResponse,
    Message,
    OadrResponse,
    Poll,
    RegisteredReport,
    RegisterReport,
    Response,
    UpdateReport,
)
from support.vtn_world import MINUTE, data, usage

DEVICE = "heat pump"
"""What such a home shifts."""
METER = "meter"
_HALF_HOUR = Duration.of(minutes=30)
_HALF_HOUR_S = 1800
_AHEAD = 48
_RATE = SamplingRate(MINUTE, Duration.of(hours=1), on_change=True)


def load_w(number: int, at: datetime) -> float:
    """Return what a home draws at a time (W): morning and evening peaks, a heat pump that cycles, its own habits."""
    hour = (at.hour + at.minute / 60 + at.second / 3600 + 1.0) % 24  # Berlin's winter
    size = 0.8 + 0.08 * (number % 7)
    peaks = 700 * math.exp(-(((hour - 7.5) / 1.6) ** 2)) + 900 * math.exp(-(((hour - 18.5) / 4) ** 2))
    minutes = at.timestamp() / 60
    cycle = 180 * math.sin(minutes / (23 + number) + number) + 60 * math.sin(minutes / 7.3 + 2 * number)
    weather = 1 + 0.05 * math.sin(at.timestamp() / 86400 * 1.7 + number)
    return max(size * weather * (1500 + peaks) + cycle, 150.0)


def can_w(number: int, at: datetime) -> float:
    """Return how much less a home could draw at a time (W)."""
    return 0.45 * load_w(number, floor_to(at, _HALF_HOUR_S) + timedelta(minutes=15))


@dataclass
class Home:
    """One household. `answers`: how it answers events; None says nothing at all."""

    number: int
    name: str
    ven_id: str
    url: str
    http: aiohttp.ClientSession
    clock: Clock
    answers: OptType | None = OptType.IN
    follows: float = 1.0
    events: dict[str, DeliveredEvent] = field(default_factory=dict)
    requests: dict[str, ReportRequest] = field(default_factory=dict)
    offers: dict[str, ReportOffer] = field(default_factory=dict)
    reported_until: datetime | None = None
    told_at: datetime | None = None

    async def say(self, message: Message) -> Any:
        """Send a message and return the answer, which is read in strict mode."""
        url, headers = f"{self.url}/{SERVICES[type(message)]}", {"Content-Type": "application/xml"}
        async with self.http.post(url, data=encode(message), headers=headers) as answer:
            body = await answer.read()
            assert answer.status == 200, body
        return decode(body, strict=True)

    async def join(self) -> None:
        """Register, offer reports and take in what the VTN asks for."""
        profile = VenProfile(ven_name=self.name)
        await self.say(CreatePartyRegistration("reg", profile, ven_id=self.ven_id))
        lines = [line for way in Direction for line in describe(DEVICE, way, _RATE)]
        ahead = ReportOffer(
            "ahead", REPORT_NAME, Duration.of(days=1), (*lines, describe_nominal(DEVICE, _RATE)), self.clock.now()
        )
        offers = (usage(METER), ahead)
        self.offers = {one.name: one for one in offers}
        await self.say(RegisterReport("r", offers, self.ven_id))
        await self.poll()
        self.reported_until = floor_to(self.clock.now(), 60)

    async def poll(self) -> None:
        """Take everything that waits, and answer it."""
        for _ in range(50):
            message = await self.say(Poll(self.ven_id))
            if isinstance(message, OadrResponse):
                return
            await self._take(message)
        raise AssertionError("the queue never ends")

    async def _take(self, message: Any) -> None:
        if isinstance(message, RegisterReport):
            await self.say(RegisteredReport(Response(200, "OK", message.request_id), (), self.ven_id))
        elif isinstance(message, CreateReport):
            ids = tuple(one.request_id for one in message.requests)
            await self.say(CreatedReport(Response(200, "OK", message.request_id), ids, self.ven_id))
            for one in message.requests:
                self.requests[one.specifier_id] = one
                if one.specifier_id == "usage" and self.reported_until is not None:
                    now = floor_to(self.clock.now(), 60)
                    await self._usage(now - timedelta(minutes=1), now, one)
        elif isinstance(message, DistributeEvent):
            await self._events(message.events)

    async def _events(self, events: Sequence[DeliveredEvent]) -> None:
        fresh = [one for one in events if not self._knows(one)]
        self.events |= {one.event.event_id: one for one in events}
        told = [
            EventResponse(one.event.event_id, one.event.modification_number, self.answers, f"q{number}")
            for number, one in enumerate(fresh)
            if self.answers is not None and one.status is not EventStatus.CANCELLED
        ]
        if told:
            await self.say(CreatedEvent(self.ven_id, Response(), tuple(told)))

    def _knows(self, one: DeliveredEvent) -> bool:
        known = self.events.get(one.event.event_id)
        return known is not None and known.event.modification_number == one.event.modification_number

    def draws_w(self, at: datetime) -> float:
        """Return what it draws at a time, its events followed."""
        return load_w(self.number, at) + (self._ordered_w(at) if self.answers is OptType.IN else 0.0)

    @property
    def orders(self) -> list[DeliveredEvent]:
        """The events that order power of it; prices do not."""
        return [one for one in self.events.values() if one.event.signals[0].name == "LOAD_DISPATCH"]

    def _ordered_w(self, at: datetime) -> float:
        """Return what its events order of it at a time, W, below zero: less."""
        total = 0.0
        for one in self.orders:
            edge = one.event.period.start
            if one.status is EventStatus.CANCELLED:
                continue
            for interval in one.event.signals[0].intervals:
                after = interval.duration.after(edge)
                if edge <= at < after:
                    total += self.follows * interval.value
                edge = after
        return total

    async def report(self) -> None:
        """Send the minutes since the last time, and a potential every half hour."""
        now = self.clock.now()
        until = floor_to(now, 60)
        request = self.requests.get("usage")
        if request is not None and self.reported_until is not None and until > self.reported_until:
            await self._usage(self.reported_until, until, request)
            self.reported_until = until
        if self.told_at is None or now - self.told_at >= timedelta(minutes=30):
            await self.tell_potential()

    async def _usage(self, since: datetime, until: datetime, request: ReportRequest) -> None:
        minutes = range(int((until - since).total_seconds()) // 60)
        values = [self.draws_w(since + timedelta(minutes=one, seconds=30)) / 60 for one in minutes]
        await self.say(UpdateReport("u", (data(request, since, *values),), self.ven_id))

    async def tell_potential(self) -> None:
        """Report what it could change in the coming day."""
        request = self.requests.get("ahead")
        if request is None:
            return
        now = self.clock.now()
        edge = start = floor_to(now, _HALF_HOUR_S)
        intervals = []
        for number in range(_AHEAD):
            at = start + timedelta(seconds=number * _HALF_HOUR_S)
            payloads = [
                ReportPayload(r_id(DEVICE, way, quantile), round(part * share * can_w(self.number, at)))
                for way, part in ((Direction.REDUCE, 1.0), (Direction.INCREASE, 0.5))
                for quantile, share in zip(Quantile, (0.8, 1.0, 1.15), strict=True)
            ]
            if number == 0:
                payloads.append(ReportPayload(nominal_r_id(DEVICE), 3000.0))
            intervals.append(ReportInterval(tuple(payloads), edge, _HALF_HOUR))
            edge = _HALF_HOUR.after(edge)
        told = Report(request.request_id, "ahead", REPORT_NAME, now, tuple(intervals), start)
        await self.say(UpdateReport("p", (told,), self.ven_id))
        self.told_at = now


def history(number: int, span: Span, step_s: int = _HALF_HOUR_S) -> tuple[float, ...]:
    """Return what a home's meter read in a span (Wh a step)."""
    first, last = int(span.start.timestamp()), int((span.end or span.start).timestamp())
    half = timedelta(seconds=step_s / 2)
    steps = range((last - first) // step_s)
    return tuple(load_w(number, span.start + timedelta(seconds=one * step_s) + half) * step_s / 3600 for one in steps)
