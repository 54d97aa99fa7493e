"""The household file of each of the demo's gateways: the same homes, seen from inside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenload.demo.device_messages import Iflex, hems_id, shelly_id
from evenload.demo.model import Home, make_home
from evenload.demo.plan import DemoPlan
from evenload.demo.simulated_homes import CLOCK_NAME

METER, HEATER = "meter", "heater"
"""The devices' names in every household of the demo; the houses' log uses the same."""


def household_dir(home: Home, run_dir: Path) -> Path:
    """Return where a home's gateway keeps its identity (`identity/`), its state and its command log."""
    return run_dir / "homes" / home.id


def household(index: int, plan: DemoPlan, run_dir: Path, mqtt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what home `index`'s `household.yaml` says (plain values: JSON is valid YAML).

    `mqtt` is the broker section (host, port, username, password_file ...); the client id is added. The home that
    `plan.opt_out` names opts out of the programme's events; all others take part. The
    newcomer's gateway does not ask its meter for a past.
    """
    home = make_home(plan.seed, index)
    folder = household_dir(home, run_dir)
    return {
        "version": 1,
        "name": home.id,
        "identity": str(folder / "identity"),
        "state": str(folder / "state"),
        "clock": str(run_dir / CLOCK_NAME),
        "log_file": str(folder / "commands.jsonl"),
        "mqtt": {**mqtt, "client_id": f"ven-{home.id}"},
        "devices": _iflex_devices(home) if home.dialect == "iflex" else _shelly_devices(home),
        "resources": [{"id": home.id, "meter": METER, "devices": [HEATER]}],
        "programmes": [
            {
                "match": {"signal": "LOAD_DISPATCH", "type": "delta", "market_context": plan.market_context},
                "shed": {"order": [HEATER]},
            }
        ],
        "opt": [{"opt": "out", "market_context": plan.market_context}] if index == plan.opt_out else [],
        "market_contexts": [plan.market_context],
        "assess": {"baseline": plan.baseline},
        "history": {"step": "PT30M", "days": 0 if index == plan.newcomer else plan.history_days},
    }


def _heater(home: Home) -> dict[str, Any]:
    return {"id": HEATER, "role": "water_heater", "class": "Water_Heater", "nominal_w": home.heater_w}


def _iflex_devices(home: Home) -> list[dict[str, Any]]:
    hems = {"hems_id": hems_id(home)}
    meter = {"device_id": str(Iflex.METER), "points": {"energy": "Import - active energy", "power": "Active power"}}
    heater = {
        "device_id": str(Iflex.HEATER),
        "actuator_id": str(Iflex.HEATER_ACTUATOR),
        "points": {"power": "Active power"},
    }
    return [
        {"id": METER, "role": "grid_meter", "driver": "iflex", "with": hems | meter},
        {**_heater(home), "driver": "iflex", "with": hems | heater},
    ]


def _shelly_devices(home: Home) -> list[dict[str, Any]]:
    return [
        {"id": METER, "role": "grid_meter", "driver": "senml_meter", "with": {"id": home.id}},
        {**_heater(home), "driver": "shelly1", "with": {"id": shelly_id(home)}},
    ]
