"""What a VEN says of its availability: for an event, and in schedules."""

from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from conformance import templates as t
from conformance.stage import Stage, Ven

_CLASS: Final = "Thermostat"


def _with_resources(stage: Stage) -> Ven:
    """Return a VEN whose metadata name the resources load1, load2 and thermostat1."""
    ven = stage.ven("a")
    offers = [
        t.usage_offer(),
        t.usage_offer("usage of load2", resource="load2"),
        t.usage_offer("usage of thermostat1", resource="thermostat1", device_class=_CLASS),
    ]
    ven.post("offer", t.register_report(ven.ven_id, offers, stage.token()))
    ven.drain("wanted")
    return ven


def event_opts(stage: Stage) -> None:
    """Opt for an event by oadrCreateOpt, rightly and wrongly, and answer the event afterwards."""
    ven = _with_resources(stage)
    handle = stage.event([ven], starts_in=60, resources=("load1", "load2"))
    (delivery,) = ven.drain("delivery")
    event = delivery.events[0].event_id, delivery.events[0].modification
    qualified = t.create_opt(ven.ven_id, "qualified", request_id=stage.token(), available=None, event=event)
    ven.post("qualified", qualified)
    stage.fact("opt after createOpt", stage.operator.opt(handle, ven.ven_id))
    request_id = delivery.text("pyld:requestID") or ""
    ven.post("answered", t.created_event(ven.ven_id, [t.EventAnswer(*event, request_id, "optIn")]))
    stage.fact("opt after createdEvent", stage.operator.opt(handle, ven.ven_id))
    ven.post("contradiction:both", t.create_opt(ven.ven_id, "both", request_id=stage.token(), event=event))
    ven.post("contradiction:neither", t.create_opt(ven.ven_id, "neither", request_id=stage.token(), available=None))
    context = t.create_opt(
        ven.ven_id, "context", request_id=stage.token(), available=None, event=event, market_context="http://a.example/"
    )
    ven.post("contradiction:market context", context)
    for name, resource in (("own", "load1"), ("foreign", "no such resource")):
        part = t.create_opt(
            ven.ven_id, name, request_id=stage.token(), available=None, event=event, resources=[resource]
        )
        ven.post(f"part:{name}", part)


def silent(stage: Stage) -> None:
    """Opt for an event that asks for no answer."""
    ven = stage.ven("a")
    stage.event([ven], starts_in=60, always=False)
    delivery = ven.events("delivery")
    event = delivery.events[0].event_id, delivery.events[0].modification
    ven.post("never", t.create_opt(ven.ven_id, "never", request_id=stage.token(), available=None, event=event))


def schedules(stage: Stage) -> None:
    """Make, supersede and cancel schedules."""
    ven = _with_resources(stage)

    def create(step: str, opt_id: str, *spans: tuple[str, str], resources: tuple[str, ...] = ()) -> None:
        message = t.create_opt(ven.ven_id, opt_id, request_id=stage.token(), available=spans, resources=resources)
        ven.post(step, message)

    create("schedule", "first", ("2030-01-01T00:00:00Z", "PT1H"))
    create("open-ended", "open", ("2031-01-01T00:00:00Z", "PT0S"))
    create("supersedes", "second", ("2032-01-01T00:00:00Z", "PT1H"))
    ven.post("cancels superseded", t.cancel_opt(ven.ven_id, "first", stage.token()))
    create("shared:first", "shared", ("2033-01-01T00:00:00Z", "PT1H"), resources=("load1",))
    create("shared:second", "shared", ("2034-01-01T00:00:00Z", "PT1H"), resources=("load2",))
    ven.post("cancels shared", t.cancel_opt(ven.ven_id, "shared", stage.token()))
    create("some resources", "some", ("2035-01-01T00:00:00Z", "PT1H"), resources=("load1", "load2"))
    itself = t.create_opt(ven.ven_id, "itself", request_id=stage.token(), vens=[ven.ven_id])
    ven.post("the VEN itself", itself)
    classes = {
        "own": t.end_device(_CLASS),
        "not of the list": t.end_device("Toaster"),
        "by resource": t.element("ei:resourceID", "load1"),
    }
    for name, device_class in classes.items():
        by_class = t.create_opt(ven.ven_id, f"class {name}", request_id=stage.token(), device_class=device_class)
        ven.post(f"class:{name}", by_class)
    ven.post("unknown", t.cancel_opt(ven.ven_id, "no such opt", stage.token()))
    ven.post("no request id", t.create_opt(ven.ven_id, "quiet", request_id=""))


def effects(stage: Stage) -> None:
    """Have two events of different market contexts, and opt out of their times in schedules."""
    ven = stage.ven("a")
    starts = [stage.after(60 + 60 * number) for number in range(2)]
    contexts = [stage.market_context() for _ in starts]
    handles = [
        stage.event([ven], start=start, market_context=context) for start, context in zip(starts, contexts, strict=True)
    ]
    ven.drain("delivery", opt=None)

    def opts(name: str) -> None:
        stage.fact(name, [stage.operator.opt(handle, ven.ven_id) for handle in handles])

    def schedule(opt_id: str, start: datetime, market_context: str | None = None) -> None:
        spans = [(start.strftime("%Y-%m-%dT%H:%M:%SZ"), "PT1H")]
        message = t.create_opt(ven.ven_id, opt_id, available=spans, market_context=market_context)
        ven.post(f"schedule:{opt_id}", message)

    schedule("other context", starts[0], contexts[1])
    opts("opts with a schedule for the other context")
    schedule("first", starts[0])
    opts("opts with a schedule")
    schedule("second", starts[1] + timedelta(hours=2))
    opts("opts with a later schedule")


def spelling(stage: Stage) -> None:
    """Opt out of an event by a schedule whose market context is spelled in another way."""
    ven, start, context = stage.ven("a"), stage.after(60), stage.market_context()
    handle = stage.event([ven], start=start, market_context=context)
    ven.drain("delivery", opt=None)
    spans = [(start.strftime("%Y-%m-%dT%H:%M:%SZ"), "PT1H")]
    for name, text in (("other", _spelled_otherwise(context)), ("same", context)):
        ven.post(f"spelling:{name}", t.create_opt(ven.ven_id, name, available=spans, market_context=text))
        stage.fact(f"opt with the {name} spelling", stage.operator.opt(handle, ven.ven_id))


def _spelled_otherwise(context: str) -> str:
    """Return a market context in another spelling that RFC 3986 holds equal."""
    scheme, _, rest = context.partition("://")
    host, _, path = rest.partition("/")
    return f"{scheme.upper()}://{host.upper()}/a/../%{ord(path[0]):02x}{path[1:]}"


DIALOGUES: Final = MappingProxyType(
    {"event opts": event_opts, "silent": silent, "schedules": schedules, "effects": effects, "spelling": spelling}
)
