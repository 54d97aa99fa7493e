"""What BRPs can hear of by webhooks (`vtn.services.webhooks`)."""

from enum import StrEnum


class Topic(StrEnum):
    """What a subscription can name; an empty list means all, `request.*` all of a family."""

    REQUEST_RECEIVED = "request.received"
    REQUEST_OFFERED = "request.offered"
    REQUEST_DECLINED = "request.declined"
    REQUEST_EXPIRED = "request.expired"
    REQUEST_CANCELLED = "request.cancelled"
    OFFER_CREATED = "offer.created"
    OFFER_ACCEPTED = "offer.accepted"
    OFFER_EXPIRED = "offer.expired"
    OFFER_REVOKED = "offer.revoked"
    ACTIVATION_SCHEDULED = "activation.scheduled"
    ACTIVATION_NOTIFIED = "activation.notified"
    ACTIVATION_SHORT = "activation.short"
    ACTIVATION_STARTED = "activation.started"
    ACTIVATION_MODIFIED = "activation.modified"
    ACTIVATION_COMPLETED = "activation.completed"
    ACTIVATION_CANCELLED = "activation.cancelled"
    REPORT_PUBLISHED = "report.published"
    SETTLEMENT_PUBLISHED = "settlement.published"
    STATEMENT_CREATED = "statement.created"
    POTENTIAL_CHANGED = "potential.changed"
