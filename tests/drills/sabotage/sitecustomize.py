"""Kills a process at an instant that nobody can hit from outside: between a commit and what should follow it.

Python imports this module at start where its folder is on PYTHONPATH. `EVENLOAD_DRILL` (JSON) says at which point, the
how-manyeth time, and whom; `marker` is a file that keeps it from happening twice. The product knows nothing of this.
"""

import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any


class Trap:
    """Counts visits to a point and kills at the chosen one."""

    def __init__(self, number: int, marker: str, victim: str | None, not_before: str | None) -> None:
        self._left = number
        self._marker = Path(marker)
        self._victim = Path(victim) if victim else None
        self._not_before = datetime.fromisoformat(not_before) if not_before else None

    def visit(self, now: datetime | None = None) -> None:
        """Take one step towards the kill; `now` is the world's time where it matters."""
        if self._not_before is not None and (now is None or now < self._not_before):
            return
        self._left -= 1
        if self._left != 0 or self._marker.exists():
            return
        self._marker.touch()
        os.kill(int(self._victim.read_text()) if self._victim else os.getpid(), signal.SIGKILL)


def _vtn_answer(message_type: str, wanted: Callable[[Any], bool]) -> Callable[[Trap], None]:
    """Return the point where the VTN has committed what a message brought, and no answer has left."""

    def lay(trap: Trap) -> None:
        from vtn.transport.v20b.service import Vtn20b  # noqa: PLC0415  only in the process that has it

        answer = Vtn20b.answer

        async def sabotaged(self: Any, service: str, message: Any, *rest: Any) -> Any:
            result = await answer(self, service, message, *rest)
            if type(message).__name__ == message_type and wanted(message):
                trap.visit(self._clock.now())
            return result

        Vtn20b.answer = sabotaged

    return lay


def _ven_stored_events(trap: Trap) -> None:
    """The gateway has committed an event and its answer, and has sent nothing."""
    from openadr.v20b.messages import DistributeEvent  # noqa: PLC0415  only in the process that has it
    from ven.engine.engine import Engine  # noqa: PLC0415  only in the process that has it

    received = Engine.received

    def sabotaged(self: Any, answer: Any, now: datetime) -> Any:
        result = received(self, answer, now)
        if isinstance(answer, DistributeEvent) and answer.events:
            trap.visit(now)
        return result

    Engine.received = sabotaged


def _ven_journalled_restore(trap: Trap) -> None:
    """The gateway's journal says that the device is being given back, and the device has not heard of it."""
    from bridges.journal import Journal  # noqa: PLC0415  only in the process that has it

    before_write = Journal.before_write

    def sabotaged(self: Any, device: str, capability: str, previous: Any, value: Any, at: datetime) -> None:
        before_write(self, device, capability, previous, value, at)
        if value == "on":
            trap.visit(at)

    Journal.before_write = sabotaged


def _house_got_order(trap: Trap) -> None:
    """A command came through the broker to the house, whose state has not gone back yet."""
    from evenload.demo import device_messages  # noqa: PLC0415  only in the process that has it

    for dialect in (device_messages.Iflex, device_messages.Shelly):

        def sabotaged(self: Any, topic: str, payload: bytes, order: Callable[..., Any] = dialect.order) -> Any:
            result = order(self, topic, payload)
            if isinstance(result, device_messages.SwitchOrder) and not result.on:
                trap.visit()
            return result

        dialect.order = sabotaged


def _ven_published_restore(trap: Trap) -> None:
    """The broker has acknowledged a command of the gateway, and not yet stored it for good."""
    from bridges.connections.mqtt import MqttConnection  # noqa: PLC0415  only in the process that has it

    publish = MqttConnection.publish

    async def sabotaged(self: Any, topic: str, payload: Any, qos: int = 1, *, retain: bool = False) -> None:
        await publish(self, topic, payload, qos, retain=retain)
        if payload == "on" or '"on"' in str(payload):
            trap.visit()

    MqttConnection.publish = sabotaged


POINTS = {
    "vtn-stored-answers": _vtn_answer("CreatedEvent", lambda _: True),
    "vtn-stored-readings": _vtn_answer(
        "UpdateReport", lambda message: any(one.name == "TELEMETRY_USAGE" for one in message.reports)
    ),
    "ven-stored-events": _ven_stored_events,
    "ven-journalled-restore": _ven_journalled_restore,
    "ven-published-restore": _ven_published_restore,
    "house-got-order": _house_got_order,
}


def _begin() -> None:
    """Lay the trap, after whatever else would have been imported in our place."""
    here = Path(__file__).parent
    for place in map(Path, sys.path):
        if place != here and (place / "sitecustomize.py").is_file():
            runpy.run_path(str(place / "sitecustomize.py"))
            break
    plan = json.loads(os.environ["EVENLOAD_DRILL"])
    POINTS[plan.pop("point")](Trap(**plan))


if "EVENLOAD_DRILL" in os.environ:
    _begin()
