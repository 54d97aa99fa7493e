"""`--target KIND=VALUE`: whom an event names that it is for, as people type it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from core.errors import InvalidError

_LISTS: Final = {
    "group": "group_ids",
    "group-name": "group_names",
    "party": "party_ids",
    "device-class": "device_classes",
    "aggregated-pnode": "aggregated_pnodes",
    "pnode": "pnodes",
    "delivery-point": "delivery_points",
    "meter": "meters",
}
_AREAS: Final = {"service-area": "service_areas", "service-location": "service_locations"}
_RESOURCE: Final = "resource"
_TRANSPORT: Final = "transport"
KINDS: Final = (_RESOURCE, *_LISTS, _TRANSPORT, *_AREAS)
HELP: Final = (
    "What the event names that it is for, KIND=VALUE; repeatable, and one that a VEN belongs to is enough. Kinds: "
    f"{', '.join(KINDS)}. A transport is RECEIPT>DELIVERY, an area its corners: LAT,LON LAT,LON LAT,LON."
)


def target_fields(texts: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a new dispatch that say whom its events are for. Raises InvalidError, naming the mistake."""
    resources: list[str] = []
    target: dict[str, list[Any]] = {}
    for text in texts:
        kind, equals, value = text.partition("=")
        if not equals or not value:
            raise InvalidError(f"--target is KIND=VALUE, not '{text[:80]}'.")
        if kind == _RESOURCE:
            resources.append(value)
        elif kind in _LISTS:
            target.setdefault(_LISTS[kind], []).append(value)
        elif kind in _AREAS:
            target.setdefault(_AREAS[kind], []).append([_corner(part) for part in value.split()])
        elif kind == _TRANSPORT:
            receipt, _, delivery = value.partition(">")
            if not receipt or not delivery:
                raise InvalidError(
                    f"A transport is RECEIPT>DELIVERY, not '{value[:80]}'; put it in quotes for the shell."
                )
            target.setdefault("transports", []).append({"receipt": receipt, "delivery": delivery})
        else:
            raise InvalidError(f"'{kind[:40]}' is no kind of target; there are {', '.join(KINDS)}.")
    return {"resource_ids": resources, "target": target}


def _corner(text: str) -> dict[str, float]:
    latitude, _, longitude = text.partition(",")
    try:
        corner = {"latitude": float(latitude), "longitude": float(longitude)}
    except ValueError:
        raise InvalidError(f"A corner is LAT,LON such as 59.33,18.06, not '{text[:40]}'.") from None
    if not (abs(corner["latitude"]) <= 90 and abs(corner["longitude"]) <= 180):  # noqa: PLR2004  NaN is neither
        raise InvalidError(
            f"'{text[:40]}' is no place on the map: latitude is within 90 degrees, longitude within 180."
        )
    return corner


def target_words(dispatch: Mapping[str, Any]) -> str:
    """Return whom the events of a dispatch name, in the words of `--target`; empty where they name their VEN only."""
    target = dispatch["target"]
    words = [f"{_RESOURCE}={value}" for value in dispatch["resource_ids"]]
    words += [f"{kind}={value}" for kind, name in _LISTS.items() for value in target[name]]
    words += [f"{_TRANSPORT}={each['receipt']}>{each['delivery']}" for each in target["transports"]]
    words += [f"{kind} of {len(corners)} corners" for kind, name in _AREAS.items() for corners in target[name]]
    return ", ".join(words)
