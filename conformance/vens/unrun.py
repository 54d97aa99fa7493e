"""The rules for VENs that have no check, and why: the wire does not show them, or the kit does not play them yet."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_XMPP: Final = "not built: the kit does not speak XMPP"
_DEVICES: Final = "not observable: it shows at the devices only"
_VTNS: Final = "nothing to see: a VEN asks for no reports, and gets none"

UNRUN: Final[Mapping[str, str]] = MappingProxyType(
    {
        "EV-39": "nothing to see: what happens where events overlap is not defined",
        "EV-62": _DEVICES,
        "EV-63": _DEVICES,
        "EV-64": _DEVICES,
        "EV-65": _DEVICES,
        "EV-69": "nothing to see: it allows something",
        "EV-71": "nothing to compare: how far clocks may differ is for the deployment to say",
        "OP-17": "nothing to see: it is left to each deployment",
        "RP-10": "not observable: it is a matter of meaning",
        "RP-21": _VTNS,
        "RP-22": _VTNS,
        "RP-23": _VTNS,
        "RP-26": _VTNS,
        "RP-43": "not observable: whether a value is of a time or of a point shows in no message",
        "RP-47": "not observable: nobody can have a VEN's values stand still",
        "RP-52": _VTNS,
        "RP-53": _VTNS,
        "RP-54": "nothing to see: a VEN chooses its own rIDs",
        "RP-55": _VTNS,
        "TR-09": "nothing to see: a pull VEN gets no requests",
        "TR-14": "nothing to see: it is about whom a VTN calls",
        "SE-06": "not observable: a VEN shows its fingerprint to people",
        "XM-01": _XMPP,
        "XM-02": _XMPP,
        "XM-03": _XMPP,
        "XM-04": _XMPP,
        "XM-05": _XMPP,
        "XM-06": _XMPP,
        "XM-07": _XMPP,
        "XM-08": _XMPP,
        "PA-06": "nothing to see: it allows something",
    }
)
