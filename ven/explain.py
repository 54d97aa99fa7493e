"""What an event would do here, and when: the planner's own answer, without a device, a store or a VTN."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bridges.device import Device
from core.clock import system_clock
from core.direction import Direction
from core.errors import InvalidError, Reason
from openadr.model.event import DeliveredEvent, Event, EventStatus, status_at
from openadr.model.opt import OptType
from openadr.model.signal import Baseline
from openadr.v20b.codes import Code
from openadr.v20b.decode import decode
from openadr.v20b.encode import message_name
from openadr.v20b.messages import DistributeEvent
from ven.baseline_view import baseline_fields, baseline_words
from ven.devices import describe
from ven.engine.events import Verdict
from ven.household import Household
from ven.opt_policy import HouseholdOptPolicy
from ven.planning import HORIZON, Plan, Planned, SiteLimit, plan
from ven.timeline import drawn
from ven.vtn_state import KnownEvent
from ven.words import in_a_line, printable_lines


@dataclass(frozen=True, slots=True)
class Explanation:
    """One event: the answer that the gateway would give, and the orders that would follow.

    `random_s` is the width of the random delay of start and end; the orders are shown without it. `comment` is what the
    operator says (vtnComment).
    """

    event_id: str
    modification: int
    market_context: str
    status: EventStatus
    test: bool
    opt: OptType
    code: int
    reason: str
    comment: str
    start: datetime
    end: datetime | None
    random_s: int
    orders: tuple[Planned, ...]
    notes: tuple[str, ...]
    baseline: Baseline | None = None
    """What the VTN takes for granted without the event; only of an event that is sound."""


def explain(household: Household, body: bytes, now: datetime, ven_id: str | None = None) -> list[Explanation]:
    """Return what each event of an oadrDistributeEvent would do in a household at a time.

    Without `ven_id`, an event that names one VEN is taken to mean this one. Raises WireError or OpenADRError for a
    body that is no such message.
    """
    message = decode(body)
    if not isinstance(message, DistributeEvent):
        raise InvalidError(f"The file holds an {message_name(type(message))}; an oadrDistributeEvent is wanted.")
    devices = describe(household, system_clock())
    return [_contained(household, devices, _as_sent(delivered), now, ven_id) for delivered in message.events]


def _contained(
    household: Household, devices: Mapping[str, Device], event: Event, now: datetime, ven_id: str | None
) -> Explanation:
    """Explain an event; one that cannot be worked out is shown as refused, as the gateway would refuse it."""
    try:
        return _one(household, devices, event, now, ven_id)
    except Exception as error:  # noqa: BLE001  whatever it is, the other events are explained
        head = (event.event_id, event.modification_number, event.market_context, EventStatus.NONE, event.is_test)
        text = f"it cannot be carried out: {type(error).__name__}: {error}"
        verdict = Verdict(OptType.OUT, text, Reason.BREAKS_A_RULE)
        answer = verdict.opt, int(verdict.code), verdict.reason
        return Explanation(*head, *answer, "", event.period.start, None, 0, (), ("it is set aside",))


def _as_sent(delivered: DeliveredEvent) -> Event:
    return replace(delivered.event, cancelled=delivered.event.cancelled or delivered.status is EventStatus.CANCELLED)


def _one(
    household: Household, devices: Mapping[str, Device], event: Event, now: datetime, ven_id: str | None
) -> Explanation:
    ours = ven_id if ven_id is not None else next(iter(event.target.ven_ids), "")
    verdict = HouseholdOptPolicy(household, devices).judge(event, ours)
    known = KnownEvent(event, "", verdict.opt, 0, verdict.code, verdict.reason)
    made = Plan((), ("the event is cancelled: nothing is done",))
    if not event.cancelled:
        made = plan(known, household, devices, ours, now + HORIZON)
        used = {order.device for order in made.orders} | {step.device for each in made.limits for step in each.order}
        made = replace(made, notes=(*made.notes, *_reservations(household, used)))
    window, start = event.period.start_after, event.period.start
    return Explanation(
        event.event_id,
        event.modification_number,
        event.market_context,
        status_at(event, now),
        event.is_test,
        verdict.opt,
        int(verdict.code),
        verdict.reason,
        event.vtn_comment or "",
        start,
        event.period.end,
        int((window.held_after(start) - start).total_seconds()) if window else 0,
        made.orders,
        (*(_limit_words(limit) for limit in made.limits), *made.notes),
        event.baseline if verdict.refusal is None else None,
    )


def _limit_words(limit: SiteLimit) -> str:
    what = "feed in" if limit.direction is Direction.INCREASE else "draw"
    order = ", ".join(step.device for step in limit.order)
    span = f"{_time(limit.at)} to {_time(limit.until)}"
    return f"{span}: the site may {what} {limit.watts:g} W; as far as {limit.meter} shows the need, held back: {order}"


def _reservations(household: Household, used: set[str]) -> Iterator[str]:
    """Yield on what it depends, beside the event, whether its devices are really used."""
    for entry in household.devices:
        if entry.id not in used:
            continue
        limits = entry.limits
        if limits.max_per_day is not None:
            yield f"{entry.id} is used by {limits.max_per_day} events a day at most"
        if limits.max_time_per_day is not None:
            yield f"{entry.id} is used for {limits.max_time_per_day} a day at most"
        for rule in entry.comfort:
            what = f" ({', '.join(rule.release)})" if rule.release else ""
            yield f"{entry.id}{what} is given back as soon as {rule.when}"


def as_json(explanations: list[Explanation]) -> list[dict[str, Any]]:
    """Return the explanations as plain values for JSON; times are ISO 8601 in UTC."""
    return [
        _plain(asdict(one)) | {"baseline": baseline_fields(one.baseline) if one.baseline else None}
        for one in explanations
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def as_text(explanations: list[Explanation]) -> str:
    """Return the explanations for people to read."""
    if not explanations:
        return "The message lists no events: running ones would be cancelled."
    return "\n\n".join(_lines(one) for one in explanations)


def _lines(explanation: Explanation) -> str:
    end = _time(explanation.end) if explanation.end else "until cancelled"
    lines = [
        f"Event {explanation.event_id}, modification {explanation.modification} ({explanation.market_context})",
        f"  {_time(explanation.start)} .. {end}, now {explanation.status}{', a test' if explanation.test else ''}",
    ]
    if explanation.comment:
        lines.append(f"  the operator says: {in_a_line(explanation.comment)}")
    if explanation.baseline:
        lines.append(f"  {baseline_words(baseline_fields(explanation.baseline))}")
    if explanation.random_s:
        lines.append(f"  start and end are delayed by up to {timedelta(seconds=explanation.random_s)}, at random")
    answer = f"  answer: {explanation.opt}" + (f" ({explanation.code})" if explanation.code != Code.OK else "")
    lines.append(answer + (f": {explanation.reason}" if explanation.reason else ""))
    for order in explanation.orders:
        shown = "would be (test event)" if order.dry_run else "is"
        lines.append(
            f"  {_time(order.at)}  {order.device}.{order.capability} {shown} set to {order.value}"
            f" until {_time(order.until)}  [{order.signal}, interval {order.interval}]"
        )
    lines += [f"  {line}" for line in drawn(explanation.orders)]
    if not explanation.orders:
        lines.append("  no device is touched")
    lines += [f"  note: {note}" for note in explanation.notes]
    return printable_lines(lines)


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%SZ")
