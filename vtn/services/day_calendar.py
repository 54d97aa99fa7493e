"""What is known of a programme's VENs besides readings, as `metrics.method.Calendar`: calls, outages, agreements."""

from collections.abc import Sequence

from core.spans import Span
from metrics.days import zone_named
from metrics.method import BaselineMethod, Calendar
from metrics.needs import Need
from vtn.services import agreed, event_days, holidays, outages
from vtn.services.programme import Programme
from vtn.store.database import Connection


async def of_each(
    conn: Connection,
    rules: Programme,
    methods: Sequence[BaselineMethod],
    ven_ids: Sequence[str],
    dispatch_id: str | None,
    within: Span,
) -> dict[str, Calendar]:
    """Return venID -> what is special about its days within a span, for every VEN asked.

    The events of one dispatch, the one that is looked at, are left out. `methods`: those that it is for.
    """
    busy = await event_days.others(conn, ven_ids, dispatch_id, within)
    dark = await outages.of_each(conn, ven_ids, within)
    days = await holidays.within(conn, rules.id, rules.parameters, within)
    until = (within.end or within.start).astimezone(zone_named(rules.parameters.time_zone)).date()
    powers = await agreed.of_each(
        conn, [method.id for method in methods if Need.AGREED in method.needs], ven_ids, until
    )
    return {
        ven_id: Calendar(busy.get(ven_id, ()), dark.get(ven_id, ()), days, agreed=powers.get(ven_id, {}))
        for ven_id in ven_ids
    }
