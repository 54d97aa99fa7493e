"""How fast the engine may speak: each message's own back-off, and a limit on all of them together."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

_FIRST_S: Final = 1.0
_JITTER: Final = 0.1
_FORGOTTEN_S: Final = 3600.0
_MANY: Final = 1000
_SECOND: Final = timedelta(seconds=1)


@dataclass(slots=True)
class _Wait:
    failures: int
    until_s: float


class Retries:
    """When each message that failed may be tried again, in machine time.

    Truncated binary exponential back-off: about 1 s at first, doubling to `longest_s`, +-10 % (TR-11). What happens to
    one message changes nothing for another.
    """

    def __init__(self, longest_s: float, random: Random, monotonic: Callable[[], float]) -> None:
        self._longest_s = longest_s
        self._random = random
        self._monotonic = monotonic
        self._waits: dict[Hashable, _Wait] = {}

    def failed(self, key: Hashable, *, least_s: float = 0.0, longest_s: float | None = None) -> None:
        """Count a failure: the message waits for its back-off, and for `least_s` at least."""
        now_s = self._monotonic()
        if len(self._waits) > _MANY:
            self._waits = {name: wait for name, wait in self._waits.items() if wait.until_s > now_s - _FORGOTTEN_S}
        failures = self._waits[key].failures if key in self._waits else 0
        longest_s = self._longest_s if longest_s is None else min(longest_s, self._longest_s)
        back_off_s = min(longest_s, _FIRST_S * 2.0 ** min(failures, 40)) * self._random.uniform(
            1 - _JITTER, 1 + _JITTER
        )
        self._waits[key] = _Wait(failures + 1, now_s + max(back_off_s, least_s))

    def over(self, key: Hashable) -> None:
        """Begin anew: the message got through, or is not sent any more."""
        self._waits.pop(key, None)

    def clear(self) -> None:
        """Forget every failure."""
        self._waits.clear()

    def ready(self, key: Hashable) -> bool:
        """Tell whether a message may be sent now."""
        return self.left_s(key) <= 0

    def left_s(self, key: Hashable) -> float:
        """Return how long a message has to wait still; 0 or less: no longer."""
        wait = self._waits.get(key)
        return wait.until_s - self._monotonic() if wait else 0.0

    def soonest_s(self) -> float | None:
        """Return how long it takes until the first message that waits may go; None if none waits."""
        return min((left_s for key in self._waits if (left_s := self.left_s(key)) > 0), default=None)


class Budget:
    """At most one message a second of world time in the long run, and `burst` of them at once."""

    def __init__(self, burst: int) -> None:
        self._burst = float(burst)
        self._left = self._burst
        self._at: datetime | None = None

    def wait(self, now: datetime) -> timedelta:
        """Return how long until the next message may go; nothing if it may go now."""
        passed = now - self._at if self._at is not None else timedelta()
        self._at = now  # a clock that was set back gives nothing and takes nothing
        self._left = min(self._burst, self._left + max(0.0, passed / _SECOND))
        return _SECOND * max(0.0, 1.0 - self._left)

    def spend(self) -> None:
        """Count a message."""
        self._left -= 1.0
