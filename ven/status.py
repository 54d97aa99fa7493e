"""What a gateway knows, read from its store beside the running process."""

from typing import Any

from core.errors import NotFoundError
from openadr.model.codes import Code
from ven.explain import in_a_line
from ven.gateway import STORE_FILE
from ven.household import Household
from ven.known import KnownEvent
from ven.ring import Ring
from ven.store import Store


def open_store(household: Household) -> Store:
    """Open a gateway's store. Raises NotFoundError if it never ran."""
    path = household.state / STORE_FILE
    if not path.exists():
        raise NotFoundError(f"The gateway of {household.name} has not run yet: there is no {path}.")
    return Store(path)


def read_status(household: Household) -> dict[str, Any]:
    """Return registration, events, report requests and store figures as plain values."""
    store = open_store(household)
    try:
        registration = store.registration()
        ring = Ring(store, household.limits.readings)
        return {
            "household": household.name,
            "registration": {
                "registration_id": registration.registration_id,
                "ven_id": registration.ven_id,
                "vtn_id": registration.vtn_id,
                "poll": str(registration.poll_freq) if registration.poll_freq else None,
            }
            if registration
            else None,
            "events": [_event(known) for known in store.events()],
            "reports": [
                {
                    "request_id": task.id,
                    "name": task.name,
                    "delivered_until": task.delivered_until.isoformat() if task.delivered_until else None,
                }
                for task in store.report_tasks()
            ],
            "readings": {"kept": len(ring), "dropped": ring.dropped},
            "outbox": {"waiting": store.waiting_count(), "set_aside": [list(one) for one in store.dead()]},
        }
    finally:
        store.close()


def _event(known: KnownEvent) -> dict[str, Any]:
    span = known.span if known.code == Code.OK else None
    return {
        "event_id": known.event.event_id,
        "modification": known.event.modification_number,
        "opt": known.opt.value,
        "code": int(known.code),
        "reason": known.reason,
        "comment": known.event.vtn_comment,
        "cancelled": known.stop_at is not None,
        "start": span.start.isoformat() if span else None,
        "end": span.end.isoformat() if span and span.end else None,
    }


def as_lines(status: dict[str, Any]) -> str:
    """Return a status for people to read."""
    registration = status["registration"]
    lines = [f"Household {status['household']}"]
    if registration:
        lines.append(f"  registered as {registration['ven_id']} with {registration['vtn_id']}")
    else:
        lines.append("  not registered")
    lines.append(f"  {status['readings']['kept']} readings kept, {status['readings']['dropped']} dropped")
    waiting, aside = status["outbox"]["waiting"], status["outbox"]["set_aside"]
    lines.append(f"  {waiting} messages waiting, {len(aside)} set aside")
    for event in status["events"]:
        reason = f" ({event['reason']})" if event["reason"] else ""
        state = ", cancelled" if event["cancelled"] else ""
        lines.append(f"  event {event['event_id']}.{event['modification']}: {event['opt']}{reason}{state}")
        if event["comment"]:
            lines.append(f"    the operator says: {in_a_line(event['comment'])}")
        if event["start"]:
            lines.append(f"    {event['start']} .. {event['end'] or 'until cancelled'}")
    lines += [
        f"  report {report['name']} {report['request_id']}: until {report['delivered_until'] or '-'}"
        for report in status["reports"]
    ]
    return "\n".join(lines)
