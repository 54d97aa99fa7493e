"""From which address a request comes, also where a proxy stands in front."""

import ipaddress
from collections.abc import Sequence
from typing import Final

from aiohttp import web

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PROXIES: Final = web.AppKey("proxies", tuple[Network, ...])
"""The networks of proxies whose X-Forwarded-For is believed; nobody's if the application does not say."""
_HEADER: Final = "X-Forwarded-For"
_MOST_HOPS: Final = 20
_LONGEST: Final = 64


def address_of(request: web.Request) -> str:
    """Return the caller's address, for limits and logs.

    Where a trusted proxy called, it is what that one heard: the last address of X-Forwarded-For that is no trusted
    proxy. What stands before it the caller may have written itself.
    """
    remote = request.remote or "unknown"
    proxies = request.app.get(PROXIES, ())
    if not proxies:
        return remote
    given = [one.strip()[:_LONGEST] for text in request.headers.getall(_HEADER, ()) for one in text.split(",")]
    for hop in reversed(given[-_MOST_HOPS:]):
        if not _is_within(remote, proxies):
            break
        try:
            remote = str(ipaddress.ip_address(hop))
        except ValueError:
            break
    return remote


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)
