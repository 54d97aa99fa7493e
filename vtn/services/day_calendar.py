"""What is known of a programme's VENs besides readings, as `metrics.method.Calendar`: calls, outages, agreements."""

from collections.abc import Sequence

from core.spans import Span
from metrics.days import zone_named
from metrics.method import BaselineMethod, Calendar
from metrics.needs import Need
from vtn.services import agreed, event_days, holidays, outages, weather
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

    The events of one dispatch, the one that is looked at, are left out. `methods`: those that it is for; what none of
    them needs is not read. VENs of one area share their temperatures.
    """
    busy = await event_days.others(conn, ven_ids, dispatch_id, within)
    dark = await outages.of_each(conn, ven_ids, within)
    days = await holidays.within(conn, rules.id, rules.parameters, within)
    until = (within.end or within.start).astimezone(zone_named(rules.parameters.time_zone)).date()
    asking = [method.id for method in methods if Need.AGREED in method.needs]
    powers = await agreed.of_each(conn, asking, ven_ids, until)
    is_asked = any(Need.TEMPERATURE in method.needs for method in methods)
    warm = await weather.of_each(conn, ven_ids, within) if is_asked else {}
    return {
        ven_id: Calendar(
            busy.get(ven_id, ()), dark.get(ven_id, ()), days, warm.get(ven_id), agreed=powers.get(ven_id, {})
        )
        for ven_id in ven_ids
    }
