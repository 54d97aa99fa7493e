"""Targets: whom an event, opt or report concerns."""

from dataclasses import dataclass
from enum import StrEnum

from core.errors import InvalidError

DEVICE_CLASSES = frozenset(
    {
        "Thermostat", "Strip_Heater", "Baseboard_Heater", "Water_Heater", "Pool_Pump", "Sauna", "Hot_tub",
        "Smart_Appliance", "Irrigation_Pump", "Managed_Commercial_and_Industrial_Loads",
        "Simple_Residential_On_Off_Loads", "Exterior_Lighting", "Interior_Lighting", "Electric_Vehicle",
        "Generation_Systems", "Load_Control_Switch", "Smart_Inverter", "EVSE", "RESU",
        "Energy_Management_System", "Smart_Energy_Module", "Storage",
    }
)  # fmt: skip
"""The end-device classes of conformance rule R111; `x-...` is allowed beside them."""


class Grid(StrEnum):
    """The criteria of an eiTarget that name a place in the grid or on the map, by element, in the schema's order."""

    AGGREGATED_PNODE = "aggregatedPnode"
    METER_ASSET = "meterAsset"
    PNODE = "pnode"
    SERVICE_AREA = "serviceArea"
    SERVICE_DELIVERY_POINT = "serviceDeliveryPoint"
    SERVICE_LOCATION = "serviceLocation"
    TRANSPORT_INTERFACE = "transportInterface"


AREAS = (Grid.SERVICE_AREA, Grid.SERVICE_LOCATION)
"""Those that are a ring of positions; see `openadr.model.area`."""


@dataclass(frozen=True, slots=True)
class Target:
    """The criteria of an eiTarget. Criteria are ORed; none at all means "the receiving VEN" (EV-67).

    `device_classes` are the mRIDs of endDeviceAsset elements. `other` are the `Grid` criteria, by their element: a
    node or an mRID, the numbers of a ring of positions, or for a transportInterface receipt and delivery on two lines.
    """

    ven_ids: tuple[str, ...] = ()
    resource_ids: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    party_ids: tuple[str, ...] = ()
    device_classes: tuple[str, ...] = ()
    other: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return any(
            (
                self.ven_ids,
                self.resource_ids,
                self.group_ids,
                self.group_names,
                self.party_ids,
                self.device_classes,
                self.other,
            )
        )


EVERYTHING = Target()


def check_device_classes(target: Target) -> None:
    """Raise InvalidError unless every device class is of the fixed list or `x-...` (EV-31, OP-11, RP-09)."""
    for name in target.device_classes:
        if name not in DEVICE_CLASSES and not (name.startswith("x-") and len(name) > len("x-")):
            raise InvalidError(f"'{name}' is no end-device class.")


def check_only_device_classes(target: Target) -> None:
    """Raise InvalidError if the target holds anything but valid device classes (EV-31: signal-level targets)."""
    if target != Target(device_classes=target.device_classes):
        raise InvalidError("This target may only hold endDeviceAsset device classes.")
    check_device_classes(target)
