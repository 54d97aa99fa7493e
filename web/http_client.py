"""HTTP requests to addresses that somebody else chose: webhook receivers, sources of prices, VENs in push mode.

Whoever may name an address could name one of our own network (SSRF). So only https to public addresses is spoken,
unless a setting allows more. The name is resolved once, every address that it has is checked, and the connection goes
to one of those checked, so that a name cannot change its meaning in between. Redirects are not followed, no proxy of
the environment is used, and size and time are bounded. All times are machine time.
"""

import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from core.errors import InvalidError, UnavailableError

LONGEST_URL: Final = 2000
_CHUNK: Final = 1 << 14
_AGENT: Final = "evenload"
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NEVER: Final = tuple(ipaddress.ip_network(one) for one in ("::/96", "64:ff9b:1::/48", "fec0::/10", "192.88.99.0/24"))
"""What the registries withdrew or gave to single networks, though Python calls some of it global."""
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK: Final = (ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1"))


@dataclass(frozen=True, slots=True)
class Guard:
    """Which addresses may be called. Nothing said: https to public addresses.

    `hosts` are (name, port or None for any) that may also be private or speak plain http; `networks` are ranges of
    private addresses that may be called. `ca` is a PEM file of further authorities to trust.
    """

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[_Network, ...] = ()
    ca: Path | None = None

    @classmethod
    def allowing(cls, entries: Sequence[str], ca: Path | None = None) -> Self:
        """Read a list such as `["10.1.0.0/16", "prices.local", "localhost:8080"]`. Raises InvalidError."""
        hosts, networks = set(), []
        for entry in entries:
            network = _network(entry)
            if network is not None:
                networks.append(network)
            else:
                hosts.add(_host(entry))
        return cls(frozenset(hosts), tuple(networks), ca)

    def check_url(self, text: str) -> URL:
        """Return the address as a URL. Raises InvalidError, with the reason, for one that is never called.

        A name other than `localhost` passes here; what it resolves to is checked when it is called.
        """
        try:
            url = URL(text)
            host, port = url.host, url.port
        except ValueError as error:
            raise InvalidError("The address is no URL such as https://example.com/hook.") from error
        if url.scheme not in {"https", "http"} or not host or not port or len(text) > LONGEST_URL:
            raise InvalidError("The address is no URL such as https://example.com/hook.")
        if not text.isascii() or not text.isprintable() or " " in text or url.fragment or url.user or url.password:
            raise InvalidError("The address may hold no user, password, fragment, blank or character beyond ASCII.")
        if not self._is_listed(host, port):
            if url.scheme != "https":
                raise InvalidError("Plain http is only spoken with addresses that the operator allowed; use https.")
            if (literal := _literal(host)) is not None:
                self.check_address(literal)
            elif _is_loopback(host) and not any(self._allows(one) for one in _LOOPBACK):
                raise InvalidError(f"{host} is not a public address; the operator has not allowed it.")
        return url

    def check_address(self, address: _Address) -> None:
        """Raise InvalidError for an address that is not public and in no allowed network."""
        if self._allows(address):
            return
        if not all(map(_is_public, _meanings(address))):
            raise InvalidError(f"{address} is not a public address; the operator has not allowed it.")

    def _allows(self, address: _Address) -> bool:
        return any(address in network for network in self.networks if network.version == address.version)

    def _is_listed(self, host: str, port: int | None) -> bool:
        name = host.lower().rstrip(".")
        return (name, None) in self.hosts or (name, port) in self.hosts


STRICT: Final = Guard()
"""Only https to public addresses."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. `body` is cut where it was longer than asked for."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    complete: bool = True


async def fetch_json(
    url: str,
    *,
    guard: Guard = STRICT,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 20.0,
    max_bytes: int = 4 << 20,
) -> Any:
    """Return the JSON value at an address.

    Raises InvalidError for an address that is not allowed or an answer that is no JSON or too large, UnavailableError
    if there is no answer or not a 200.
    """
    wanted = {"Accept": "application/json", **(headers or {})}
    answer = await _request("GET", url, None, wanted, guard, timeout_s, max_bytes)
    if answer.status != 200:  # noqa: PLR2004
        raise UnavailableError(f"{shown(url)} answered {answer.status}, not 200.")
    if not answer.complete:
        raise InvalidError(f"The answer of {shown(url)} is longer than {max_bytes} bytes.")
    try:
        return json.loads(answer.body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"The answer of {shown(url)} is not JSON.") from error


async def post(
    url: str,
    body: bytes,
    *,
    guard: Guard = STRICT,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
    max_bytes: int = 1 << 14,
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    """Send JSON text, or what `headers` say, to an address and return the answer, whatever its status.

    `tls`: who is trusted, and who we are, in place of the guard's authorities. Raises InvalidError for an address that
    is not allowed, UnavailableError if there is no answer.
    """
    wanted = {"Content-Type": "application/json", **(headers or {})}
    return await _request("POST", url, body, wanted, guard, timeout_s, max_bytes, tls)


async def _request(
    method: str,
    text: str,
    body: bytes | None,
    headers: Mapping[str, str],
    guard: Guard,
    timeout_s: float,
    max_bytes: int,
    tls: ssl.SSLContext | None = None,
) -> HttpAnswer:
    url = guard.check_url(text)
    # An exact name in the list is free to lie anywhere; every other address has to pass.
    resolver = _Resolver(None if guard._is_listed(url.host or "", url.port) else guard)  # noqa: SLF001
    connector = aiohttp.TCPConnector(
        resolver=resolver, use_dns_cache=False, ssl=tls or _tls(guard.ca), force_close=True
    )
    common = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s), auto_decompress=False
            ) as session,
            session.request(method, url, data=body, headers={**common, **headers}, allow_redirects=False) as answer,
        ):
            raw, whole = await _bounded(answer, max_bytes)
            return HttpAnswer(answer.status, answer.headers.copy(), raw, whole)
    except aiohttp.ClientConnectorDNSError as error:
        raise UnavailableError(f"{url.host} has no address.") from error
    except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError) as error:
        raise UnavailableError(f"{shown(text)} has no certificate that is trusted here.") from error
    except TimeoutError as error:
        raise UnavailableError(f"{shown(text)} did not answer within {timeout_s:g} s.") from error
    except ValueError as error:  # no URL for aiohttp, or no name for the resolver
        raise InvalidError(f"{shown(text)} cannot be called.") from error
    except (aiohttp.ClientError, OSError) as error:
        raise UnavailableError(f"{shown(text)} does not answer ({type(error).__name__}).") from error


class _Resolver(AbstractResolver):
    """Resolves a name once and refuses it if any of its addresses is refused; without a guard all pass."""

    def __init__(self, guard: Guard | None) -> None:
        self._guard = guard
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the checked addresses."""
        found = await self._system.resolve(host, port, family)
        for one in found:
            if self._guard is not None:
                self._guard.check_address(ipaddress.ip_address(one["host"]))
        return found

    async def close(self) -> None:
        """Hold nothing."""


async def _bounded(answer: aiohttp.ClientResponse, max_bytes: int) -> tuple[bytes, bool]:
    raw = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK):
        raw += chunk
        if len(raw) > max_bytes:
            return bytes(raw[:max_bytes]), False
    return bytes(raw), True


@lru_cache(maxsize=4)
def _tls(ca: Path | None) -> ssl.SSLContext:
    """Return who is trusted; loading the system's authorities takes a while, so it is kept."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidError(f"{ca} is not a readable file of CA certificates (PEM).") from error
    return context


def _is_public(address: _Address) -> bool:
    withdrawn = any(address in network for network in _NEVER if network.version == address.version)
    return address.is_global and not address.is_multicast and not withdrawn


def _meanings(address: _Address) -> list[_Address]:
    """Return the address and those hidden in it: IPv4 in IPv6 (mapped, 6to4, Teredo, NAT64)."""
    found: list[_Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        hidden = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            hidden.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        inner = [one for one in hidden if one is not None]
        # What is only a wrapping says nothing of its own: Python calls ::ffff:8.8.8.8 reserved.
        found = [*inner] if address.ipv4_mapped is not None else [address, *inner]
    return found


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    """Tell whether a name means this machine, wherever it is asked for (RFC 6761, section 6.3)."""
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def _network(entry: str) -> _Network | None:
    try:
        return ipaddress.ip_network(entry) if "/" in entry else None
    except ValueError:
        return None


def _host(entry: str) -> tuple[str, int | None]:
    try:
        url = URL(f"https://{entry}")
        name, port = (url.host or "").lower().rstrip("."), url.explicit_port
    except ValueError:
        name, port = "", None
    if not name or set(entry) & set("/*@?# ") or not entry.isascii():
        raise InvalidError(f"'{entry}' is neither a network such as 10.1.0.0/16 nor a host such as prices.local:8080.")
    return name, port


def shown(url: str) -> str:
    """Return an address for messages: without the query, which may hold a key."""
    return url.partition("?")[0][:200]


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)
