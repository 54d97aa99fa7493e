"""Messages of every kind, right and wrong in every way that has to do with no service in particular."""

from types import MappingProxyType
from typing import Final

from conformance import damage
from conformance import templates as t
from conformance.stage import Stage, Ven


def request_ids(stage: Stage) -> None:
    """Send random, odd, repeated and empty request ids, and a poll, which has none."""
    ven = stage.ven("a")
    repeated = stage.token()
    for number, request_id in enumerate((stage.token(), "None", " a <b> & 'c' ", repeated, repeated, "")):
        for message in (
            t.query(request_id),
            t.request_event(ven.ven_id, request_id),
            t.register_report(ven.ven_id, (), request_id),
            t.create_report(ven.ven_id, f"rr{number}", request_id=request_id),
            t.create_opt(ven.ven_id, f"opt{number}", request_id=request_id),
            t.cancel_opt(ven.ven_id, f"opt{number}", request_id),
            t.update_report(ven.ven_id, (), request_id),
        ):
            ven.post(f"echo:{message.name}", message)
    ven.drain()
    ven.post("echo:oadrPoll", t.poll(ven.ven_id))


def wrong_ids(stage: Stage) -> None:
    """Say a venID that nobody has, then the right one in the other case."""
    ven = stage.ven("a")
    for message in t.of_every_kind("no such VEN", ven.registration_id):
        ven.post(f"wrong ven:{message.name}", message)
    other = ven.ven_id.swapcase()
    if other != ven.ven_id:
        ven.post("other case", t.poll(other))
        ven.post("other case", t.request_event(other, stage.token()))
    ven.post("unharmed", ven.again())


def logical_faults(stage: Stage) -> None:
    """Send valid messages that make no sense."""
    ven = stage.ven("a")
    unknown = t.EventAnswer("no such event", 0)
    messages = (
        t.created_event(ven.ven_id, [unknown]),
        t.update_report(ven.ven_id, [t.data("no such request")], stage.token()),
        t.cancel_report(ven.ven_id, ["no such request"], stage.token()),
        t.create_report(ven.ven_id, stage.token(), specifier="no such report", r_id="no such rID"),
        t.create_opt(ven.ven_id, stage.token(), available=None),
        t.cancel_opt(ven.ven_id, "no such opt", stage.token()),
    )
    for message in messages:
        ven.post("fault", message)


def invalid(stage: Stage) -> None:
    """Send what the schema refuses, and then something good."""
    ven = stage.ven("a")
    poll, events = t.poll(ven.ven_id), t.request_event(ven.ven_id, stage.token())
    ven.post("invalid:not XML", damage.truncated(poll))
    ven.post("invalid:unknown element", damage.with_unknown_element(events))
    ven.post("invalid:two messages", damage.doubled(poll))
    ven.post("invalid:missing element", damage.with_text(poll, f"<ei:venID>{ven.ven_id}</ei:venID>", ""))
    ven.post("invalid:empty body", t.Message("oadrPoll", "OadrPoll", b""))
    wrong = damage.with_text(t.create_opt(ven.ven_id, stage.token()), "optOut", "optMaybe")
    ven.post("invalid:unknown value", wrong)
    ven.post("valid after all", events)


def empty_elements(stage: Stage) -> None:
    """Leave optional parts empty in place of leaving them out."""
    ven = stage.ven("a")
    ven.post("empty:name", ven.again(name=""))
    ven.post("empty:request id", t.request_event(ven.ven_id, ""))
    ven.post("empty:target", t.create_opt(ven.ven_id, stage.token(), request_id=""))
    ven.post("empty:reports", t.register_report(ven.ven_id, (), ""))


def extensions(stage: Stage) -> None:
    """Use the values that begin with x-, where the schema allows them."""
    ven = stage.ven("a")
    ven.post("extension:reason", t.create_opt(ven.ven_id, stage.token(), reason="x-conformance"))
    offer = t.usage_offer().replace("METADATA_TELEMETRY_USAGE", "x-METADATA_CONFORMANCE")
    ven.post("extension:report name", t.register_report(ven.ven_id, [offer], stage.token()))
    offer = t.usage_offer().replace(">usage</ei:reportType>", ">x-conformance</ei:reportType>")
    ven.post("extension:report type", t.register_report(ven.ven_id, [offer], stage.token()))
    offer = t.usage_offer().replace("Direct Read", "x-conformance")
    ven.post("extension:reading type", t.register_report(ven.ven_id, [offer], stage.token()))


def misplaced(stage: Stage) -> None:
    """Send what only a VTN may send, and good messages to the wrong service."""
    ven = stage.ven("a")
    ven.post("misplaced:oadrDistributeEvent", t.distribute_event(ven.vtn_id, stage.token()))
    ven.post("misplaced:oadrRequestReregistration", t.request_reregistration(ven.ven_id))
    for message, service in (
        (t.poll(ven.ven_id), "EiEvent"),
        (t.request_event(ven.ven_id), "OadrPoll"),
        (t.query(), "EiReport"),
        (t.create_opt(ven.ven_id, stage.token()), "EiEvent"),
        (t.register_report(ven.ven_id), "EiOpt"),
    ):
        ven.post(f"misplaced:{message.name} to {service}", message, service=service)
    _leave(stage, ven)


def _leave(stage: Stage, ven: Ven) -> None:
    ven.post("leave", t.cancel_registration(ven.ven_id, ven.registration_id, stage.token()))


DIALOGUES: Final = MappingProxyType(
    {
        "request ids": request_ids,
        "wrong ids": wrong_ids,
        "logical faults": logical_faults,
        "invalid": invalid,
        "empty elements": empty_elements,
        "extensions": extensions,
        "misplaced": misplaced,
    }
)
