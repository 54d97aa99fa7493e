"""Pushing to VENs, as a VTN's settings have it: which addresses, with which certificate, how often."""

from evenload.settings import Settings
from vtn.services.ven_cache import VenCache
from vtn.transport.v20b.push import PushRules
from vtn.transport.v20b.push_address import Addresses
from vtn.transport.v20b.push_client import OwnTls, PushClient
from web.http_client import Guard


def push_addresses(settings: Settings) -> Addresses | None:
    """Return the addresses that VENs in push mode may name; None: this VTN has nothing to push with."""
    openadr = settings.openadr
    if openadr.insecure:
        return Addresses.on_loopback()
    return Addresses(Guard.allowing(openadr.push.allow)) if openadr.certificates else None


def push_client(settings: Settings, vens: VenCache, addresses: Addresses) -> PushClient:
    """Return what posts to VENs: with the VTN's certificate, to servers of the authorities whose clients it lets in."""
    openadr = settings.openadr
    own = None
    if openadr.certificates:
        first = openadr.certificates[0]
        own = OwnTls(first.cert, first.key, openadr.ca, openadr.tls)
    return PushClient(vens, addresses, own, timeout_s=openadr.push.timeout_s)


def push_rules(settings: Settings) -> PushRules:
    """Return how often a VEN that takes nothing is tried."""
    push = settings.openadr.push
    return PushRules(push.longest_pause.timedelta(), push.unreachable_after)
