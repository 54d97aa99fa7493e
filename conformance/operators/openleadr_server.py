"""openleadr's VTN as a process of its own, on loopback: run by `python -m`, one JSON line each way.

It is that package as it comes; what is added here is what its users write: who registers, and which events there are.
Its arguments are a port and, for mutual TLS, a directory with its certificate and its authority's; then `--signed` has
it require signatures.
"""

import asyncio
import contextlib
import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from openleadr import OpenADRServer

from conformance.operators.openleadr import AUTHORITY, OWN


class Server:
    """The server, its VENs by id, and what they answered."""

    def __init__(self, port: int, directory: Path | None = None, *, signed: bool = False) -> None:
        self._vens: dict[str, dict[str, Any]] = {}
        self._opts: dict[tuple[str, str], str] = {}
        self._server = OpenADRServer(
            vtn_id="openleadr",
            http_port=port,
            ven_lookup=self._lookup,
            requested_poll_freq=timedelta(seconds=10),
            verify_message_signatures=signed,
            **({} if directory is None else _keys(directory)),
        )
        self._server.add_handler("on_create_party_registration", self._register)
        self._server.add_handler("on_cancel_party_registration", self._cancel)
        self._server.add_handler("on_register_report", lambda *_, **__: None)

    async def run(self) -> None:
        """Serve, and obey each line of standard input, until it ends."""
        await self._server.run()
        _say({"ready": True})
        while line := await asyncio.to_thread(sys.stdin.readline):
            order = json.loads(line)
            try:
                answer = getattr(self, f"do_{order.pop('do')}")(**order)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                answer = {"refused": repr(error)}
            _say(answer)

    def do_provide(self, name: str, fingerprint: str | None = None) -> dict[str, Any]:
        """Know a VEN, which is not registered yet."""
        ven_id = f"Ven-{len(self._vens) + 1}"
        known = {"ven_id": ven_id, "ven_name": name, "fingerprint": fingerprint}
        self._vens[ven_id] = known | {"registration_id": None, "shown": None}
        return {"ven_id": ven_id}

    def do_shown(self, ven_id: str) -> dict[str, Any]:
        """Tell which fingerprint openleadr told when a VEN registered."""
        return {"fingerprint": self._vens[ven_id]["shown"]}

    def do_vens(self) -> dict[str, Any]:
        """Tell which VENs are known."""
        return {"vens": self._vens}

    def do_know(self, vens: dict[str, dict[str, Any]]) -> dict[str, Any]:
        """Know VENs as they were before a restart."""
        self._vens |= vens
        return {}

    def do_event(self, ven_id: str, event: dict[str, Any], priority: int) -> dict[str, Any]:
        """Add an event of one signal."""
        start = datetime.fromisoformat(event.pop("start"))
        intervals = []
        for length_s, value in event.pop("values"):
            length = timedelta(seconds=length_s)
            intervals.append({"dtstart": start, "duration": length, "signal_payload": value})
            start += length
        ramp_up = timedelta(seconds=event.pop("ramp_up_s"))
        event_id = self._server.add_event(
            ven_id=ven_id,
            intervals=intervals,
            callback=self._answered,
            notification_period=timedelta(minutes=1),
            ramp_up_period=ramp_up or None,
            **event,
        )
        self._server.events[ven_id][-1].event_descriptor.priority = priority
        return {"event_id": event_id}

    def do_cancel(self, ven_id: str, event_id: str) -> dict[str, Any]:
        """Cancel an event."""
        self._server.cancel_event(ven_id, event_id)
        return {}

    def do_opt(self, ven_id: str, event_id: str) -> dict[str, Any]:
        """Tell what a VEN answered."""
        return {"opt": self._opts.get((ven_id, event_id))}

    async def _lookup(self, ven_id: str) -> dict[str, Any] | None:
        return self._vens.get(ven_id)

    async def _register(self, payload: dict[str, Any]) -> tuple[str, str] | bool:
        for ven in self._vens.values():
            if payload.get("ven_id") in (None, ven["ven_id"]) and payload.get("ven_name") == ven["ven_name"]:
                ven["shown"] = payload.get("fingerprint")
                if ven["fingerprint"] != ven["shown"]:
                    return False
                ven["registration_id"] = f"registration of {ven['ven_id']}"
                return ven["ven_id"], ven["registration_id"]
        return False

    async def _cancel(self, payload: dict[str, Any]) -> None:
        if ven := self._vens.get(payload.get("ven_id", "")):
            ven["registration_id"] = None

    async def _answered(self, ven_id: str, event_id: str, opt_type: str) -> None:
        self._opts[ven_id, event_id] = opt_type


def _keys(directory: Path) -> dict[str, str]:
    """Return what it takes for TLS and for signing, by the names of its parameters."""
    cert, key = str(directory / f"{OWN}.pem"), str(directory / f"{OWN}.key")
    trust = str(directory / f"{AUTHORITY}.pem")
    return {"http_cert": cert, "http_key": key, "http_ca_file": trust, "cert": cert, "key": key}


def _say(answer: dict[str, Any]) -> None:
    """Write a line to where the adapter reads; what openleadr prints for people goes elsewhere."""
    if sys.__stdout__ is not None:
        sys.__stdout__.write(json.dumps(answer) + "\n")
        sys.__stdout__.flush()


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        place = Path(sys.argv[2]) if sys.argv[2:] else None
        asyncio.run(Server(int(sys.argv[1]), place, signed="--signed" in sys.argv).run())
