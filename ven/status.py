"""What a gateway knows, read from its store beside the running process."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from bridges.journal import OpenLease, read_open
from core.errors import EvenloadError, NotFoundError
from core.spans import Duration
from openadr.model.codes import Code
from ven.engine.polling import bounded_period
from ven.explain import in_a_line
from ven.gateway import JOURNAL_FILE, STORE_FILE
from ven.household import Household
from ven.known import KnownEvent
from ven.notices import read_notices
from ven.ring import Ring
from ven.store import Store


def open_store(household: Household) -> Store:
    """Open a gateway's store. Raises NotFoundError if it never ran."""
    path = household.state / STORE_FILE
    if not path.exists():
        raise NotFoundError(f"The gateway of {household.name} has not run yet: there is no {path}.")
    return Store(path)


def read_status(household: Household) -> dict[str, Any]:
    """Return registration, events, report requests, held devices, notices and store figures as plain values."""
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
                "polled_every_s": _poll_period_s(household, registration.poll_freq),
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
            "devices": [_lease(lease) for lease in read_open(household.state / JOURNAL_FILE)],
            "notices": read_notices(household.state),
            "outbox": {"waiting": store.waiting_count(), "set_aside": [list(one) for one in store.dead()]},
            "faults": [
                {
                    "what": fault.kind,
                    "which": fault.key,
                    "times": fault.count,
                    "ended_the_gateway": fault.ends,
                    "reason": fault.reason,
                    "last": fault.last.isoformat(),
                }
                for fault in store.faults()
            ],
            "errors_from_vtn": [
                {
                    "message": refusal.message,
                    "code": refusal.code,
                    "times": refusal.count,
                    "reason": refusal.reason,
                    "last": refusal.last.isoformat(),
                }
                for refusal in store.refusals()
            ],
        }
    finally:
        store.close()


def _poll_period_s(household: Household, asked: Duration | None) -> float:
    vtn = household.vtn
    return bounded_period(asked or vtn.poll, vtn.shortest_poll, vtn.longest_poll, datetime.now(UTC)).total_seconds()


def _event(known: KnownEvent) -> dict[str, Any]:
    span = None
    with suppress(EvenloadError, ArithmeticError):  # the running gateway sets such an event aside
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


def _times(entry: dict[str, Any]) -> str:
    return ("once" if entry["times"] == 1 else f"{entry['times']} times") + f", last {entry['last']}"


def _lease(lease: OpenLease) -> dict[str, Any]:
    command = lease.command
    return {
        "device": command.device,
        "capability": command.capability,
        "value": command.value,
        "until": command.until.isoformat(),
        "event": command.by,
        "state": "ending" if lease.released else lease.state.value,
        "before": lease.previous,
    }


def as_lines(status: dict[str, Any]) -> str:
    """Return a status for people to read."""
    registration = status["registration"]
    lines = [f"Household {status['household']}"]
    if registration:
        lines.append(f"  registered as {registration['ven_id']} with {registration['vtn_id']}")
        asked = f" (it asks for {registration['poll']})" if registration["poll"] else ""
        lines.append(f"  polls the VTN every {timedelta(seconds=registration['polled_every_s'])}{asked}")
    else:
        lines.append("  not registered")
    lines.append(f"  {status['readings']['kept']} readings kept, {status['readings']['dropped']} dropped")
    waiting, aside = status["outbox"]["waiting"], status["outbox"]["set_aside"]
    lines.append(f"  {waiting} messages waiting, {len(aside)} set aside")
    lines += [f"  {subject}: {text}" for subject, text in status["notices"].items()]
    for lease in status["devices"]:
        before = "" if lease["before"] is None else f", then {lease['before']} again"
        what = f"{lease['device']} {lease['capability']} {lease['value']}"
        lines.append(f"  {what} for {lease['event']} until {lease['until']}{before} ({lease['state']})")
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
    lines += [
        f"  the VTN answered {error['message']} with {error['code']} {_times(error)}: {error['reason'] or 'no text'}"
        for error in status["errors_from_vtn"]
    ]
    lines += [
        f"  set aside: {fault['what']} {fault['which']}, failed {_times(fault)}: {fault['reason']}"
        for fault in status["faults"]
    ]
    return "\n".join(
        "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in line) for line in lines
    )
