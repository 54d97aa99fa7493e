"""What OpenADR 2.0b gives names to: signals with their units and values, response codes, classes of devices.

Written down here once more, since a kit that asked the product could not find the product's mistakes.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class KnownSignal:
    """One row of the table of signals (EV-29): `units` are names of itemBase elements, none where there is none.

    `values` says in words what is allowed.
    """

    name: str
    types: tuple[str, ...]
    units: tuple[str, ...] = ()
    values: str = "any"


@dataclass(frozen=True, slots=True)
class ResponseCode:
    """An application's response code. `use` says when it fits; only rules that say "exactly" demand one."""

    number: int
    meaning: str
    use: str


_POWER: Final = ("powerReal", "powerApparent", "powerReactive")
_ENERGY: Final = ("energyReal", "energyApparent", "energyReactive")
_PRICES: Final = ("price", "priceRelative")

SIGNALS: Final = (
    KnownSignal("SIMPLE", ("level",), values="0, 1, 2 or 3"),
    KnownSignal("ELECTRICITY_PRICE", _PRICES, ("currencyPerKWh",)),
    KnownSignal("ELECTRICITY_PRICE", ("priceMultiplier",)),
    KnownSignal("ENERGY_PRICE", _PRICES, ("currencyPerKWh",)),
    KnownSignal("ENERGY_PRICE", ("priceMultiplier",)),
    KnownSignal("DEMAND_CHARGE", _PRICES, ("currencyPerKW",)),
    KnownSignal("DEMAND_CHARGE", ("priceMultiplier",)),
    KnownSignal("BID_PRICE", ("price",), ("currency",)),
    KnownSignal("BID_LOAD", ("setpoint",), _POWER),
    KnownSignal("BID_ENERGY", ("setpoint",), _ENERGY),
    KnownSignal("CHARGE_STATE", ("setpoint", "delta"), _ENERGY),
    KnownSignal("CHARGE_STATE", ("multiplier",), values="0.0 to 1.0"),
    KnownSignal("LOAD_DISPATCH", ("setpoint", "delta"), _POWER),
    KnownSignal("LOAD_DISPATCH", ("multiplier",)),
    KnownSignal("LOAD_DISPATCH", ("level",), _POWER, "a whole number from -10 to 10"),
    KnownSignal("LOAD_CONTROL", ("x-loadControlCapacity",), values="0.0 to 1.0"),
    KnownSignal("LOAD_CONTROL", ("x-loadControlLevelOffset",), values="a whole number"),
    KnownSignal("LOAD_CONTROL", ("x-loadControlSetpoint",)),
    KnownSignal("LOAD_CONTROL", ("x-loadControlPercentOffset",)),
)
"""The well-known signals. Names that begin with `x-` are a deployment's own (GN-14)."""

CODES: Final = (
    ResponseCode(200, "done", "the request was understood and carried out"),
    ResponseCode(450, "out of sequence", "a modificationNumber below the present one, uids in the wrong order"),
    ResponseCode(451, "not allowed", "a change of what has passed"),
    ResponseCode(
        452, "wrong id", "a foreign venID, vtnID, eventID, optID, requestID, registrationID or id of a report"
    ),
    ResponseCode(453, "not recognised", "a reportName or signalName that nobody knows"),
    ResponseCode(454, "invalid data", "a value out of its range, more data than is offered"),
    ResponseCode(459, "another breach of the protocol", "content that is missing, a payload of the wrong type"),
    ResponseCode(460, "signal not supported", "a signal that is known, with a type and unit that are not supported"),
    ResponseCode(461, "report not supported", "a report that is known and not offered"),
    ResponseCode(462, "target mismatch", "a target or market context that means nothing here"),
    ResponseCode(463, "not registered, or not authorised", "an unknown VEN, a certificate of another venID"),
    ResponseCode(469, "another fault of the deployment", "a signal that cannot be traced to one resource"),
)
"""The response codes in use. 455 to 458 and 464 to 468 are reserved: nobody sends them."""

DEVICE_CLASSES: Final = (
    "Thermostat",
    "Strip_Heater",
    "Baseboard_Heater",
    "Water_Heater",
    "Pool_Pump",
    "Sauna",
    "Hot_tub",
    "Smart_Appliance",
    "Irrigation_Pump",
    "Managed_Commercial_and_Industrial_Loads",
    "Simple_Residential_On_Off_Loads",
    "Exterior_Lighting",
    "Interior_Lighting",
    "Electric_Vehicle",
    "Generation_Systems",
    "Load_Control_Switch",
    "Smart_Inverter",
    "EVSE",
    "RESU",
    "Energy_Management_System",
    "Smart_Energy_Module",
    "Storage",
)
"""The classes that an endDeviceAsset may name (EV-31, OP-11, RP-09), beside those that begin with `x-`."""
