"""Attempts to get in by guessing: how many are free, and how long who failed has to wait (machine time).

An attempt is counted before it is tried and given back if it was good, so that many at once are no way around the
limit. Each process counts for itself; memory is bounded.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from web.problem import ProblemError

_LONGEST_S = 900.0
_TOO_MANY = "Too many failed attempts. Wait {wait}, then try again."


class FailureLimit:
    """Lets each key fail `max_failures` times; then it waits `window_s`, and twice as long after each further failure.

    At most `longest_s`; who made no attempt for as long after the wait is forgotten. Keys are addresses (IPv6 by its
    /64, because that is what one customer gets) or other texts, at most `max_addresses` of them: the one that was
    silent longest is forgotten first.
    """

    def __init__(
        self,
        max_failures: int = 20,
        window_s: float = 60.0,
        max_addresses: int = 4096,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        longest_s: float = _LONGEST_S,
    ) -> None:
        self._max_failures = max_failures
        self._window_s = window_s
        self._longest_s = max(longest_s, window_s)
        self._max_addresses = max_addresses
        self._monotonic = monotonic
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """Key -> failures, and until when it waits (or when it last failed)."""

    def __len__(self) -> int:
        return len(self._failures)

    def wait_s(self, address: str) -> float:
        """Return for how many more seconds the address is refused; 0 if it may try."""
        failures, until = self._failures.get(network_of(address), (0, 0.0))
        return max(until - self._monotonic(), 0.0) if failures >= self._max_failures else 0.0

    def failed(self, address: str) -> None:
        """Count one failed attempt."""
        key, now = network_of(address), self._monotonic()
        failures, until = self._failures.pop(key, (0, now))
        failures = 1 if now >= until + self._longest_s else failures + 1
        beyond = min(failures - self._max_failures, 32)
        pause_s = min(self._window_s * 2**beyond, self._longest_s) if beyond >= 0 else 0.0
        self._failures[key] = (failures, now + pause_s)
        if len(self._failures) > self._max_addresses:
            self._failures.popitem(last=False)

    def forgive(self, address: str) -> None:
        """Take one counted failure back: it was none."""
        key = network_of(address)
        failures, until = self._failures.get(key, (0, 0.0))
        if failures > 1:
            self._failures[key] = (failures - 1, until)
        else:
            self._failures.pop(key, None)

    def refuse(self, address: str) -> None:
        """Count a failed attempt that cost nothing. Raises ProblemError 429 if the address has to wait."""
        _check([(self, address)])
        self.failed(address)


@dataclass(slots=True)
class Attempt:
    """One attempt; it counts as failed unless it is said to be good."""

    is_good: bool = False


@contextmanager
def attempting(
    limits: Sequence[tuple[FailureLimit, str]], *, wrong: type[Exception] | tuple[type[Exception], ...] = ()
) -> Iterator[Attempt]:
    """Count an attempt against some limits, each with its key, before it is made inside.

    It is given back if it was good, or was not judged because of an error other than `wrong`. Raises ProblemError 429
    with Retry-After if one of the keys has to wait.
    """
    _check(limits)
    for limit, key in limits:
        limit.failed(key)
    attempt = Attempt()
    try:
        yield attempt
    except wrong:
        raise
    except Exception:  # but not who went away in the middle of it
        attempt.is_good = True
        raise
    finally:
        if attempt.is_good:
            for limit, key in limits:
                limit.forgive(key)


def _check(limits: Sequence[tuple[FailureLimit, str]]) -> None:
    wait_s = max(limit.wait_s(key) for limit, key in limits)
    if wait_s > 0:
        pause_s = math.ceil(wait_s) + 1
        words = f"{pause_s} seconds" if pause_s < 100 else f"{math.ceil(pause_s / 60)} minutes"  # noqa: PLR2004
        raise ProblemError(429, _TOO_MANY.format(wait=words), {"Retry-After": str(pause_s)})


def network_of(address: str) -> str:
    """Return what stands for an address in limits: IPv6 by its /64, IPv4 in whatever form, other texts as they are."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        mapped = ip.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((ip.packed, 64), strict=False))
    return str(ip)
