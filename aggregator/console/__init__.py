"""The market's pages of the console: dispatches, the trade with BRPs, tariffs, the pool's potential."""

from pathlib import Path
from typing import Final

from aiohttp import web

from aggregator.console import (
    activation_pages,
    board,
    dispatch_live,
    dispatch_new,
    dispatch_result,
    offer_pages,
    party_pages,
    potential_pages,
    season_pages,
    statement_pages,
    tariff_pages,
)
from aggregator.console.live_boards import LIVE, LiveBoards
from aggregator.console.potential_pages import POOLS
from aggregator.console.words import WORDS
from aggregator.flexibility.pool_forecast import PoolForecasts
from vtn.console import NavEntry, Section
from web.pages.translations import N_

__all__ = ["LIVE", "POOLS", "SECTION", "share_reckoning"]

_HERE: Final = Path(__file__).resolve().parent

SECTION: Final = Section(
    "market",
    pages=(
        *dispatch_new.PAGES,
        *dispatch_live.PAGES,
        *dispatch_result.PAGES,
        *board.PAGES,
        *offer_pages.PAGES,
        *activation_pages.PAGES,
        *party_pages.PAGES,
        *statement_pages.PAGES,
        *tariff_pages.PAGES,
        *potential_pages.PAGES,
        *season_pages.PAGES,
    ),
    nav=(NavEntry(N_("Market"), "/market", rank=60), NavEntry(N_("Tariffs"), "/tariffs", rank=70)),
    templates=_HERE / "templates",
    words=WORDS,
    static=_HERE / "static",
    panels=(board.panel,),
)


def share_reckoning(app: web.Application) -> None:
    """Let everybody who looks at the same dispatch or pool of this console share one reckoning."""
    app[LIVE], app[POOLS] = LiveBoards(), PoolForecasts()
