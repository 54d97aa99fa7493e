"""Where the faces find what they work with."""

from typing import Final

from aiohttp import web

from aggregator.trade.sales import Sales

SALES: Final = web.AppKey("sales", Sales)
