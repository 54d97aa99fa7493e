"""Many VENs at once, for operators who try their VTN: they register, poll, opt in, and are counted. Bounded in all.

Each message has a connection of its own, so a VTN works harder for one of these than for a VEN that keeps its own open.
"""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from conformance import judge
from conformance.exchange import Answer, Exchange
from conformance.runner import Setting
from conformance.stage import Stage, Ven
from conformance.wire import is_here
from core.errors import EvenloadError, InvalidError

MOST_VENS: Final = 2000
_WORKERS: Final = 16
_MOST_TIMES: Final = 100_000
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Load:
    """How many VENs poll how often (seconds), and for how long (seconds of machine time)."""

    vens: int
    period_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Count:
    """What came of the messages of a kind. Times are milliseconds of the first 100,000 that were answered."""

    name: str
    sent: int
    refused: int
    """Answered with an application error."""
    failed: int
    """Not answered by OpenADR at all."""
    median_ms: float | None
    p95_ms: float | None
    longest_ms: float | None


@dataclass(frozen=True, slots=True)
class Lives:
    """What came of a run: `troubles` are what failed, with how often."""

    vens: int
    registered: int
    lasted_s: float
    rows: tuple[Count, ...]
    troubles: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def failed(self) -> int:
        """The messages that were not answered by OpenADR."""
        return sum(row.failed for row in self.rows)


def check_place(url: str, *, anywhere: bool) -> None:
    """Raise InvalidError for an address that is not this machine, unless that is wanted."""
    if not is_here(url) and not anywhere:
        raise InvalidError(f"{urlsplit(url).hostname} is not this machine. If it is yours to try, say --anywhere.")


class _Tally:
    """Counts what all VENs say; shared by the threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._times_ms: dict[str, list[float]] = {}
        self._kept = 0
        self.troubles: Counter[str] = Counter()

    def note(self, name: str, exchange: Exchange, took_s: float) -> None:
        trouble = _trouble(exchange)
        with self._lock:
            self._sent[name] += 1
            if trouble:
                self._failed[name] += 1
                self.troubles[trouble[:100]] += 1
                return
            if exchange.answer is not None and _is_refused(exchange.answer):
                self._refused[name] += 1
            if self._kept < _MOST_TIMES:
                self._kept += 1
                self._times_ms.setdefault(name, []).append(took_s * 1000)

    def rows(self) -> tuple[Count, ...]:
        with self._lock:
            return tuple(self._row(name) for name in sorted(self._sent))

    def _row(self, name: str) -> Count:
        times = sorted(self._times_ms.get(name, ()))
        p95 = times[min(len(times) - 1, int(0.95 * len(times)))] if times else None
        median, longest = (statistics.median(times), times[-1]) if times else (None, None)
        return Count(name, self._sent[name], self._refused[name], self._failed[name], median, p95, longest)


def _trouble(exchange: Exchange) -> str:
    if exchange.answer is None:
        return exchange.trouble
    if exchange.answer.status != _OK:
        return f"HTTP {exchange.answer.status}"
    return "" if judge.is_openadr(exchange.answer) else "no oadrPayload"


def _is_refused(answer: Answer) -> bool:
    code = judge.parse(answer.content).code
    return code is not None and code != _OK


class _Counted(Stage):
    """A stage that keeps no transcript, and counts instead."""

    def __init__(self, tally: _Tally, *surroundings: Any) -> None:
        super().__init__(*surroundings)
        self._tally = tally
        self._begun_s = time.monotonic()

    def keep(self, exchange: Exchange) -> None:
        """Count an exchange: it took as long as it is since the one before ended, as a VEN says one at a time."""
        now_s = time.monotonic()
        name = judge.request(exchange).name
        self._tally.note(name, exchange, now_s - self._begun_s)
        self._begun_s = now_s

    def begins(self) -> None:
        """Let the time of the next exchange begin now."""
        self._begun_s = time.monotonic()


@dataclass
class _Member:
    ven: Ven
    stage: _Counted
    due_s: float
    is_registered: bool = False


def run(load: Load, setting: Setting, tell: Callable[[int, float], None] = lambda _vens, _share: None) -> Lives:
    """Let VENs live at a VTN; `tell` hears how many are made, and how much of the time is over.

    Raises InvalidError for a load without bounds, UnableError where the operator cannot make a VEN.
    """
    if not 1 <= load.vens <= MOST_VENS:
        raise InvalidError(f"A fleet has 1 to {MOST_VENS} VENs.")
    tally = _Tally()
    begun_s = time.monotonic()
    members = []
    for number in range(load.vens):
        rest = setting.operator, setting.timeline, setting.directory, setting.seed, 1
        stage = _Counted(tally, f"fleet {number}", setting.access, *rest)
        due_s = load.period_s * number / load.vens
        members.append(_Member(stage.newcomer(str(number)), stage, due_s))
        tell(number + 1, 0.0)
    origin_s = time.monotonic()
    shares = [members[start::_WORKERS] for start in range(min(_WORKERS, load.vens))]
    threads = [threading.Thread(target=_live, args=(share, load, origin_s), daemon=True) for share in shares]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.2)
        tell(load.vens, min(1.0, (time.monotonic() - origin_s) / load.lasts_s))
    registered = sum(member.is_registered for member in members)
    return Lives(load.vens, registered, time.monotonic() - begun_s, tally.rows(), dict(tally.troubles))


def _live(members: Sequence[_Member], load: Load, origin_s: float) -> None:
    """Have a worker's VENs speak, each when it is due, until the time is over."""
    while True:
        member = min(members, key=lambda each: each.due_s)
        if member.due_s >= load.lasts_s:
            return
        time.sleep(max(0.0, origin_s + member.due_s - time.monotonic()))
        member.stage.begins()
        try:
            if not member.is_registered:
                member.ven.register()
                member.is_registered = True
            member.ven.drain()
        except (EvenloadError, ValueError):
            pass  # it is counted; the VEN tries again when it is due
        member.due_s = max(member.due_s, time.monotonic() - origin_s - load.period_s) + load.period_s
