"""The demo's balance responsible party: a client of its own that buys the evening's flexibility over REST."""

import asyncio
import json
import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from core.errors import UnavailableError
from core.spans import Span
from evenload.brp_client import BrpClient
from evenload.client import RequestError
from evenload.demo.setup import Scene

_LOOK_S = 0.25
_TICKS = timedelta(minutes=10)
"""World time in which the market's loop, and each gateway's poll, come round some times."""
_REPORTING = timedelta(minutes=30)
"""World time in which the report on an activation is made after its last reading."""
_NOT_FOUND = 404
_J_PER_KWH = 3.6e6
_PRICE = {"currency": "GBP", "per_kwh": "0.40", "penalty_per_kwh": "0.20"}


@dataclass(frozen=True, slots=True)
class Buyer:
    """The BRP: its client's id and secret, and its contract."""

    client_id: str
    secret: str
    contract_id: str


@dataclass(frozen=True, slots=True)
class Bought:
    """What was asked for, offered and accepted; energies in kWh."""

    activation_id: str
    dispatch_id: str
    requested_kwh: float
    offered_kwh: float
    accepted_kwh: float


async def sign_contract(scene: Scene, programme_id: str) -> Buyer:
    """Let the operator register the BRP and make a contract with it."""
    async with scene.client() as client:
        made = await client.post("/brps", {"name": "Balance & Co"})
        body = {"brp_id": made["brp"]["id"], "programme_id": programme_id, "price": _PRICE}
        contract = await client.post("/contracts", body)
    return Buyer(made["client"]["id"], made["secret"], contract["id"])


def client_of(scene: Scene, buyer: Buyer) -> BrpClient:
    """Return the BRP's client of the API."""
    return BrpClient(f"https://127.0.0.1:{scene.api_port}", buyer.client_id, buyer.secret, ca=scene.ca)


async def ask(scene: Scene, buyer: Buyer, window: Span, wanted_w: int) -> dict[str, Any]:
    """Request up to `wanted_w` in a window and return the offer that answers it."""
    lasts_s = _lasts_s(window)
    deadline = ("--deadline", _iso(window.start - timedelta(minutes=1)))
    when = ("--start", _iso(window.start), "--duration", f"PT{lasts_s // 60}M")
    asked = await _command(
        scene, buyer, "request", *when, *deadline, "--power-w", str(wanted_w), "--reason", "evening peak", "--wait"
    )
    if asked["status"] != "offered":
        raise UnavailableError(f"The request was {asked['status']}: {asked['status_reason']}")
    (offer,) = asked["offers"]
    return dict(offer) | {"requested_kwh": wanted_w * lasts_s / _J_PER_KWH}


async def accept(scene: Scene, buyer: Buyer, offer: dict[str, Any]) -> Bought:
    """Take the fullest option of an offer, and wait until homes are called.

    The gateways with a process of their own are held meanwhile, so that none hears of an event before one is silenced.
    That has to be short: who was silent for ten seconds is offline to the VTN, and not called. So this is not a
    command, which would have to start first; the client has its token before.
    """
    option = offer["options"][0]
    async with client_of(scene, buyer) as client:
        await client.get("/me")
        scene.stage.signal(signal.SIGSTOP, scene.alone)
        body = {"option_id": option["id"], "activation_factor": 1.0}
        activation = await client.post(f"/flexibility-offers/{offer['id']}/acceptance", body)
    dispatch_id = await _called(scene, activation["id"])
    accepted = _energy_kwh(activation["intervals"])
    return Bought(activation["id"], dispatch_id, offer["requested_kwh"], _energy_kwh(option["intervals"]), accepted)


def _lasts_s(window: Span) -> int:
    return round(((window.end or window.start) - window.start).total_seconds())


async def _command(scene: Scene, buyer: Buyer, command: str, *arguments: str) -> Any:
    """Run a command of the BRP, who knows nothing but the API, and return its JSON."""
    access = {
        "EVENLOAD_BRP_URL": f"https://127.0.0.1:{scene.api_port}",
        "EVENLOAD_BRP_CLIENT_ID": buyer.client_id,
        "EVENLOAD_BRP_SECRET": buyer.secret,
        "EVENLOAD_BRP_CA": str(scene.ca),
    }
    return json.loads(await scene.stage.run("evenload", "brp", command, "--json", *arguments, environment=access))


async def _called(scene: Scene, activation_id: str) -> str:
    """Wait until the aggregator has called homes, and return the dispatch's id."""
    async with scene.client() as client, scene.patience(_TICKS, "The market called nobody."):
        while True:
            scene.stage.check()
            one = await client.get(f"/activations/{activation_id}")
            if one["dispatch_id"] is not None:
                return str(one["dispatch_id"])
            await asyncio.sleep(_LOOK_S)


async def chosen(scene: Scene, activation_id: str) -> dict[str, str]:
    """Return VEN name -> why it was called, or not."""
    async with scene.client() as client:
        found = await client.all(f"/activations/{activation_id}/selection")
    return {one["ven_name"]: one["reason"] for one in found}


async def report(scene: Scene, buyer: Buyer, activation_id: str) -> dict[str, Any]:
    """Fetch the BRP's report on the activation; it comes a little after the last reading."""
    async with scene.client() as client, scene.patience(_REPORTING, "The BRP got no report."):
        while True:
            try:
                await client.get(f"/activations/{activation_id}/report")
            except RequestError as error:
                if error.status != _NOT_FOUND:
                    raise
            else:
                return dict(await _command(scene, buyer, "report", activation_id))
            await asyncio.sleep(_LOOK_S)


def _energy_kwh(intervals: Sequence[dict[str, Any]]) -> float:
    return math.fsum(one["power_w"] * one["duration_s"] for one in intervals) / _J_PER_KWH


def _iso(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


async def opt_out_of_one(scene: Scene, dispatch_id: str) -> str:
    """Let the household of the first home that was called opt out by hand, once it has heard of the event."""
    async with scene.client() as client, scene.patience(_TICKS, "Not every gateway answered."):
        while True:
            found = await client.get(f"/dispatches/{dispatch_id}")
            heard = [one for one in found["events"] if one["opt"] is not None]
            if len(heard) == len(found["events"]) - len(scene.silenced):
                break
            await asyncio.sleep(_LOOK_S)
    new = scene.plan.newcomer_name  # stays in if anybody else can go: what becomes of its energy is to be seen
    one = min(heard, key=lambda event: (event["ven_name"] == new, str(event["ven_name"])))
    household = scene.directory / "homes" / one["ven_name"] / "household.yaml"
    await scene.stage.run("evenload", "ven", "opt-out", one["id"], "--config", str(household))
    return str(one["ven_name"])


async def silence_one(scene: Scene, called: Sequence[str]) -> str | None:
    """Kill a held gateway whose home was called, and let the others go on; None if no such home was called."""
    victim = next((name for name in scene.alone if name in called), None)
    if victim is not None:
        scene.silenced.add(victim)
        await scene.stage.kill(victim)
    scene.stage.signal(signal.SIGCONT, [name for name in scene.alone if name != victim])
    return victim
