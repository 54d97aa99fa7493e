"""What the aggregator adds to the operator API: one module a noun, all operations in OPERATIONS."""

from aggregator.api import (
    activations,
    brps,
    contracts,
    home_reports,
    offers,
    season,
    selections,
    statements,
    tariffs,
    webhooks,
)

OPERATIONS = (
    *brps.OPERATIONS,
    *contracts.OPERATIONS,
    *offers.OPERATIONS,
    *activations.OPERATIONS,
    *statements.OPERATIONS,
    *selections.OPERATIONS,
    *season.OPERATIONS,
    *home_reports.OPERATIONS,
    *tariffs.OPERATIONS,
    *webhooks.OPERATIONS,
)

__all__ = ["OPERATIONS"]
