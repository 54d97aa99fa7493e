"""openleadr's VTN as the process under test, set up as its documentation says.

    python -m benchmarks.peer [DIRECTORY [ec|rsa]]

With a directory of certificates it serves mutual TLS and looks VENs up by their fingerprint; with a kind of key it also
signs with that and verifies what VENs sign. It runs on uvloop, as ours does. Values and answers stay in memory:
openleadr leaves storing to its user.
"""

import logging
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvloop
from openleadr import OpenADRServer

from benchmarks.control import EVENT_FOR_S, EVENT_IN_S, EVENT_LEVEL, controlled, until_told


class Peer:
    """openleadr's server with the handlers that it asks its user to write."""

    def __init__(self, certificates: Path | None, signs: str | None = None) -> None:
        self._vens: dict[str, dict[str, Any]] = {}
        self._values: dict[str, list[tuple[datetime, float]]] = {}
        self._opts: list[tuple[str, str, str]] = []
        tls: dict[str, Any] = {}
        if certificates is not None:
            tls = {
                "http_cert": str(certificates / "server-ec.pem"),
                "http_key": str(certificates / "server-ec.key"),
                "http_ca_file": str(certificates / "ca" / "ca.pem"),
                "verify_message_signatures": False,  # ours checks certificates only, too
            }
        if certificates is not None and signs is not None:
            own = {"cert": f"server-{signs}.pem", "key": f"server-{signs}.key"}
            tls |= {name: str(certificates / file) for name, file in own.items()}
            tls |= {"verify_message_signatures": True, "show_fingerprint": False}
        self._server = OpenADRServer(vtn_id="peer", http_host="127.0.0.1", http_port=0, ven_lookup=self._lookup, **tls)
        self._server.add_handler("on_create_party_registration", self._register)
        self._server.add_handler("on_register_report", self._choose)
        self._scheme = "https" if tls else "http"

    async def start(self) -> str:
        """Serve, and return the address for VENs."""
        await self._server.run()
        port = self._server.app_runner.addresses[0][1]
        return f"{self._scheme}://127.0.0.1:{port}{self._server.http_path_prefix}"

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop()

    async def add_vens(self, vens: list[dict[str, str]]) -> list[str]:
        """Make VENs known: their name is their venID."""
        for one in vens:
            name = one["name"]
            self._vens[name] = {
                "ven_id": name,
                "ven_name": name,
                "fingerprint": one["fingerprint"],
                "registration_id": None,
            }
        return [one["name"] for one in vens]

    async def send_events(self, ven_ids: list[str]) -> None:
        """Queue one event for each VEN."""
        start = datetime.now(UTC) + timedelta(seconds=EVENT_IN_S)
        lasting = timedelta(seconds=EVENT_FOR_S)
        for ven_id in ven_ids:
            self._server.add_event(
                ven_id=ven_id,
                signal_name="simple",
                signal_type="level",
                intervals=[{"dtstart": start, "duration": lasting, "signal_payload": EVENT_LEVEL}],
                callback=self._answered,
            )

    async def counts(self) -> dict[str, int]:
        """Return how many optIns and values came in."""
        return {"opts": len(self._opts), "values": sum(map(len, self._values.values()))}

    async def _lookup(self, ven_id: str) -> dict[str, Any] | None:
        return self._vens.get(ven_id)

    async def _register(self, payload: dict[str, Any]) -> tuple[str, str]:
        ven = self._vens[payload["ven_name"]]
        ven["registration_id"] = f"registration-{ven['ven_id']}"
        return ven["ven_id"], ven["registration_id"]

    async def _choose(
        self,
        ven_id: str,
        resource_id: str,
        measurement: str,
        unit: str,
        scale: str,
        min_sampling_interval: timedelta,
        max_sampling_interval: timedelta,
    ) -> tuple[Any, timedelta]:
        del resource_id, measurement, unit, scale, max_sampling_interval
        kept = self._values.setdefault(ven_id, [])

        def take(values: list[tuple[datetime, float]]) -> None:
            kept.extend(values)

        return take, min_sampling_interval

    async def _answered(self, ven_id: str, event_id: str, opt_type: str) -> None:
        self._opts.append((ven_id, event_id, opt_type))


async def main(certificates: Path | None, signs: str | None) -> None:
    """Run until standard input ends."""
    logging.getLogger("openleadr").setLevel(logging.WARNING)
    peer = Peer(certificates, signs)
    url = await peer.start()
    async with controlled(peer, openadr=url):
        await until_told()
    await peer.stop()


if __name__ == "__main__":
    given = dict(enumerate(sys.argv))
    uvloop.run(main(Path(given[1]) if 1 in given else None, given.get(2)))
