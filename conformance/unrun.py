"""The rules for VTNs that have no check, and why: a black box cannot see them, or the kit does not play them yet."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_XMPP: Final = "not built: the kit does not speak XMPP"

UNRUN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "EV-28": "nothing to see: the specification leaves it open",
        "EV-37": "not observable: it is about what a baseline means, not about messages",
        "EV-38": "nothing to see: it allows something",
        "EV-39": "nothing to see: what happens where events overlap is not defined",
        "EV-55": "not observable: a VTN gets no events",
        "OP-17": "nothing to see: it is left to each programme",
        "RP-10": "not observable: it is about what values mean, not about messages",
        "RP-47": "not observable: nobody can have a VTN's values stand still",
        "XM-01": _XMPP,
        "XM-02": _XMPP,
        "XM-03": _XMPP,
        "XM-06": _XMPP,
        "XM-07": _XMPP,
        "XM-08": _XMPP,
        "XM-09": _XMPP,
    }
)
