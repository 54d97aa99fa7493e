"""What a gateway knows, read from its store beside the running process."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bridges.device import Device
from bridges.journal import OpenLease, read_open
from core.clock import system_clock
from core.errors import EvenloadError, NotFoundError
from core.spans import Duration
from openadr.model.opt import Availability, Opt
from openadr.model.registration import Mode
from openadr.v20b.codes import Code
from ven.assessment import Assessments
from ven.assessment_view import status_fields, status_lines
from ven.baseline_view import baseline_fields, baseline_words
from ven.consumption_history import source_of
from ven.copies import backlogs
from ven.devices import describe
from ven.engine import Failure
from ven.engine.polling import bounded_period
from ven.household import Household
from ven.quiet_hours import quiet_schedule
from ven.readings_store import Ring
from ven.state_files import JOURNAL_FILE, STORE_FILE
from ven.store import Store
from ven.vitals import Vitals, process_runs, read_vitals
from ven.vtn_state import KnownEvent
from ven.words import in_a_line, printable_lines

_STUCK: Final = timedelta(minutes=2)
"""A process that has shown no sign of life for so long does not work any more."""
_REGISTER_APART: Final = timedelta(hours=1)
"""Register readings further apart than this say nothing about the power now."""


def open_store(household: Household) -> Store:
    """Open a gateway's store. Raises NotFoundError if it never ran."""
    path = household.state / STORE_FILE
    if not path.exists():
        raise NotFoundError(f"The gateway of {household.name} has not run yet: there is no {path}.")
    return Store(path)


def read_status(household: Household) -> dict[str, Any]:
    """Return process, VTN, connections, devices, registration, events, reports, leases and notices as plain values.

    Times are ISO 8601 in UTC, powers in watts. What only the running process knows (VTN, connections, whether a device
    is there) is None where it does not run, and there are no notices. Raises NotFoundError if it never ran.
    """
    store = open_store(household)
    try:
        vitals, running = read_vitals(household.state), process_runs(household.state)
        registration = store.registration()
        ring = Ring(store, household.limits.readings)
        return {
            "household": household.name,
            "process": _process(household, vitals, running=running),
            "vtn": _vtn(vitals, running=running),
            "connections": _connections(vitals, running=running),
            "devices": _devices(household, ring, vitals if running else None),
            "leases": [_lease(lease) for lease in read_open(household.state / JOURNAL_FILE)],
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
            "away": [
                _absence(opt, available)
                for opt in store.opts()
                if opt.opt_id != quiet_schedule(store)
                for available in opt.availability
            ],
            "quiet": [str(quiet) for quiet in household.quiet],
            "time_zone": household.site.time_zone,
            "reports": [
                {
                    "request_id": task.id,
                    "name": task.name,
                    "delivered_until": task.delivered_until.isoformat() if task.delivered_until else None,
                }
                for task in store.report_tasks()
            ],
            "assessment": status_fields(household, Assessments(store)),
            "readings": {"kept": len(ring), "dropped": ring.dropped},
            "copies": [asdict(backlog) for backlog in backlogs(store, household)],
            "notices": vitals.notices if vitals and running else {},
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


def _absence(opt: Opt, available: Availability) -> dict[str, Any]:
    until = available.span.end.isoformat() if available.span.end else None
    return {"opt_id": opt.opt_id, "from": available.start.isoformat(), "until": until, "reason": opt.reason}


def _process(household: Household, vitals: Vitals | None, *, running: bool) -> dict[str, Any]:
    if vitals is None:
        return {"running": running, "since": None, "stopped": None, "last_seen": None, "stuck": False}
    host_time = household.clock is None  # an accelerated clock says nothing of how long a process was silent
    return {
        "running": running,
        "since": vitals.started.isoformat(),
        "stopped": vitals.stopped.isoformat() if vitals.stopped else None,
        "last_seen": vitals.seen.isoformat(),
        "stuck": running and host_time and datetime.now(UTC) - vitals.seen > _STUCK,
    }


def _vtn(vitals: Vitals | None, *, running: bool) -> dict[str, Any] | None:
    if vitals is None:
        return None
    vtn = vitals.vtn
    asked = running and (vtn.last_answer or vtn.silent_since) is not None
    return {
        "url": vtn.url,
        "answers": vtn.silent_since is None if asked else None,
        "last_answer": vtn.last_answer.isoformat() if vtn.last_answer else None,
        "silent_since": vtn.silent_since.isoformat() if vtn.silent_since else None,
        "reason": vtn.reason or None,
        "listens_at": vtn.listens_at,
        "deaf_because": vtn.deaf_because or None if running else None,
        "last_push": vtn.last_push.isoformat() if vtn.last_push else None,
    }


def _connections(vitals: Vitals | None, *, running: bool) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "kind": contact.kind,
            "address": contact.address,
            "connected": contact.connected if running else None,
            "since": contact.since.isoformat() if running else None,
            "silent_s": contact.silent_s if running else None,
            "unused": contact.unused if running else {},
        }
        for name, contact in (vitals.connections if vitals else {}).items()
    }


def _devices(household: Household, ring: Ring, vitals: Vitals | None) -> list[dict[str, Any]]:
    contacts = vitals.devices if vitals else {}
    entries = []
    for name, device in describe(household, system_clock()).items():
        contact = contacts.get(name)
        power = _power(ring, device, household.site.connection_w)
        entries.append(
            {
                "device": name,
                "reachable": contact.online if contact else None,
                "power_w": round(power[0], 1) if power else None,
                "power_at": power[1].isoformat() if power else None,
                "states": contact.states if contact else {},
                "taken_back": contact.taken_back if contact else None,
            }
        )
    return entries


def _power(ring: Ring, device: Device, connection_w: float) -> tuple[float, datetime] | None:
    """Return what a device last drew (W) and when: its power reading, else out of its register's last two."""
    source = source_of(device)
    if source is None:
        return None
    power: tuple[float, datetime] | None = None
    if source.power and (last := ring.newest(source.power)):
        power = last.value, last.start + (last.duration or timedelta())
    elif source.register and (last := ring.newest(source.register)):
        before = ring.newest(source.register, until=last.start - timedelta(microseconds=1))
        if before and last.start - before.start <= _REGISTER_APART:
            hours = (last.start - before.start) / timedelta(hours=1)
            power = (last.value - before.value) / hours, last.start
    return power if power and abs(power[0]) <= connection_w else None


def _poll_period_s(household: Household, asked: Duration | None) -> float | None:
    """Return how often the VTN is polled; None: it pushes."""
    vtn = household.vtn
    if vtn.mode is Mode.PUSH:
        return None
    return bounded_period(asked or vtn.poll, vtn.shortest_poll, vtn.longest_poll, datetime.now(UTC)).total_seconds()


def _event(event: KnownEvent) -> dict[str, Any]:
    span = None
    with suppress(EvenloadError, ArithmeticError):  # the running gateway sets such an event aside
        span = event.span if event.code == Code.OK else None
    baseline = event.event.baseline if event.code == Code.OK else None
    return {
        "event_id": event.event.event_id,
        "modification": event.event.modification_number,
        "opt": event.opt.value,
        "code": int(event.code),
        "reason": event.reason,
        "comment": event.event.vtn_comment,
        "baseline": baseline_fields(baseline) if baseline else None,
        "cancelled": event.stop_at is not None,
        "start": span.start.isoformat() if span else None,
        "end": span.end.isoformat() if span and span.end else None,
    }


def _times(entry: dict[str, Any]) -> str:
    return ("once" if entry["times"] == 1 else f"{entry['times']} times") + f", last {_local(entry['last'])}"


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
    """Return a status for people to read; times are local."""
    lines = [
        f"Household {status['household']} (times are {datetime.now().astimezone():%Z})",
        *_process_lines(status),
        *_device_lines(status),
        *_conversation_lines(status),
        *_trouble_lines(status),
    ]
    return printable_lines(lines)


def _local(when: str | None) -> str:
    if when is None:
        return "never"
    moment = datetime.fromisoformat(when)
    with suppress(OverflowError, OSError, ValueError):  # the calendar's edges have no local time
        moment = moment.astimezone()
    return f"{moment.replace(tzinfo=None, microsecond=0)}"


def _process_lines(status: dict[str, Any]) -> list[str]:
    process, vtn = status["process"], status["vtn"]
    since, seen = _local(process["since"]), _local(process["last_seen"])
    if process["stuck"]:
        lines = [f"  gateway: running since {since}, but without a sign of life since {seen}; restart it"]
    elif process["running"]:
        lines = ["  gateway: running" + (f" since {since}" if process["since"] else "")]
    elif process["stopped"]:
        lines = [f"  gateway: NOT RUNNING, stopped at {_local(process['stopped'])}"]
    elif process["last_seen"]:
        lines = [f"  gateway: NOT RUNNING, it ended without a clean stop; last seen at {seen}"]
    else:
        lines = ["  gateway: NOT RUNNING"]
    if vtn:
        lines.append(f"  VTN {vtn['url']}: {_vtn_words(vtn)}")
    if vtn and vtn["deaf_because"]:
        lines.append(f"  IT CANNOT PUSH to {vtn['listens_at']}: {vtn['deaf_because']}")
    elif vtn and vtn["listens_at"]:
        lines.append(f"  it pushes to {vtn['listens_at']}; last message: {_local(vtn['last_push'])}")
    return [*lines, *_connection_lines(status["connections"])]


def _connection_lines(connections: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    words = {True: "connected since", False: "NOT CONNECTED since", None: "not known while the gateway is down"}
    for name, contact in connections.items():
        since = "" if contact["connected"] is None else f" {_local(contact['since'])}"
        yield f"  {name} {contact['address']}: {words[contact['connected']]}{since}"
        if unused := contact["unused"]:
            reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(unused.items()))
            yield f"    {sum(unused.values()):,} messages came to nothing ({reasons}); the log names them"


def _vtn_words(vtn: dict[str, Any]) -> str:
    last = f"last answer {_local(vtn['last_answer'])}"
    if vtn["answers"]:
        return f"answers, {last}"
    if vtn["answers"] is False:
        return f"NO ANSWER since {_local(vtn['silent_since'])} ({vtn['reason']}), {last}"
    if vtn["last_answer"]:
        return last
    return f"never answered ({vtn['reason']})" if vtn["silent_since"] else "not asked yet"


def _device_lines(status: dict[str, Any]) -> list[str]:
    lines, leases = [], list(status["leases"])
    for device in status["devices"]:
        lines.append(f"  {device['device']}: {_device_words(device)}")
        lines += [f"    {_lease_words(lease)}" for lease in leases if lease["device"] == device["device"]]
    names = {device["device"] for device in status["devices"]}
    return lines + [f"  {_lease_words(lease)}" for lease in leases if lease["device"] not in names]


def _device_words(device: dict[str, Any]) -> str:
    reach = {True: "reachable", False: "NOT REACHABLE", None: "reachable or not is not known"}
    words = [reach[device["reachable"]]]
    words += [f"{name} {value}" for name, value in device["states"].items() if value is not None]
    if device["power_w"] is not None:
        words.append(f"{device['power_w']:,.0f} W at {_local(device['power_at'])}")
    if device["taken_back"]:
        words.append("taken back from an event by its user")
    return ", ".join(words)


def _lease_words(lease: dict[str, Any]) -> str:
    before = "" if lease["before"] is None else f", then {lease['before']} again"
    what = f"{lease['device']} {lease['capability']} {lease['value']}"
    return f"{what} for {lease['event']} until {_local(lease['until'])}{before} ({lease['state']})"


def _conversation_lines(status: dict[str, Any]) -> list[str]:
    registration = status["registration"]
    if registration:
        asked = f" (it asks for {registration['poll']})" if registration["poll"] else ""
        lines = [f"  registered as {registration['ven_id']} with {registration['vtn_id']}"]
        if registration["polled_every_s"] is not None:
            lines.append(f"  polls the VTN every {timedelta(seconds=registration['polled_every_s'])}{asked}")
    else:
        lines = ["  not registered"]
    for event in status["events"]:
        reason = f" ({event['reason']})" if event["reason"] else ""
        state = ", cancelled" if event["cancelled"] else ""
        lines.append(f"  event {event['event_id']}.{event['modification']}: {event['opt']}{reason}{state}")
        if event["comment"]:
            lines.append(f"    the operator says: {in_a_line(event['comment'])}")
        if event["baseline"]:
            lines.append(f"    {baseline_words(event['baseline'])}")
        if event["start"]:
            lines.append(
                f"    {_local(event['start'])} .. {_local(event['end']) if event['end'] else 'until cancelled'}"
            )
    lines += [
        f"  away {_local(away['from'])} .. {_local(away['until']) if away['until'] else 'until cancelled'}"
        f" ({away['reason']}), {away['opt_id']}"
        for away in status["away"]
    ]
    lines += [f"  quiet {quiet}, by the time of {status['time_zone'] or 'this machine'}" for quiet in status["quiet"]]
    lines += [
        f"  report {report['name']} {report['request_id']}: delivered until {_local(report['delivered_until'])}"
        if report["delivered_until"]
        else f"  report {report['name']} {report['request_id']}: nothing delivered yet"
        for report in status["reports"]
    ]
    lines += status_lines(status["assessment"])
    kept, dropped = status["readings"]["kept"], status["readings"]["dropped"]
    waiting, aside = status["outbox"]["waiting"], len(status["outbox"]["set_aside"])
    copies = [
        f"  copy {copy['copy']}: {copy['waiting']} readings waiting, {copy['dropped']} dropped"
        for copy in status["copies"]
    ]
    lines += [f"  readings: {kept} kept, {dropped} dropped", *copies]
    return [*lines, f"  messages: {waiting} waiting, {aside} set aside"]


def _refusal_words(error: dict[str, Any]) -> str:
    reason = error["reason"] or "no text"
    if error["code"] in {failure.value for failure in Failure}:
        return f"no OpenADR answer to {error['message']} ({error['code']}) {_times(error)}: {reason}"
    return f"the VTN answered {error['message']} with {error['code']} {_times(error)}: {reason}"


def _trouble_lines(status: dict[str, Any]) -> list[str]:
    return [
        *(f"  {subject}: {text}" for subject, text in status["notices"].items()),
        *(f"  {_refusal_words(error)}" for error in status["errors_from_vtn"]),
        *(
            f"  set aside: {fault['what']} {fault['which']}, failed {_times(fault)}: {fault['reason']}"
            for fault in status["faults"]
        ),
    ]
