"""Who was chosen for an activation, and why, in the operator API."""

from typing import Any

from aggregator.brp_api.values import ULID
from aggregator.flexibility.fleet import Reason
from aggregator.trade import activations, selection_view
from core.errors import NotFoundError
from vtn.api.desk import DESK
from web.api import Context
from web.model import Model
from web.operation import operation
from web.pagination import Cursor, Keyset, Limit, Page

_BY_VEN = Keyset("selection", str)


class ChosenVen(Model):
    """One eligible VEN: whether it was called, and why or why not."""

    ven_id: str
    ven_name: str
    reason: Reason
    power_w: int
    """What it was ordered, mean over the window; 0: not called."""
    whole_w: int | None
    """What it would have been ordered as a whole, if it was called at partial power; null: it was not."""


_EXAMPLE: dict[str, Any] = {
    "items": [{"ven_id": f"ven_{ULID}", "ven_name": "home-01", "reason": "called", "power_w": 1800, "whole_w": 3600}],
    "next": None,
}


@operation(
    "GET",
    "/v1/activations/{activation_id}/selection",
    summary="Read who was selected for an activation, and why",
    role="viewer",
    tags=["market"],
    errors=[404],
    answer_example=_EXAMPLE,
)
async def read_selection(
    context: Context, activation_id: str, limit: Limit = 200, cursor: Cursor | None = None
) -> Page[ChosenVen]:
    """Return every VEN that was eligible, each with one reason."""
    after = _BY_VEN.decode(cursor)
    async with context.service(DESK).db.read() as conn:
        one = await activations.get(conn, activation_id)
        if one.selection_id is None:
            raise NotFoundError("Nobody has been chosen for this activation yet.")
        rows = await selection_view.by_id(conn, one.selection_id, after=after[0] if after else None, limit=limit + 1)
    found = [
        ChosenVen(ven_id=row.ven_id, ven_name=row.name, reason=row.reason, power_w=row.power_w, whole_w=row.whole_w)
        for row in rows
    ]
    return _BY_VEN.page(found, limit, key=lambda row: (row.ven_id,))


OPERATIONS = (read_selection,)
