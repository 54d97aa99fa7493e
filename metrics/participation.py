"""Who took part: answers, opts, activity and how fast the answers came."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from core.errors import InvalidError

OPT_IN = "optIn"
OPT_OUT = "optOut"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one called VEN said and did in one event.

    `opt`: its final opt, `optIn` or `optOut`, None without an answer. `latency_s`: from publishing to the first answer.
    `out_after_s`: for a final opt-out, seconds from the event's start to it, negative before. `ratio`: its performance
    ratio, NaN if unknown.
    """

    opt: str | None = None
    latency_s: float = float("nan")
    out_after_s: float = float("nan")
    ratio: float = float("nan")

    def __post_init__(self) -> None:
        if self.opt not in {OPT_IN, OPT_OUT, None}:
            raise InvalidError(f"'{self.opt}' is no opt; use optIn, optOut or None.")


@dataclass(frozen=True, slots=True)
class Participation:
    """Counts of VENs and what follows from them. Rates are 0 to 1 of the called, NaN if none was called.

    `answered` = `opted_in` + `opted_out`; `opted_out_during` counts those that left after the start; `active` are the
    opted-in whose performance ratio reached the programme's threshold. Latencies (s) are over the answered, NaN
    without any.
    """

    called: int
    answered: int
    opted_in: int
    opted_out: int
    opted_out_during: int
    active: int
    latency_p50_s: float
    latency_p95_s: float

    @property
    def no_answer(self) -> int:
        """VENs that were called and never answered."""
        return self.called - self.answered

    @property
    def response_rate(self) -> float:
        """Share of the called that answered."""
        return self._rate(self.answered)

    @property
    def participation_rate(self) -> float:
        """Share of the called that answered and stayed in."""
        return self._rate(self.opted_in)

    @property
    def opt_out_rate(self) -> float:
        """Share of the called that opted out, before or during the event."""
        return self._rate(self.opted_out)

    @property
    def active_rate(self) -> float:
        """Share of the called that delivered at least the threshold."""
        return self._rate(self.active)

    def _rate(self, count: int) -> float:
        return count / self.called if self.called else float("nan")


def participation(answers: Iterable[Answer], active_from: float = 0.5) -> Participation:
    """Return the figures of one event, one `Answer` per called VEN; active from a ratio of `active_from` upwards."""
    called = tuple(answers)
    opted_in = [one for one in called if one.opt == OPT_IN]
    opted_out = [one for one in called if one.opt == OPT_OUT]
    p50, p95 = percentiles(one.latency_s for one in (*opted_in, *opted_out))
    return Participation(
        called=len(called),
        answered=len(opted_in) + len(opted_out),
        opted_in=len(opted_in),
        opted_out=len(opted_out),
        opted_out_during=sum(one.out_after_s >= 0 for one in opted_out),
        active=sum(one.ratio >= active_from for one in opted_in),
        latency_p50_s=p50,
        latency_p95_s=p95,
    )


def percentiles(values_s: Iterable[float]) -> tuple[float, float]:
    """Return the 50th and 95th percentile (linear between ranks) of the finite values; NaN without any."""
    known = [value for value in values_s if isfinite(value)]
    if not known:
        return float("nan"), float("nan")
    p50, p95 = np.percentile(known, (50, 95))
    return float(p50), float(p95)
