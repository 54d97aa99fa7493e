"""What is special about the days of a programme's VENs, as `Calendar`: calls, outages, holidays, temperatures."""

from collections.abc import Sequence

from core.spans import Span
from metrics.method import Calendar
from vtn.services import event_days, holidays, outages, weather
from vtn.services.programme import Programme
from vtn.store.database import Connection


async def of_each(
    conn: Connection,
    rules: Programme,
    ven_ids: Sequence[str],
    dispatch_id: str | None,
    within: Span,
    *,
    uses_temperature: bool,
) -> dict[str, Calendar]:
    """Return venID -> what is special about its days within a span, for every VEN asked.

    The events of one dispatch, the one that is looked at, are left out. Temperatures are read only where the method
    uses them; VENs of one area share theirs.
    """
    busy = await event_days.others(conn, ven_ids, dispatch_id, within)
    dark = await outages.of_each(conn, ven_ids, within)
    days = await holidays.within(conn, rules.id, rules.parameters, within)
    warm = await weather.of_each(conn, ven_ids, within) if uses_temperature else {}
    return {ven_id: Calendar(busy.get(ven_id, ()), dark.get(ven_id, ()), days, warm.get(ven_id)) for ven_id in ven_ids}
