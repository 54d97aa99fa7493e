"""How many connections a process holds, and whose: strangers never use up what known clients need.

A connection is a stranger's until its client has shown a certificate that we accept (`prove`). Strangers are bounded
for each address and give way to newcomers, the longest idle first; a known client is bounded by its own name only, as
thousands may share one address. Machine time.
"""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

_log = structlog.get_logger("evenload.web")

_NEAR: Final = 0.8
_FAR: Final = 0.6
_SAY_AGAIN_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is granted to connections: `most` in all, by strangers of one address, and by one known client.

    A TLS handshake may take `handshake_s`, and a stranger's first request as long again; a connection is closed after
    `idle_s` without a request, and when an answer is not fetched within `answer_s`.
    """

    most: int = 768
    per_address: int = 1000
    per_client: int = 32
    handshake_s: float = 20.0
    idle_s: float = 300.0
    answer_s: float = 60.0


class Connection:
    """One connection, from its acceptance on. `close` cuts it at once."""

    __slots__ = ("address", "close", "who")

    def __init__(self, address: str, close: Callable[[], object]) -> None:
        self.address = address
        self.close = close
        self.who: str | None = None


class Connections:
    """Counts the connections of all listeners of a process, and says which one has to go."""

    def __init__(self, limits: Limits | None = None, turned_away: Callable[[], object] = lambda: None) -> None:
        """`turned_away` is called for each connection that is closed to make room, or not taken."""
        self.limits = limits or Limits()
        self._tell = turned_away
        self._strangers: dict[str, dict[Connection, None]] = {}
        self._by_caller: dict[str, dict[Connection, None]] = {}
        self._count = 0
        self._is_near = False
        self._turned_away = 0
        self._say_from = float("-inf")

    def __len__(self) -> int:
        return self._count

    def accept(self, address: str, close: Callable[[], object]) -> Connection | None:
        """Count a new connection, making room for it; None if there is none to be made."""
        name = _network(address)
        if len(self._strangers.get(name, ())) >= self.limits.per_address:
            self._turn_away(next(iter(self._strangers[name])), "its address has too many connections")
        elif self._count >= self.limits.most and not self._make_room():
            self._say(address, "there are too many connections")
            return None
        connection = Connection(name, close)
        self._strangers.setdefault(name, {})[connection] = None
        self._count += 1
        self._watch()
        return connection

    def asked(self, connection: Connection) -> None:
        """Note a request: its connection is now the last of its address to give way."""
        mine = self._strangers.get(connection.address, {})
        if mine.pop(connection, self) is None:
            mine[connection] = None

    def prove(self, connection: Connection, who: str) -> None:
        """Note that a connection is a known client's; of too many with its name the oldest is closed.

        Without a name (a proxy, or no TLS) it is not bounded by one.
        """
        if connection.who is not None or not self._forget(connection):
            return
        connection.who = who
        mine = self._by_caller.setdefault(who, {})
        mine[connection] = None
        self._count += 1
        if who and len(mine) > self.limits.per_client:
            self._turn_away(next(iter(mine)), "its client has too many connections")

    def gone(self, connection: Connection) -> None:
        """Note that a connection has ended. Again does no harm."""
        self._forget(connection)
        self._watch()

    def _make_room(self) -> bool:
        crowd = max(self._strangers.values(), key=len, default=None)
        if not crowd:
            return False
        self._turn_away(next(iter(crowd)), "there are too many connections")
        return True

    def _turn_away(self, connection: Connection, why: str) -> None:
        self._forget(connection)
        connection.close()
        self._say(connection.address, why)

    def _forget(self, connection: Connection) -> bool:
        group, name = (
            (self._strangers, connection.address) if connection.who is None else (self._by_caller, connection.who)
        )
        mine = group.get(name, {})
        if connection not in mine:
            return False
        del mine[connection]
        if not mine:
            del group[name]
        self._count -= 1
        return True

    def _say(self, address: str, why: str) -> None:
        """Count, and log once a minute: whoever floods us must not flood the log."""
        self._tell()
        self._turned_away += 1
        if time.monotonic() >= self._say_from:
            self._say_from = time.monotonic() + _SAY_AGAIN_S
            _log.warning("connections are turned away", address=address, why=why, count=self._turned_away)
            self._turned_away = 0

    def _watch(self) -> None:
        most = self.limits.most
        if self._is_near and self._count < _FAR * most:
            self._is_near = False
        elif not self._is_near and self._count >= _NEAR * most:
            self._is_near = True
            _log.warning("connections are near their limit", count=self._count, limit=most)


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 the network of a site, in which a host has as many as it likes."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))  # noqa: PLR2004
