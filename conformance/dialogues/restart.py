"""A VTN that is restarted: what it keeps."""

import time
from types import MappingProxyType
from typing import Final

from conformance import templates as t
from conformance.dialogues.reports import ordered
from conformance.stage import BrokenOffError, Stage, Ven

_RESTART_S: Final = 60.0
_LOOK_S: Final = 0.2


def restart(stage: Stage) -> None:
    """Have a VEN registered, an event of its changed and a report requested; restart the VTN; see what is left."""
    ven = stage.newcomer("a")
    ven.register("before:create")
    ven.drain("before")
    ven.post("before:offer", t.register_report(ven.ven_id, [t.usage_offer()], stage.token()))
    ven.drain("before")
    handle = stage.event([ven], starts_in=60)
    stage.able(lambda: stage.operator.change_event(handle, start=stage.after(70)))
    ven.drain("before")
    wanted: list[str] = []
    stage.able(lambda: wanted.append(ordered(stage, ven, "before", back_s=120)))
    ven.events("before:listed")
    if not stage.able(stage.operator.restart):
        return
    _answers_again(stage, ven)
    stage.fact("restarted", value=True)
    ven.post("restarted:again", ven.again())
    ven.post("restarted:listed", t.request_event(ven.ven_id, stage.token()))
    for report_request_id in wanted:
        data = t.data(report_request_id, start=stage.after(-15).strftime("%Y-%m-%dT%H:%M:%SZ"))
        ven.post("restarted:data", t.update_report(ven.ven_id, [data], stage.token()))


def _answers_again(stage: Stage, ven: Ven) -> None:
    """Wait until the VTN answers. Raises BrokenOffError if it stays away."""
    until = time.monotonic() + _RESTART_S
    while ven.post("restarting", t.query(stage.token())).answer is None:
        if time.monotonic() > until:
            raise BrokenOffError(f"the VTN did not come back within {_RESTART_S:.0f} s of its restart")
        time.sleep(_LOOK_S)


DIALOGUES: Final = MappingProxyType({"restart": restart})
