"""How often a caller may ask: a bucket of requests each, refilled steadily (machine time).

Answers say where the caller stands, as draft-ietf-httpapi-ratelimit-headers describes: `RateLimit-Policy` the bucket,
`RateLimit` what is left and in how many seconds it is full again. Each process counts for itself.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping

from web.problem import ProblemError

_TINY = 1e-6
"""What rounding may leave over."""


class RateLimit:
    """Lets each caller do `quota` requests at once and then `quota` in `window_s` seconds.

    For at most `max_callers` callers (the one that was silent longest is forgotten, which gives it a full bucket).
    """

    def __init__(
        self,
        quota: int,
        window_s: float = 60.0,
        *,
        max_callers: int = 4096,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quota = quota
        self._window_s = window_s
        self._max_callers = max_callers
        self._monotonic = monotonic
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, caller: str) -> Mapping[str, str]:
        """Count one request and return the headers for its answer. Raises ProblemError 429 if nothing is left."""
        now, each_s = self._monotonic(), self._window_s / self._quota
        owed_s = max(0.0, self._full_at.pop(caller, now) - now)
        wait_s = owed_s + each_s - self._window_s
        granted = wait_s <= _TINY
        owed_s += each_s if granted else 0.0
        self._full_at[caller] = now + owed_s
        if len(self._full_at) > self._max_callers:
            self._full_at.popitem(last=False)
        left = int((self._window_s - owed_s) / each_s + _TINY)
        headers = {
            "RateLimit-Policy": f'"default";q={self._quota};w={math.ceil(self._window_s)}',
            "RateLimit": f'"default";r={max(left, 0)};t={math.ceil(owed_s - _TINY)}',
        }
        if granted:
            return headers
        pause_s = max(1, math.ceil(wait_s - _TINY))
        text = f"More than {self._quota} requests in {self._window_s:g} s; wait {pause_s} s."
        raise ProblemError(429, text, {**headers, "Retry-After": str(pause_s)})
