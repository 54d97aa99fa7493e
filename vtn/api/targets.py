"""Targets of events as the operator API writes them: whom an event is for, in the words of the VENs that get it."""

from collections.abc import Sequence
from typing import Annotated, Self

from pydantic import Field

from openadr.model.area import corners_of, ring_text
from openadr.model.target import Grid, Target
from vtn.api.fields import Printable
from web.model import Model

_Id = Annotated[Printable, Field(min_length=1, max_length=200)]
Ids = Annotated[list[_Id], Field(max_length=100)]


class Corner(Model):
    """A place on the map, WGS 84."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]


class TransportInterface(Model):
    """The two nodes that a transport interface joins."""

    receipt: _Id
    delivery: _Id


Areas = Annotated[list[Annotated[list[Corner], Field(min_length=3, max_length=250)]], Field(max_length=10)]
"""Areas on the map, each by its corners in order; the last is joined to the first."""


class EventTarget(Model):
    """Whom an event is for (eiTarget): one criterion that a VEN belongs to is enough (EV-67).

    VENs know what they belong to by their own settings, not by the groups and areas of this server.
    """

    group_ids: Ids = Field(default_factory=list)
    group_names: Ids = Field(default_factory=list)
    party_ids: Ids = Field(default_factory=list)
    device_classes: Annotated[list[_Id], Field(max_length=20)] = Field(default_factory=list)
    """End-device classes (endDeviceAsset)."""
    aggregated_pnodes: Ids = Field(default_factory=list)
    """Aggregated pricing nodes, such as load zones and control areas."""
    pnodes: Ids = Field(default_factory=list)
    delivery_points: Ids = Field(default_factory=list)
    """serviceDeliveryPoint."""
    meters: Ids = Field(default_factory=list)
    """mRIDs of meters (meterAsset)."""
    transports: Annotated[list[TransportInterface], Field(max_length=100)] = Field(default_factory=list)
    service_areas: Areas = Field(default_factory=list)
    service_locations: Areas = Field(default_factory=list)

    def value(self, resource_ids: Sequence[str] = ()) -> Target:
        """Return the target, which names these resources, too. Raises InvalidError for what is no area."""
        grid = (
            (Grid.AGGREGATED_PNODE, self.aggregated_pnodes),
            (Grid.METER_ASSET, self.meters),
            (Grid.PNODE, self.pnodes),
            (Grid.SERVICE_AREA, map(_ring, self.service_areas)),
            (Grid.SERVICE_DELIVERY_POINT, self.delivery_points),
            (Grid.SERVICE_LOCATION, map(_ring, self.service_locations)),
            (Grid.TRANSPORT_INTERFACE, (f"{each.receipt}\n{each.delivery}" for each in self.transports)),
        )
        return Target(
            resource_ids=tuple(resource_ids),
            group_ids=tuple(self.group_ids),
            group_names=tuple(self.group_names),
            party_ids=tuple(self.party_ids),
            device_classes=tuple(self.device_classes),
            other=tuple((criterion.value, text) for criterion, texts in grid for text in texts),
        )

    @classmethod
    def shown(cls, target: Target) -> Self:
        """Return a target as the API shows it; its resources stand elsewhere."""

        def texts(criterion: Grid) -> list[str]:
            return [text for name, text in target.other if name == criterion]

        return cls(
            group_ids=list(target.group_ids),
            group_names=list(target.group_names),
            party_ids=list(target.party_ids),
            device_classes=list(target.device_classes),
            aggregated_pnodes=texts(Grid.AGGREGATED_PNODE),
            pnodes=texts(Grid.PNODE),
            delivery_points=texts(Grid.SERVICE_DELIVERY_POINT),
            meters=texts(Grid.METER_ASSET),
            transports=[_transport(text) for text in texts(Grid.TRANSPORT_INTERFACE)],
            service_areas=[_corners(text) for text in texts(Grid.SERVICE_AREA)],
            service_locations=[_corners(text) for text in texts(Grid.SERVICE_LOCATION)],
        )


def _ring(corners: Sequence[Corner]) -> str:
    return ring_text([(corner.latitude, corner.longitude) for corner in corners])


def _corners(text: str) -> list[Corner]:
    return [Corner(latitude=latitude, longitude=longitude) for latitude, longitude in corners_of(text)]


def _transport(text: str) -> TransportInterface:
    receipt, _, delivery = text.partition("\n")
    return TransportInterface(receipt=receipt, delivery=delivery)
