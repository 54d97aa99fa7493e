"""pyOADR-VEN's agent as a process. It tells the messages both ways and every fault, and does what it is ordered to."""

import json
import sys
import traceback
from datetime import datetime, timedelta
from typing import Any

from pony import orm
from pyoadr_ven import OpenADRVenAgent, database

SPECIFIER = "telemetry"
PERIOD_S = 3600
"""Its first report goes out at once. A second one must not come in the meantime: empty, it would not be valid."""
REPORTS = {
    SPECIFIER: {
        "report_name_metadata": "METADATA_TELEMETRY_USAGE",
        "report_interval_secs_default": PERIOD_S,
        "telemetry_parameters": {
            "power": {
                "r_id": "heat-pump-power",
                "units": "none that it knows",  # with powerReal its metadata cannot be read by anyone
                "min_frequency": PERIOD_S,
                "max_frequency": PERIOD_S,
                "report_type": "usage",
                "reading_type": "Direct Read",
                "method_name": "power",
            }
        },
    }
}


def tell(what: str, **details: object) -> None:
    print(json.dumps({"told": what} | details, default=str), flush=True)  # noqa: T201  how the test hears it


class Agent(OpenADRVenAgent):
    """The agent, telling what it sends and what it gets."""

    def send_vtn_request(self, service: str, request_name: str, request_object: Any) -> None:
        tell("sends", kind=request_name)
        super().send_vtn_request(service, request_name, request_object)

    def service_vtn_request(self, request: bytes) -> None:
        parts = vars(self._get_signed_object(request)).items()
        tell("gets", kind=next(name for name, value in parts if name.startswith("oadr") and value is not None))
        super().service_vtn_request(request)


class Ven:
    """The orders. As any program around the agent would, it stands what a tick raises."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._name = config["ven_name"]
        self._agent = Agent(
            ven_id=config["ven_id"],
            vtn_id=config["vtn_id"],
            vtn_address=config["address"],
            client_pem_bundle=config["bundle"],
            vtn_ca_cert=config["ca"],
            opt_timeout_secs=0,
            report_parameters=REPORTS,
        )

    def obey(self, number: int, do: str, **details: Any) -> None:
        try:
            result = getattr(self, f"_{do}")(**details)
        except Exception as error:  # noqa: BLE001  it raises whatever comes up, and goes on at the next tick
            traceback.print_exc()
            tell("done", number=number, fault=type(error).__name__, text=str(error), result=None)
        else:
            tell("done", number=number, fault=None, text="", result=result)

    def _register(self) -> dict[str, Any]:
        given = self._agent.register(self._name)
        return given | {"poll_interval_secs": type(given["poll_interval_secs"]).__name__}

    def _poll_at_each_tick(self) -> None:
        """Put right the poll interval that registering left; the constructor would not take less than 5 s."""
        self._agent.poll_interval_secs = 0

    def _tick(self) -> None:
        self._agent.tick()

    def _request_events(self) -> None:
        self._agent.request_events()

    def _measure(self, power_w: float, ago_s: int) -> None:
        """Record the mean power of a second that is so long ago."""
        start = datetime.utcnow().replace(microsecond=0) - timedelta(seconds=ago_s)  # noqa: DTZ003  as the agent does
        with orm.db_session:
            self._agent.add_telemetry_json(SPECIFIER, {"power": power_w}, start, start + timedelta(seconds=1))

    def _events(self) -> dict[str, list[Any]]:
        with orm.db_session:
            events = database.Event.select()[:]
            return {one.event_id: [one.status, one.opt_type, one.modification_number] for one in events}


def main() -> None:
    ven = Ven(json.loads(sys.argv[1]))
    for line in sys.stdin:
        ven.obey(**json.loads(line))


if __name__ == "__main__":
    main()
