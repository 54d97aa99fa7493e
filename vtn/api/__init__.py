"""The operator API: one module a noun, all operations in OPERATIONS."""

from vtn.api import (
    agreed_baselines,
    certificates,
    dispatches,
    fleet,
    holidays,
    messages,
    meter_data,
    outages,
    potential,
    principals,
    programme_templates,
    programmes,
    reports,
    settlement,
    system,
    temperatures,
    vens,
    workings,
)
from vtn.api.desk import DESK, Desk

OPERATIONS = (
    *vens.OPERATIONS,
    *fleet.OPERATIONS,
    *messages.OPERATIONS,
    *potential.OPERATIONS,
    *certificates.OPERATIONS,
    *programme_templates.OPERATIONS,
    *programmes.OPERATIONS,
    *holidays.OPERATIONS,
    *outages.OPERATIONS,
    *meter_data.OPERATIONS,
    *agreed_baselines.OPERATIONS,
    *temperatures.OPERATIONS,
    *dispatches.OPERATIONS,
    *workings.OPERATIONS,
    *reports.OPERATIONS,
    *settlement.OPERATIONS,
    *principals.OPERATIONS,
    *system.OPERATIONS,
)

__all__ = ["DESK", "OPERATIONS", "Desk"]
