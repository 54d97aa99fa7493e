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
from vtn.transport.message_log import RecentMessages
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
    recent: RecentMessages,
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
        recent=recent,
    )
    share_reckoning(app)
    return app


def about(settings: Settings, desk: Desk) -> dict[str, dict[str, str]]:
    """Return what this server runs with, in words and without secrets."""
    openadr, api = settings.openadr, settings.api
    kind = settings.database.partition(":")[0]
    return {
        "This VTN": {
            "Version": version("evenload"),
            "vtnID": settings.vtn_id,
            "Store": {"sqlite": "SQLite", "postgresql": "PostgreSQL"}.get(kind, kind),
            "Certificate authority": "its own" if desk.authority is not None else "none",
            "World clock": _clock(settings, desk),
        },
        "VENs (OpenADR 2.0b)": {
            "Address": desk.openadr_url,
            "Poll period": str(openadr.poll_period),
            "TLS": _tls(settings),
            "Messages": "strict" if openadr.strict else "tolerant",
            "Tries before a message is given up": str(openadr.max_tries),
            "Reports asked of every VEN": ", ".join(one.name for one in settings.reports) or "none",
        },
        "REST": {"Listens on": f"{api.host}:{api.port}", "TLS": "yes" if api.certificate else "no, loopback only"},
    }


def _clock(settings: Settings, desk: Desk) -> str:
    if settings.clock is None or not isinstance(desk.clock, WorldClock):
        return "the host's time"
    return f"its own, {desk.clock.speed:g} times as fast as the host's"


def _tls(settings: Settings) -> str:
    openadr = settings.openadr
    if openadr.insecure:
        return "none: VENs are taken at their word"
    return "ends at a proxy" if openadr.proxy_header else openadr.tls
