"""Which homes have no baseline yet, as each side is told: the operator of the fleet, the programme, the BRP."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from core.spans import ceil_to
from evenload.demo.setup import Scene
from evenload.demo.trade import Buyer, client_of

_AHEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """The homes that learn (VEN name -> `days`, `needed`, `ready_on`), and what programme and BRP are told of all."""

    vens: dict[str, dict[str, Any]]
    programme: dict[str, Any]
    brp: dict[str, Any]


async def outlook(scene: Scene, programme_id: str, buyer: Buyer) -> Outlook:
    """Ask all three. Raises RequestError, UnavailableError."""
    async with scene.client() as client:
        fleet = await client.all("/fleet")
        programme = await client.get(f"/programmes/{programme_id}/learning")
    start = ceil_to(scene.clock.now(), 1800)
    query = {"contract_id": buyer.contract_id, "from": start, "until": start + _AHEAD}
    async with client_of(scene, buyer) as client:
        potential = await client.get("/portfolio/potential", query)
    vens = {
        ven["name"]: {key: ven["learning"][key] for key in ("days", "needed", "ready_on")}
        for ven in fleet
        if ven["learning"]["state"] == "learning"
    }
    return Outlook(vens, programme, potential["learning"])
