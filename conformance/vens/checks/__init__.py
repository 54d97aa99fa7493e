"""The checks of VENs, one a rule, by chapter of the catalogue; the wire's stand with polling."""

from typing import Final

from conformance.check import Check
from conformance.vens.checks import (
    events,
    general,
    opts,
    polling,
    profile_a,
    registration,
    reports,
    security,
    signatures,
    spans,
)

CHECKS: Final[tuple[Check, ...]] = (
    *general.CHECKS,
    *registration.CHECKS,
    *polling.CHECKS,
    *events.CHECKS,
    *reports.CHECKS,
    *spans.CHECKS,
    *opts.CHECKS,
    *security.CHECKS,
    *signatures.CHECKS,
    *profile_a.CHECKS,
)
