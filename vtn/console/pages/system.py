"""How the server itself is doing."""

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from aiohttp import web

from core.errors import EvenloadError
from vtn.console.request import ConsoleRequest
from vtn.services import outbox
from vtn.services.outbox import State
from web.auth import Role
from web.pages.page import page
from web.pages.translations import gettext as _

_STATM: Final = Path("/proc/self/statm")
_STARTED_AT: Final = datetime.now(UTC)


@page("GET", "/system", role=Role.VIEWER)
async def show_system(request: ConsoleRequest) -> web.StreamResponse:
    """Show whether the parts answer, and what the process uses."""
    desk = request.desk
    began = time.perf_counter()
    counts: dict[str, int] = {}
    fault = None
    try:
        async with desk.db.read() as conn:
            counts = await outbox.count_open(conn, desk.clock.now())
        took_s = time.perf_counter() - began
    except EvenloadError as error:
        took_s, fault = time.perf_counter() - began, str(error)
    return request.render(
        "system.html",
        status=503 if fault else 200,
        fault=fault,
        took_ms=1000 * took_s,
        store=desk.db.dialect,
        counts={state.value: counts.get(state, 0) for state in State},
        authority=desk.authority is not None,
        openadr_url=desk.openadr_url,
        process={
            _("Process"): str(os.getpid()),
            _("Up since"): _STARTED_AT,
            _("Python version"): platform.python_version(),
            _("Memory"): _memory(),
            _("Open live pages"): str(len(request.console.streams)),
            _("Charts"): _("available")
            if request.console.assets.library.is_installed
            else _("not installed, tables only"),
        },
    )


def _memory() -> str:
    """Return the resident memory; only Linux tells."""
    try:
        pages = int(_STATM.read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return _("unknown")
    return f"{pages * os.sysconf('SC_PAGE_SIZE') / 1e6:.0f} MB"


PAGES = (show_system,)
