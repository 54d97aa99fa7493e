"""What the access tokens of BRPs can be made for."""

from collections.abc import Mapping
from typing import Final

from web.pages.translations import N_

SCOPES: Final[Mapping[str, str]] = {
    "flex:read": N_("See potential, baseline, requests, offers and activations."),
    "flex:request": N_("Request flexibility and nominate a baseline."),
    "flex:order": N_("Accept offers; order, change and cancel activations."),
    "report:read": N_("Read activation reports and settlements."),
    "tariff:read": N_("Read tariffs."),
    "tariff:write": N_("Publish prices."),
    "webhook:manage": N_("Manage webhooks."),
}
"""Scope -> what it allows."""
