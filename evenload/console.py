"""The console of a VTN process: its pages, and what it says of the server that it belongs to."""

from collections.abc import Collection, Sequence
from importlib.metadata import version
from zoneinfo import ZoneInfo

from aiohttp import web
from yarl import URL

from aggregator.console import SECTION as MARKET
from aggregator.console import share_reckoning
from core.clock import WorldClock
from evenload.settings import ConsoleSettings, Settings
from vtn.api import Desk
from vtn.console import Section, make_console
from web.pages.translations import N_
from web.server import HttpMetrics

SECTIONS: Sequence[Section] = (MARKET,)
"""The pages of other rooms."""


def console_app(
    settings: Settings,
    console: ConsoleSettings,
    desk: Desk,
    hosts: Collection[str],
    *,
    metrics: HttpMetrics,
) -> web.Application:
    """Return the console with all pages; `hosts` are the names by which browsers may call it."""
    public = URL(console.url).host if console.url else None
    app = make_console(
        desk,
        hosts={*hosts, public} if public else hosts,
        cache=console.cache,
        secure=console.is_secure,
        sections=SECTIONS,
        metrics=metrics,
        zone=ZoneInfo(console.time_zone),
        about=about(settings, desk),
    )
    share_reckoning(app)
    return app


def about(settings: Settings, desk: Desk) -> dict[str, dict[str, str]]:
    """Return what this server runs with, without secrets. Headings and names are marked for translation, values not."""
    openadr, api = settings.openadr, settings.api
    kind = settings.database.partition(":")[0]
    return {
        N_("This VTN"): {
            N_("Version"): version("evenload"),
            "vtnID": settings.vtn_id,
            N_("Database"): {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(kind, kind),
            N_("Certificate authority"): "built in" if desk.authority is not None else "none",
            N_("World clock"): _clock(settings, desk),
        },
        N_("VENs (OpenADR 2.0b)"): {
            N_("Address"): desk.openadr_url,
            N_("Poll period"): str(openadr.poll_period),
            "TLS": _tls(settings),
            N_("Message checks"): "strict" if openadr.strict else "tolerant",
            N_("Tries before giving up on a message"): str(openadr.max_tries),
            N_("Reports requested from every VEN"): ", ".join(one.name for one in settings.reports) or "none",
        },
        N_("REST API"): {
            N_("Listens on"): f"{api.host}:{api.port}",
            "TLS": "yes" if api.certificate else "no, loopback only",
        },
    }


def _clock(settings: Settings, desk: Desk) -> str:
    if settings.clock is None or not isinstance(desk.clock, WorldClock):
        return "server time"
    return f"its own, {desk.clock.speed:g} times as fast as server time"


def _tls(settings: Settings) -> str:
    openadr = settings.openadr
    if openadr.insecure:
        return "none: VENs are not authenticated"
    return "ends at a proxy" if openadr.proxy_header else openadr.tls
