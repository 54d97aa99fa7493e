"""What the targets of events can mean here: the `targets` of a household file, and whether an eiTarget names them."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field

from openadr.model.area import corners_of, surround
from openadr.model.target import AREAS, Grid, Target

_MOST: Final = 100
_MOST_AREAS: Final = 100
_MOST_TEXT: Final = 100_000
"""As many characters of areas are read in a target: some five thousand corners, more than any grid area needs."""

Name = Annotated[str, Field(min_length=1, max_length=200)]


class Location(BaseModel):
    """A place on the map, WGS 84."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    latitude: float = Field(ge=-90, le=90, description="Degrees north.")
    longitude: float = Field(ge=-180, le=180, description="Degrees east.")


class Transport(BaseModel):
    """A transport interface: the two nodes that it joins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receipt: Name = Field(description="Its pointOfReceipt.")
    delivery: Name = Field(description="Its pointOfDelivery.")


class Targets(BaseModel):
    """By what else than an id an event's target can mean this household, or a resource of it (EV-67)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    groups: tuple[Name, ...] = Field((), max_length=_MOST, description="Its groups, by groupID or groupName.")
    parties: tuple[Name, ...] = Field((), max_length=_MOST, description="Its parties, by partyID.")
    aggregated_pnodes: tuple[Name, ...] = Field(
        (), max_length=_MOST, description="Aggregated pricing nodes, such as its load zone or control area."
    )
    pnodes: tuple[Name, ...] = Field((), max_length=_MOST, description="Pricing nodes.")
    delivery_points: tuple[Name, ...] = Field((), max_length=_MOST, description="Service delivery points.")
    meters: tuple[Name, ...] = Field((), max_length=_MOST, description="The mRIDs of its meters (meterAsset).")
    transports: tuple[Transport, ...] = Field((), max_length=_MOST, description="Transport interfaces.")
    location: Location | None = Field(
        None, description="Where it stands: what lies in the serviceArea or serviceLocation of a target is meant."
    )


def names(target: Target, ours: Targets) -> bool:
    """Tell whether one criterion of an eiTarget is ours (EV-67). Ids are compared byte for byte (GN-09)."""
    if not {*ours.groups}.isdisjoint((*target.group_ids, *target.group_names)):
        return True
    if not {*ours.parties}.isdisjoint(target.party_ids):
        return True
    if not {*_grid(ours)}.isdisjoint(target.other):
        return True
    return ours.location is not None and _holds(target, ours.location)


def _grid(ours: Targets) -> Iterator[tuple[str, str]]:
    """Yield our places in the grid as a target writes them."""
    for criterion, texts in (
        (Grid.AGGREGATED_PNODE, ours.aggregated_pnodes),
        (Grid.PNODE, ours.pnodes),
        (Grid.SERVICE_DELIVERY_POINT, ours.delivery_points),
        (Grid.METER_ASSET, ours.meters),
        (Grid.TRANSPORT_INTERFACE, (f"{each.receipt}\n{each.delivery}" for each in ours.transports)),
    ):
        yield from ((criterion.value, text) for text in texts)


def _holds(target: Target, location: Location) -> bool:
    """Tell whether a location lies in an area of the target; what exceeds all sense is not read."""
    left, here = _MOST_TEXT, (location.latitude, location.longitude)
    for text in islice((text for criterion, text in target.other if criterion in AREAS), _MOST_AREAS):
        left -= len(text)
        if left < 0:
            return False
        if surround(corners_of(text), here):
            return True
    return False
