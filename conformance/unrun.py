"""The rules for VTNs that have no check, and why: a black box cannot see them, or the kit does not play them yet."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_XMPP: Final = "not built: the kit does not speak XMPP"
_OWN_REPORTS: Final = "not built: the kit does not ask a VTN for data of its own"

UNRUN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "EV-28": "nothing to see: the specification leaves it open",
        "EV-37": "not observable: it is about what a baseline means, not about messages",
        "EV-38": "nothing to see: it allows something",
        "EV-39": "nothing to see: what happens where events overlap is not defined",
        "EV-55": "not observable: a VTN gets no events",
        "OP-11": "not built: the kit sends no device classes in opts",
        "OP-17": "nothing to see: it is left to each programme",
        "RP-07": _OWN_REPORTS,
        "RP-08": _OWN_REPORTS,
        "RP-09": _OWN_REPORTS,
        "RP-10": _OWN_REPORTS,
        "RP-13": _OWN_REPORTS,
        "RP-24": _OWN_REPORTS,
        "RP-25": _OWN_REPORTS,
        "RP-28": _OWN_REPORTS,
        "RP-29": _OWN_REPORTS,
        "RP-30": _OWN_REPORTS,
        "RP-40": _OWN_REPORTS,
        "RP-41": _OWN_REPORTS,
        "RP-42": _OWN_REPORTS,
        "RP-43": _OWN_REPORTS,
        "RP-44": _OWN_REPORTS,
        "RP-45": _OWN_REPORTS,
        "RP-46": _OWN_REPORTS,
        "RP-47": _OWN_REPORTS,
        "RP-48": _OWN_REPORTS,
        "RP-49": _OWN_REPORTS,
        "RP-51": _OWN_REPORTS,
        "RP-61": _OWN_REPORTS,
        "XM-01": _XMPP,
        "XM-02": _XMPP,
        "XM-03": _XMPP,
        "XM-06": _XMPP,
        "XM-07": _XMPP,
        "XM-08": _XMPP,
        "XM-09": _XMPP,
    }
)
