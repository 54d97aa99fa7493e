"""What happened to a dispatch: orders and changes, messages, answers, interventions."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select

from aggregator.tables import intervention
from core.spans import floor_to
from openadr.model.opt import OptType
from vtn.store.database import Connection
from vtn.store.tables import audit, delivery
from vtn.store.tables import event as event_table
from vtn.store.tables import opt as opt_table

_MINUTE_S: Final = 60
_MOST_LINES: Final = 60


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened. `kind`: order, message, answer or change."""

    at: datetime
    kind: str
    text: str
    ven_id: str | None = None
    name: str | None = None


async def lines(conn: Connection, dispatch_id: str, activation_id: str | None) -> list[Line]:
    """Return what happened, newest first: orders and changes, messages and answers by the minute, interventions."""
    subjects = [one for one in (dispatch_id, activation_id) if one is not None]
    ours = select(event_table.c.id).where(event_table.c.dispatch_id == dispatch_id)
    changed = select(audit.c.at, audit.c.who, audit.c.action).where(audit.c.subject.in_([*subjects]))
    found = [
        Line(row.at, "change", f"{row.action}, by {row.who}")
        for row in await conn.execute(changed.order_by(audit.c.id.desc()).limit(_MOST_LINES))
    ]
    single = (
        select(audit.c.at, audit.c.who, audit.c.action, event_table.c.ven_id)
        .join(event_table, event_table.c.id == audit.c.subject)
        .where(event_table.c.dispatch_id == dispatch_id)
    )
    found += [
        Line(row.at, "change", f"{row.action}, by {row.who}", row.ven_id)
        for row in await conn.execute(single.order_by(audit.c.id.desc()).limit(_MOST_LINES))
    ]
    sent = select(delivery.c.first_sent_at).where(delivery.c.event_id.in_(ours) & delivery.c.first_sent_at.is_not(None))
    found += _by_minute((await conn.execute(sent)).scalars(), "message", "event sent to")
    said = select(opt_table.c.at, opt_table.c.opt_type).where(opt_table.c.event_id.in_(ours))
    answers: dict[str, list[datetime]] = {}
    for row in await conn.execute(said):
        answers.setdefault(row.opt_type, []).append(row.at)
    for word, times in answers.items():
        found += _by_minute(times, "answer", "opt-in of" if word == OptType.IN else "opt-out of")
    if activation_id is not None:
        query = select(intervention).where(intervention.c.activation_id == activation_id)
        found += [
            Line(row.at, "intervention", f"{row.action}: {row.reason}", row.ven_id)
            for row in await conn.execute(query.order_by(intervention.c.id.desc()).limit(_MOST_LINES))
        ]
    return sorted(found, key=lambda row: row.at, reverse=True)[:_MOST_LINES]


def _by_minute(times: Any, kind: str, text: str) -> list[Line]:
    """Return one line a minute, at its first moment, with how many VENs it was."""
    found: dict[datetime, list[datetime]] = {}
    for when in times:
        found.setdefault(floor_to(when, _MINUTE_S), []).append(when)
    return [Line(min(ones), kind, f"{text} {len(ones)} VEN{'s' if len(ones) != 1 else ''}") for ones in found.values()]
