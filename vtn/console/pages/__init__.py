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
    meter_data,
    overview,
    programme_days,
    programmes,
    reports,
    settings,
    system,
    ven,
)
from vtn.console.words import WORDS
from web.auth import Role
from web.pages.page import Section
from web.pages.shell import NavEntry
from web.pages.translations import N_

_HERE: Final = Path(__file__).resolve().parent.parent

SECTION: Final = Section(
    "console",
    pages=(
        *login.PAGES,
        *overview.PAGES,
        *dispatches.PAGES,
        *programmes.PAGES,
        *programme_days.PAGES,
        *bulk.PAGES,
        *fleet.PAGES,
        *groups.PAGES,
        *ven.PAGES,
        *reports.PAGES,
        *messages.PAGES,
        *meter_data.PAGES,
        *enrolment.PAGES,
        *audit.PAGES,
        *settings.PAGES,
        *account.PAGES,
        *system.PAGES,
    ),
    nav=(
        NavEntry(N_("Overview"), "/", rank=10),
        NavEntry(N_("Dispatches"), "/dispatches", rank=20),
        NavEntry(N_("Programmes"), "/programmes", rank=30),
        NavEntry(N_("Fleet"), "/fleet", rank=40),
        NavEntry(N_("Enrolment"), "/enrolment", rank=50),
        NavEntry(N_("Audit"), "/audit", rank=80, role=Role.ADMIN),
        NavEntry(N_("Settings"), "/settings", rank=90, role=Role.ADMIN),
        NavEntry(N_("Health"), "/system", rank=95),
    ),
    templates=_HERE / "templates",
    words=WORDS,
    static=_HERE / "static",
)
