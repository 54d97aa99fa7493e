"""Devices of several switches alike, such as a relay with two channels: each channel is a device here."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Final

from bridges.discovery.homeassistant_capabilities import SWITCHING
from bridges.discovery.homeassistant_messages import Entity, words

_CHANNELS: Final = frozenset(words("l left right top bottom center middle a b c d"))
_LONGEST: Final = 2
"""Words by which channels differ: `2`, `left`, `l1`."""


def split(group: Sequence[Entity]) -> tuple[list[Entity], dict[str, list[Entity]]]:
    """Return a device's entities that belong to none of its channels, and those of each, without its name in theirs."""
    switches = [entity for entity in group if _switches(entity)]
    if len(switches) < 2:  # noqa: PLR2004  one switch is no channel
        return list(group), {}
    named = [words(entity.object_id) for entity in switches]
    before = _shared(named)
    after = _shared([name[before:][::-1] for name in named])
    common = [name[:before] + name[len(name) - after :] for name in named]
    own = [tuple(name[before : len(name) - after]) for name in named]
    if len(set(own)) < len(own) or not all(_is_channel(channel) for channel in own):
        return list(group), {}
    if not any(word in SWITCHING for word in common[0]):
        return list(group), {}
    channels: dict[str, list[Entity]] = {"".join(channel): [] for channel in own}
    rest = []
    for entity in group:
        channel = next((channel for channel in own if _belongs(entity, channel)), None)
        if channel is None:
            rest.append(entity)
        else:
            channels["".join(channel)].append(_without(entity, channel))
    return rest, channels


def _switches(entity: Entity) -> bool:
    """Tell whether an entity is a switch whose name says no more than that, and of which channel."""
    plain = SWITCHING | _CHANNELS | set(words(entity.device, entity.device_name))
    return (
        entity.component == "switch"
        and entity.options.get("entity_category") is None
        and all(word in plain or word.isdecimal() for word in words(entity.object_id))
    )


def _shared(names: list[list[str]]) -> int:
    """Return how many words all names begin with."""
    return sum(1 for _ in takewhile(lambda column: len(set(column)) == 1, zip(*names, strict=False)))


def _is_channel(channel: tuple[str, ...]) -> bool:
    return 0 < len(channel) <= _LONGEST and all(word in _CHANNELS or word.isdecimal() for word in channel)


def _belongs(entity: Entity, channel: tuple[str, ...]) -> bool:
    name = tuple(words(entity.object_id))
    return len(name) > len(channel) and channel in (name[: len(channel)], name[-len(channel) :])


def _without(entity: Entity, channel: tuple[str, ...]) -> Entity:
    """Return an entity whose names do not say its channel, which would be taken for a phase."""
    ids = words(entity.object_id)
    ids = ids[len(channel) :] if tuple(ids[: len(channel)]) == channel else ids[: -len(channel)]
    name = words(entity.name)
    said = tuple(name[-len(channel) :]) == channel
    return replace(entity, object_id="_".join(ids), name=" ".join(name[: -len(channel)]) if said else entity.name)
