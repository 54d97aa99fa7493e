"""openleadr's VEN as a process. It tells every message that it gets, and opts as it is ordered to."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from openleadr import OpenADRClient, objects

POWER_W = 1234.5


def tell(what: str, **details: object) -> None:
    print(json.dumps({"told": what} | details, default=str), flush=True)  # noqa: T201  how the test hears it


class Ven:
    """The client and what it was last sent about each event."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.client = OpenADRClient(
            ven_name=config["ven_name"],
            ven_id=config["ven_id"],
            vtn_url=config["vtn_url"],
            cert=config["cert"],
            key=config["key"],
            ca_file=config["ca"],
            disable_signature=not config["signed"],
            vtn_fingerprint=config["vtn_fingerprint"],
            show_fingerprint=False,
        )
        self.client.add_report(
            callback=lambda: POWER_W,
            resource_id="heat-pump",
            measurement="POWER_REAL",
            report_specifier_id="telemetry",
            r_id="heat-pump-power",
            sampling_rate=timedelta(seconds=1),
        )
        self.client.add_handler("on_event", self._new)
        self.client.add_handler("on_update_event", self._changed)
        self.client.add_hook("after_parse_xml", self._received)
        self._numbers: dict[str, int] = {}

    async def run(self) -> None:
        await self.client.run()
        tell("registered", registration_id=self.client.registration_id, ven_id=self.client.ven_id)
        async for order in _orders():
            await getattr(self, f"_{order.pop('do')}")(**order)

    def _received(self, kind: str, payload: dict[str, Any]) -> None:
        code = payload.get("response", {}).get("response_code")
        tell("message", kind=kind, code=code)

    async def _new(self, event: dict[str, Any]) -> str:
        self._note("event", event)
        return "optIn"

    async def _changed(self, event: dict[str, Any]) -> str:
        event_id = self._note("event changed", event)
        return self.client.responded_events[event_id]

    def _note(self, what: str, event: dict[str, Any]) -> str:
        about = event["event_descriptor"]
        self._numbers[about["event_id"]] = about["modification_number"]
        signals = [
            [one["signal_name"], one["signal_type"], [part["signal_payload"] for part in one["intervals"]]]
            for one in event["event_signals"]
        ]
        tell(
            what,
            event_id=about["event_id"],
            status=about["event_status"],
            modification=about["modification_number"],
            signals=signals,
        )
        return about["event_id"]

    async def _answer(self, event_id: str, opt: str) -> None:
        """Change the mind by another oadrCreatedEvent."""
        self.client.responded_events[event_id] = opt
        await self.client.created_event("later", event_id, opt, self._numbers[event_id])

    async def _create_opt(self, event_id: str, opt: str) -> None:
        """Change the mind by an oadrCreateOpt."""
        number = self._numbers[event_id]
        await self.client.create_opt(opt, "notParticipating", [], event_id=event_id, modification_number=number)

    async def _schedule(self, opt: str) -> None:
        """Say that for an hour from tomorrow on nothing can be had, and take it back."""
        component = objects.VavailabilityComponent(datetime.now(UTC) + timedelta(days=1), timedelta(hours=1))
        opt_id = await self.client.create_opt(opt, "notParticipating", [], objects.Vavailability([component]))
        tell("schedule", made=opt_id, cancelled=await self.client.cancel_opt(opt_id))

    async def _unregister(self) -> None:
        await self.client.cancel_party_registration()


async def _orders() -> Any:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


if __name__ == "__main__":
    asyncio.run(Ven(json.loads(sys.argv[1])).run())
