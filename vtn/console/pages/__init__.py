"""The VTN's own pages, one module a noun."""

from pathlib import Path
from typing import Final

from vtn.console.pages import (
    account,
    audit,
    bulk,
    dispatches,
    enrolment,
    fleet,
    groups,
    login,
    messages,
    overview,
    programmes,
    reports,
    settings,
    system,
    ven,
)
from web.auth import Role
from web.pages.page import Section
from web.pages.shell import NavEntry

_HERE: Final = Path(__file__).resolve().parent.parent

SECTION: Final = Section(
    "console",
    pages=(
        *login.PAGES,
        *overview.PAGES,
        *dispatches.PAGES,
        *programmes.PAGES,
        *bulk.PAGES,
        *fleet.PAGES,
        *groups.PAGES,
        *ven.PAGES,
        *reports.PAGES,
        *messages.PAGES,
        *enrolment.PAGES,
        *audit.PAGES,
        *settings.PAGES,
        *account.PAGES,
        *system.PAGES,
    ),
    nav=(
        NavEntry("Overview", "/", rank=10),
        NavEntry("Dispatches", "/dispatches", rank=20),
        NavEntry("Programmes", "/programmes", rank=30),
        NavEntry("Fleet", "/fleet", rank=40),
        NavEntry("Enrolment", "/enrolment", rank=50),
        NavEntry("Audit", "/audit", rank=80, role=Role.ADMIN),
        NavEntry("Settings", "/settings", rank=90, role=Role.ADMIN),
        NavEntry("Health", "/system", rank=95),
    ),
    templates=_HERE / "templates",
    static=_HERE / "static",
)
