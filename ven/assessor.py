"""Has what an event brought computed some time after its end, and keeps it; the computation has a process of its own.

That process is short-lived, bounded in time, memory and what it says, and ended at a deadline: whatever becomes of it
stays with the event that it was about.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import structlog
from pydantic import TypeAdapter, ValidationError

from core.clock import Clock
from core.errors import EvenloadError, InvalidError, UnavailableError
from core.spans import Span
from ven.assessment import (
    HOW_TO_INSTALL,
    MOST_BYTES,
    SECONDS,
    Assessment,
    Assessments,
    Job,
    Outcome,
    is_installed,
    measurable,
)
from ven.household import Household
from ven.quarantine import Quarantine
from ven.reports import Metered
from ven.state_files import STORE_FILE
from ven.store import Store
from ven.vtn_state import KnownEvent
from ven.watches import Bell

_log = structlog.get_logger(__name__)

_DEADLINE_S: Final = SECONDS + 5.0
"""Machine time. The process ends itself a little earlier."""
_COMMAND: Final = (sys.executable, "-P", "-m", "ven.assess")
_LATEST: Final = timedelta(days=7)
"""What ended longer ago is not looked at any more: the gateway was away, or had nothing to compute with."""
_LOOK_AGAIN: Final = timedelta(hours=1)
_STORE_RETRY: Final = timedelta(minutes=1)
_TICK: Final = timedelta(microseconds=1)
_MOST_OTHERS: Final = 1000
_KIND: Final = "assessment"


class Assessor:
    """Watches for events that are over, and has them assessed one after the other.

    `flush` writes what was read to the store; `ready` says whether the meters' past is known; `renewed` is called after
    each new assessment. Who has the `turn` computes: several at once would want much memory.
    """

    def __init__(
        self,
        household: Household,
        resources: Sequence[Metered],
        store: Store,
        quarantine: Quarantine,
        clock: Clock,
        *,
        flush: Callable[[], None],
        ready: Callable[[], bool],
        renewed: Callable[[], None],
        turn: asyncio.Lock | None = None,
        command: Sequence[str] = _COMMAND,
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        self._household = household
        self._resources = measurable(resources)
        self._store = store
        self._assessments = Assessments(store)
        self._quarantine = quarantine
        self._clock = clock
        self._flush = flush
        self._ready = ready
        self._renewed = renewed
        self._turn = turn or asyncio.Lock()
        self._command = command
        self._deadline_s = deadline_s
        self._bell = Bell(clock)
        self.look_again = self._bell.ring

    @property
    def works(self) -> bool:
        """Whether events are assessed here at all."""
        return self._household.assess.enabled and bool(self._resources) and is_installed()

    async def run(self) -> None:
        """Watch for ever; at once done where nothing is assessed."""
        if not self.works:
            if self._household.assess.enabled and self._resources:
                _log.info("what events bring is not computed here", how=f"{HOW_TO_INSTALL} lets it be")
            return
        self._assessments.drop_unreadable(self._clock.now())
        while True:
            self._bell.silence()
            now = self._clock.now()
            try:
                following = await self.look(now)
            except UnavailableError as error:
                _log.error("what events brought cannot be kept", reason=str(error))
                following = now + _STORE_RETRY
            await self._bell.rung_or(following)

    async def look(self, now: datetime) -> datetime:
        """Assess the events whose time has come; return when to look again. Raises UnavailableError."""
        wait = self._household.assess.wait.timedelta()
        events = list(self._ran())
        soon = now + _LOOK_AGAIN
        for known, span in events:
            end = span.end or span.start
            if end + wait > now or not self._ready():
                soon = min(soon, max(end + wait, now + _STORE_RETRY))
            elif end + _LATEST > now and not self._assessments.has(known.event.event_id):
                await self._assess(known, span, [other for one, other in events if one is not known])
        return soon

    def _ran(self) -> Iterator[tuple[KnownEvent, Span]]:
        """Yield the events that this household took part in and that have an end, each with its time as ordered."""
        for known in self._store.events():
            with suppress(EvenloadError, ArithmeticError):
                if not known.runs or (known.event.is_test and self._household.test_events == "dry_run"):
                    continue
                start = known.event.period.start
                end = min(filter(None, (known.event.period.end, known.stop_at)), default=None)
                if end is not None and end > start:
                    yield known, Span(start, end)

    async def _assess(self, event: KnownEvent, span: Span, beside: Sequence[Span]) -> None:
        event_id, assess = event.event.event_id, self._household.assess
        start, end = span.start, span.end or span.start
        others = {(one.start, one.end or one.start) for one in (*self._assessments.spans(), *beside)} - {(start, end)}
        job = Job(
            store=self._household.state / STORE_FILE,
            resources=self._resources,
            start=start,
            end=end,
            others=tuple(sorted(others, reverse=True)[:_MOST_OTHERS]),
            told_at=min(event.event.created_at, start),
            baseline=assess.baseline,
            step_s=assess.step.exact_s,
            time_zone=self._household.site.time_zone,
            connection_w=self._household.site.connection_w,
            most_readings=self._household.limits.readings,
        )
        self._flush()
        try:
            async with self._turn:
                outcome = await self._computed(job)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, it stays with this event
            outcome = Outcome(failure=str(error) or type(error).__name__)
        now = self._clock.now()
        if outcome.failure:
            self._quarantine.caught(_KIND, event_id, InvalidError(outcome.failure), now)
        last = self._assessments.newest_at()
        made_at = now if last is None else max(now, last + _TICK)
        self._assessments.put(Assessment(event_id, start, end, made_at, job.step_s, outcome))
        self._renewed()

    async def _computed(self, job: Job) -> Outcome:
        """Return what the other process says. Raises InvalidError where it says nothing of use, OSError."""
        said = await self._said(TypeAdapter(Job).dump_json(job))
        try:
            return TypeAdapter(Outcome).validate_json(said)
        except (ValidationError, EvenloadError, ArithmeticError) as error:
            raise InvalidError("The computation said nothing of use.") from error

    async def _said(self, body: bytes) -> bytes:
        child = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(self._deadline_s):
                said = await _exchange(child, body)
                code = await child.wait()
        except TimeoutError:
            raise InvalidError(f"The computation took more than {self._deadline_s:g} seconds and was ended.") from None
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        if code:
            raise InvalidError(f"The computation ended without a result ({code}).")
        return said


async def _exchange(child: asyncio.subprocess.Process, body: bytes) -> bytes:
    """Send a process its input, and return what it says. Raises InvalidError for more than anybody needs."""
    if child.stdin is None or child.stdout is None:
        raise InvalidError("The computation has no pipes.")
    with suppress(BrokenPipeError, ConnectionResetError):
        child.stdin.write(body)
        await child.stdin.drain()
    child.stdin.close()
    said = bytearray()
    while some := await child.stdout.read(65_536):
        said += some
        if len(said) > MOST_BYTES:
            raise InvalidError("The computation said too much.")
    return bytes(said)
