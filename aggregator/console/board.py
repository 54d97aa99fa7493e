"""The market's board: how the trade stands, each number a way to its list; and the requests of BRPs."""

from aiohttp import web

from aggregator.console.shared import PER_PAGE, listing, zone_of
from aggregator.trade import contracts, offers, requests, trade_view
from aggregator.trade.activations import ActivationStatus
from vtn.console import ConsoleRequest, page
from vtn.services import programme as programmes
from web.auth import Role

_REQUESTS = listing("requests")
_SHOWN = 5


@page("GET", "/market", role=Role.VIEWER)
async def show_board(request: ConsoleRequest) -> web.StreamResponse:
    """Show how the trade stands."""
    async with request.desk.db.read() as conn:
        return request.render(
            "market/board.html",
            board=await trade_view.board(conn, request.now),
            names=await trade_view.names(conn),
            waiting=await requests.listed(conn, status=requests.RequestStatus.RECEIVED, limit=_SHOWN),
            open_offers=await offers.listed(conn, status=offers.OfferStatus.OPEN, limit=_SHOWN),
            active=await trade_view.listed_activations(conn, request.now, status=ActivationStatus.ACTIVE, limit=_SHOWN),
            notified=await trade_view.listed_activations(
                conn, request.now, status=ActivationStatus.NOTIFIED, limit=_SHOWN
            ),
            scheduled=await trade_view.listed_activations(
                conn, request.now, status=ActivationStatus.SCHEDULED, limit=_SHOWN
            ),
            disputed=await trade_view.disputed(conn, limit=_SHOWN),
        )


async def panel(request: ConsoleRequest) -> str:
    """Return what the overview shows of the market."""
    async with request.desk.db.read() as conn:
        return request.fragment("market/panel.html", board=await trade_view.board(conn, request.now))


@page("GET", "/market/requests", role=Role.VIEWER)
async def list_requests(request: ConsoleRequest) -> web.StreamResponse:
    """Show requests, newest first."""
    form = request.filters()
    status = form.value("status")
    wanted = requests.RequestStatus(status) if status in {one.value for one in requests.RequestStatus} else None
    async with request.desk.db.read() as conn:
        rows = await requests.listed(
            conn,
            party_id=form.value("party_id") or None,
            status=wanted,
            before=_REQUESTS.before(request),
            limit=PER_PAGE + 1,
        )
        names = await trade_view.names(conn)
    shown, following = _REQUESTS.page(rows, lambda row: row.id)
    return request.render(
        "market/requests.html",
        form=form,
        rows=shown,
        following=following,
        names=names,
        states=[one.value for one in requests.RequestStatus],
    )


@page("GET", "/market/requests/{request_id}", role=Role.VIEWER)
async def show_request(request: ConsoleRequest, request_id: str) -> web.StreamResponse:
    """Show a request, what was offered and what became of it."""
    async with request.desk.db.read() as conn:
        one = await requests.get(conn, request_id)
        contract = await contracts.get(conn, one.contract_id)
        rules = await programmes.get(conn, contract.programme_id)
        made = await offers.listed(conn, request_id=request_id)
        names = await trade_view.names(conn)
    return request.render(
        "market/request.html",
        zone=zone_of(rules),
        one=one,
        contract=contract,
        programme=rules,
        offers=made,
        names=names,
    )


PAGES = (show_board, list_requests, show_request)
