"""The checks, one a rule, by chapter of the catalogue. Each says in its name and first line what the rule asks."""

from typing import Final

from conformance.check import Check
from conformance.checks import (
    event_answers,
    event_content,
    event_life,
    general,
    opts,
    polling,
    profile_a,
    push,
    registration,
    reports,
    security,
    signatures,
    transport,
    vtn_reports,
)

CHECKS: Final[tuple[Check, ...]] = (
    *transport.CHECKS,
    *general.CHECKS,
    *registration.CHECKS,
    *polling.CHECKS,
    *event_content.CHECKS,
    *event_life.CHECKS,
    *event_answers.CHECKS,
    *reports.CHECKS,
    *vtn_reports.CHECKS,
    *opts.CHECKS,
    *profile_a.CHECKS,
    *push.CHECKS,
    *security.CHECKS,
    *signatures.CHECKS,
)
