"""Whose address counts where a proxy stands in front."""

from ipaddress import ip_network

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from web.callers import PROXIES, address_of

PROXY, OUTER = "127.0.0.1", "10.1.2.3"


class Peer:
    def __init__(self, address):
        self._address = address

    def get_extra_info(self, name, default=None):
        return (self._address, 5) if name == "peername" else default

    def is_closing(self):
        return False


@pytest.mark.parametrize(
    ("remote", "forwarded", "address"),
    [
        (PROXY, [], PROXY),
        (PROXY, ["192.0.2.1"], "192.0.2.1"),
        (PROXY, ["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (PROXY, ["6.6.6.6", f"192.0.2.1, {OUTER}"], "192.0.2.1"),
        (PROXY, ["192.0.2.1, unknown"], PROXY),
        (PROXY, ["2001:db8::1"], "2001:db8::1"),
        (PROXY, [", " * 50_000], PROXY),
        ("192.0.2.9", ["6.6.6.6"], "192.0.2.9"),
        ("::ffff:127.0.0.1", ["192.0.2.1"], "192.0.2.1"),
    ],
)
def test_the_last_address_that_a_trusted_proxy_heard_counts(remote, forwarded, address):
    app = web.Application()
    app[PROXIES] = (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))
    headers = CIMultiDict([("X-Forwarded-For", one) for one in forwarded])
    request = make_mocked_request("GET", "/", headers=headers, app=app, transport=Peer(remote))
    assert address_of(request) == address


def test_without_a_trusted_proxy_the_header_says_nothing():
    headers = {"X-Forwarded-For": "192.0.2.1"}
    assert (
        address_of(make_mocked_request("GET", "/", headers=headers, app=web.Application(), transport=Peer(PROXY)))
        == PROXY
    )
