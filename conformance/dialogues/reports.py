"""What can be reported, what is asked for, the data, and the end of it."""

from datetime import timedelta
from types import MappingProxyType
from typing import Final

from conformance import templates as t
from conformance.judge import Document
from conformance.operator import ReportOrder
from conformance.stage import BrokenOffError, Stage, Ven

_ODD: Final = "1 <0> é&, 007"
"""An id like any other: ids are texts."""
_IDS: Final = "oadr:oadrReportRequest/ei:reportRequestID"


def metadata(stage: Stage) -> None:
    """Exchange metadata both ways after a first registration, and ask for the VTN's twice more."""
    ven = stage.newcomer("a")
    ven.register("register")
    ven.drain("early")
    ven.post("offer:nothing", t.register_report(ven.ven_id, (), stage.token()))
    ven.post("offer:usage", t.register_report(ven.ven_id, [t.usage_offer()], stage.token()))
    ven.drain("wanted")
    for kind, back in (("one-shot", "PT0S"), ("periodic", "PT1M")):
        report_request_id = stage.token()
        asks = t.create_report(ven.ven_id, report_request_id, request_id=stage.token(), back=back)
        ven.post(f"asks:{kind}", asks)
        ven.answer(ven.poll(f"told:{kind}"), f"told:{kind}")
        ven.drain("between")


def requests(stage: Stage) -> None:
    """Be asked for data, send it rightly and wrongly, and be told to stop."""
    ven = stage.ven("a")
    ven.post("offer", t.register_report(ven.ven_id, [t.usage_offer(), t.usage_offer(_ODD, _ODD)], stage.token()))
    ven.drain("wanted")
    report_request_id = ordered(stage, ven, "periodic", back_s=120)
    ordered(stage, ven, "one-shot", back_s=0)
    start = stage.after(-60).strftime("%Y-%m-%dT%H:%M:%SZ")
    good = t.update_report(ven.ven_id, [t.data(report_request_id, start=start)], stage.token())
    ven.post("data:good", good)
    ven.post("data:again", good)
    strange = t.data(report_request_id, start=start, report_id="an odd <id>")
    ven.post("odd id", t.update_report(ven.ven_id, [strange], stage.token()))
    for name, report in (
        ("request", t.data("no such request", start=start)),
        ("specifier", t.data(report_request_id, "no such specifier", start=start)),
        ("rID", t.data(report_request_id, "usage", "no such rID", start=start)),
    ):
        ven.post(f"wrong:{name}", t.update_report(ven.ven_id, [report], stage.token()))
    wrong = t.update_report("no such VEN", [t.data(report_request_id, start=start)], stage.token())
    ven.post("wrong:venID", wrong)
    ven.post("stops:unknown", t.cancel_report(ven.ven_id, ["no such request"], stage.token()))
    odd = ordered(stage, ven, "odd", specifier=_ODD, r_id=_ODD, back_s=120)
    ven.post("odd rID", t.update_report(ven.ven_id, [t.data(odd, _ODD, _ODD, start=start)], stage.token()))
    stage.operator.cancel_reports(ven.ven_id)
    ven.drain("stopped")
    ven.post("data:after the end", good)


def renewals(stage: Stage) -> None:
    """Offer something else, which ends old requests; then register afresh, which ends all."""
    ven = stage.ven("a")
    ven.post("offer", t.register_report(ven.ven_id, [t.usage_offer()], stage.token()))
    ven.drain("wanted")
    old = ordered(stage, ven, "first", back_s=120)
    ven.post("renewed:offer", t.register_report(ven.ven_id, [t.usage_offer("other", "other power")], stage.token()))
    ven.drain("wanted")
    ven.post("renewed:old data", t.update_report(ven.ven_id, [t.data(old)], stage.token()))
    second = ordered(stage, ven, "second", specifier="other", r_id="other power", back_s=120)
    ven.register("afresh:create")
    report = t.data(second, "other", "other power")
    ven.post("afresh:old request", t.update_report(ven.ven_id, [report], stage.token()))


def ordered(stage: Stage, ven: Ven, name: str, *, specifier: str = "usage", r_id: str = "power", back_s: int) -> str:
    """Have a report requested, take the request, and return its reportRequestID. Raises BrokenOffError."""
    start = stage.now().replace(microsecond=0) - timedelta(seconds=60)
    order = ReportOrder(specifier, (r_id,), 60, back_s, start, 3600)
    stage.operator.request_report(ven.ven_id, order if back_s else ReportOrder(specifier, (r_id,)))
    came: Document = ven.poll(f"ordered:{name}")
    ids = came.texts(_IDS)
    if not ids:
        raise BrokenOffError(f"ordered: {name}: the poll brought {came.name} in place of oadrCreateReport")
    ven.answer(came, f"ordered:{name}")
    return ids[0]


DIALOGUES: Final = MappingProxyType({"metadata": metadata, "requests": requests, "renewals": renewals})
