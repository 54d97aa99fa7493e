"""openleadr's VTN as a process. It tells every message that it gets and every value, and orders what it is told to."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

from openleadr import OpenADRServer, hooks

SAMPLING = timedelta(seconds=2)
REPORTING = timedelta(seconds=4)
PREFIX = "/OpenADR2/Simple/2.0b"


def tell(what: str, **details: object) -> None:
    print(json.dumps({"told": what} | details, default=str), flush=True)  # noqa: T201  how the test hears it


class Vtn:
    """The server and the one VEN that it knows."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._ven = {
            "ven_id": config["ven_id"],
            "ven_name": config["ven_name"],
            "fingerprint": config["fingerprint"],
            "registration_id": None,
        }
        signing = {"cert": config["cert"], "key": config["key"], "show_fingerprint": False} if config["signed"] else {}
        self._server = OpenADRServer(
            vtn_id=config["vtn_id"],
            http_port=config["port"],
            http_cert=config["cert"],
            http_key=config["key"],
            http_ca_file=config["ca"],
            ven_lookup=self._lookup,
            verify_message_signatures=config["signed"],
            **signing,
            requested_poll_freq=timedelta(seconds=1),
        )
        self._server.add_handler("on_create_party_registration", self._register)
        self._server.add_handler("on_register_report", self._choose)
        self._server.add_handler("on_cancel_party_registration", lambda _: None)
        hooks.register("before_handle", self._received)

    async def run(self) -> None:
        await self._server.run()
        tell("serving")
        async for order in _orders():
            getattr(self, f"_{order.pop('do')}")(**order)

    async def _lookup(self, ven_id: str) -> dict[str, Any] | None:
        return self._ven if ven_id == self._ven["ven_id"] else None

    async def _register(self, payload: dict[str, Any]) -> tuple[str, str] | bool:
        if payload.get("fingerprint") != self._ven["fingerprint"]:
            return False
        self._ven["registration_id"] = "registration-1"
        tell("registered", ven_name=payload["ven_name"])
        return self._ven["ven_id"], self._ven["registration_id"]

    async def _choose(self, report: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """Ask for every data point of the telemetry; openleadr cannot read status reports."""
        offered = {
            line["r_id"]: [line.get("measurement", {}).get("unit"), line["report_data_source"]["resource_id"]]
            for line in report["report_descriptions"]
        }
        tell("offer", name=report["report_name"], points=offered)
        if report["report_name"] != "METADATA_TELEMETRY_USAGE":
            return None
        return [(r_id, self._taker(r_id), SAMPLING, REPORTING) for r_id in offered]

    def _taker(self, r_id: str) -> Any:
        def take(values: list[tuple[datetime, float]]) -> None:
            tell("values", r_id=r_id, values=[[at.isoformat(), value] for at, value in values])

        return take

    async def _received(self, kind: str, payload: dict[str, Any]) -> None:
        answers = [
            [one["event_id"], one["modification_number"], one["opt_type"], one["response_code"]]
            for one in payload.get("event_responses", ())
        ]
        tell("message", kind=kind, answers=answers, code=payload.get("response", {}).get("response_code"))

    def _dispatch(self, event_id: str) -> None:
        start = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
        self._server.add_event(
            ven_id=self._ven["ven_id"],
            event_id=event_id,
            signal_name="simple",
            signal_type="level",
            intervals=[{"dtstart": start, "duration": timedelta(minutes=30), "signal_payload": 1}],
            market_context="http://evenload.example/p",
            notification_period=timedelta(0),
            callback=self._opted,
        )

    def _opted(self, ven_id: str, event_id: str, opt_type: str) -> None:
        tell("opt", ven_id=ven_id, event_id=event_id, opt=opt_type)

    def _cancel(self, event_id: str) -> None:
        self._server.cancel_event(self._ven["ven_id"], event_id)

    def _list(self) -> None:
        about = [one.event_descriptor for one in self._server.events[self._ven["ven_id"]]]
        tell("events", events=[[one.event_id, one.event_status] for one in about])


async def _orders() -> Any:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield json.loads(line)


if __name__ == "__main__":
    asyncio.run(Vtn(json.loads(sys.argv[1])).run())
