"""What the access tokens of BRPs can be made for."""

from collections.abc import Mapping
from typing import Final

SCOPES: Final[Mapping[str, str]] = {
    "flex:read": "See potential, baseline, requests, offers and activations.",
    "flex:request": "Ask for flexibility, nominate a baseline.",
    "flex:order": "Accept offers; order, change and cancel activations.",
    "report:read": "Read activation reports and settlements.",
    "tariff:read": "Read tariffs.",
    "tariff:write": "Publish prices.",
    "webhook:manage": "Say where messages go.",
}
"""Scope -> what it allows."""
