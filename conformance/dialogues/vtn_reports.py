"""Reports that the VTN offers to VENs: asked for in every way, received, and ended in three."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from conformance import judge
from conformance import templates as t
from conformance.judge import Document
from conformance.stage import BrokenOffError, Stage, Ven
from conformance.vens import messages as m

VTN_REPORTS: Final = "VTN reports"
_PATIENCE: Final = 3
"""Paces within which what is due comes."""
_SLOWEST_S: Final = 120
"""Telemetry that is sampled less often takes too long for a test."""
_DAY_S: Final = 86_400
_MOST_MESSAGES: Final = 40


@dataclass(frozen=True, slots=True)
class _Offer:
    """A report of the VTN's metadata: `holds_s` is its duration, `step_s` its longest oadrMinPeriod."""

    specifier: str
    points: tuple[str, ...]
    holds_s: int
    step_s: int

    def want(self, name: str, granularity: str = "PT0S", back: str = "PT0S", **span: datetime | str) -> m.Want:
        """Return a request for all its data points."""
        return m.Want(name, self.specifier, self.points, granularity, back, **span)  # type: ignore[arg-type]


def vtn_reports(stage: Stage) -> None:
    """Ask for the VTN's reports: along with the receipt of its metadata, once, of the past, and periodically."""
    ven = stage.newcomer("a")
    ven.register("register")
    metadata = _metadata(ven)
    telemetry, history = _offer(metadata, "TELEMETRY_"), _offer(metadata, "HISTORY_USAGE")
    request_id = metadata.text("pyld:requestID") or ""
    if telemetry is None:
        ven.post("receipt", t.registered_report(ven.ven_id, request_id))
    else:
        ven.post("along", m.registered_report(ven.ven_id, request_id, [telemetry.want("along")]))
        _receive(ven, "along data", {"along"}, stage.after(_PATIENCE))
        _telemetry(stage, ven, telemetry)
    if history is not None:
        _history(stage, ven, history)
    if telemetry is not None and telemetry.step_s <= _SLOWEST_S:
        _periodic(stage, ven, telemetry)


def _metadata(ven: Ven) -> Document:
    """Return the VTN's oadrRegisterReport, which is not answered yet. Raises BrokenOffError."""
    for _ in range(_MOST_MESSAGES):
        document = ven.poll("metadata")
        if document.name == "oadrRegisterReport":
            return document
        if document.name == "oadrResponse":
            break
        ven.answer(document, "metadata")
    raise BrokenOffError("the VTN registered no reports")


def _offer(metadata: Document, name: str) -> _Offer | None:
    """Return the first report on offer whose name begins so."""
    for report in map(Document, metadata.all("oadr:oadrReport")):
        if (report.text("ei:reportName") or "").startswith(f"METADATA_{name}"):
            rates = report.texts(".//oadr:oadrSamplingRate/oadr:oadrMinPeriod")
            return _Offer(
                report.text("ei:reportSpecifierID") or "",
                tuple(report.texts("oadr:oadrReportDescription/ei:rID")),
                judge.duration_at(report, "xcal:duration/xcal:duration") or 0,
                max([1, *(judge.seconds(rate.strip()) for rate in rates)]),
            )
    return None


def _telemetry(stage: Stage, ven: Ven, offer: _Offer) -> None:
    """Ask for the newest values, and for what is not offered."""
    ven.post("asks:once", m.create_report(ven.ven_id, [offer.want("once")], stage.token()))
    _receive(ven, "once", {"once"}, stage.after(_PATIENCE))
    for name, specifier, points in (
        ("specifier", "no such specifier", offer.points),
        ("rID", offer.specifier, ("no such rID",)),
    ):
        want = m.Want(f"unknown {name}", specifier, points)
        ven.post(f"beyond:{name}", m.create_report(ven.ven_id, [want], stage.token()))
    coarse = offer.want("coarse", f"PT{2 * offer.step_s}S", f"PT{offer.step_s}S", start=stage.after(1))
    ven.post("too coarse", m.create_report(ven.ven_id, [coarse], stage.token()))


def _history(stage: Stage, ven: Ven, offer: _Offer) -> None:
    """Ask for a part of the past, for all since then, and for more than is offered."""
    reach_s = min(offer.holds_s or _DAY_S, _DAY_S)
    start = (stage.now() - timedelta(seconds=reach_s)).replace(microsecond=0)
    for name, lasts_s in (("part", reach_s // 2), ("all", 0)):
        want = offer.want(name, start=start, lasts=f"PT{lasts_s}S")
        ven.post(f"asks:{name}", m.create_report(ven.ven_id, [want], stage.token()))
        _receive(ven, f"past:{name}", {name}, stage.after(_PATIENCE))
    if offer.holds_s:
        start = (stage.now() - timedelta(seconds=offer.holds_s + _DAY_S)).replace(microsecond=0)
        want = offer.want("too much", start=start, lasts=f"PT{offer.holds_s + _DAY_S}S")
        ven.post("too much", m.create_report(ven.ven_id, [want], stage.token()))


def _periodic(stage: Stage, ven: Ven, offer: _Offer) -> None:
    """Ask for a report that ends by itself, and for three that are ended after their first: in different ways."""
    start, step = stage.after(1), timedelta(seconds=offer.step_s)
    back = f"PT{offer.step_s}S"
    lasting = {"periodic": f"PT{2 * offer.step_s}S", "stopped": "PT0S", "last": "PT0S", "beside": "PT0S"}
    wants = [offer.want(name, back, back, start=start, lasts=lasts) for name, lasts in lasting.items()]
    ven.post("asks:periodic", m.create_report(ven.ven_id, wants, stage.token()))
    patience = timedelta(seconds=_PATIENCE * stage.pace_s)

    def ending(document: Document) -> t.Message:
        ends = "beside" in document.texts("oadr:oadrReport/ei:reportRequestID")
        return m.updated_report(ven.ven_id, document.text("pyld:requestID") or "", "beside" if ends else None)

    came = _receive(ven, "first window", set(lasting), start + step + patience, ending)
    for name in came & {"stopped", "last"}:
        follow = name == "last"
        ven.post(f"ends:{name}", t.cancel_report(ven.ven_id, [name], stage.token(), follow=follow))
    _receive(ven, "last", came & {"last"}, stage.after(_PATIENCE))
    _receive(ven, "second window", came & {"periodic"}, start + 2 * step + patience)
    _receive(ven, "afterwards", set(), stage.after(0))


def _receive(
    ven: Ven, step: str, wanted: set[str], until: datetime, answer: Callable[[Document], t.Message] | None = None
) -> set[str]:
    """Poll until data of all requests that are wanted came, or a time; return the requests of which any came.

    Raises BrokenOffError if the VTN has ever more to say.
    """
    stage, came = ven.stage, set[str]()
    left = _MOST_MESSAGES
    while left:
        document = ven.poll(step)
        if document.name == "oadrResponse":
            if wanted <= came or stage.now() >= until:
                return came
            stage.timeline.sleep_until(min(until, stage.now() + timedelta(seconds=stage.pace_s / 4)))
            continue
        left -= 1
        if document.name == "oadrUpdateReport" and answer is not None:
            ven.say(f"{step}:answer", answer(document))
        else:
            ven.answer(document, step)
        came |= set(document.texts("self::oadr:oadrUpdateReport/oadr:oadrReport/ei:reportRequestID"))
    raise BrokenOffError(f"{step}: the queue never ends")


DIALOGUES: Final = MappingProxyType({VTN_REPORTS: vtn_reports})
