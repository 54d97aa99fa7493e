"""The bodies of webhooks: one envelope, and for each topic what it is about."""

from typing import Annotated, Any, Final, Generic, TypeVar

from pydantic import Field, TypeAdapter

from aggregator.brp_api.values import ULID
from aggregator.topics import Topic
from core.direction import Direction
from vtn.services.webhooks import TEST_EVENT
from web.model import Model, UtcTime
from web.openapi import Webhook

About = TypeVar("About", bound=Model)


class Message(Model, Generic[About]):
    """What is sent: three headers name and sign it.

    `webhook-id` is the same at every try; `webhook-timestamp` are seconds since 1970; `webhook-signature` is `v1,` and
    the base64 of the HMAC-SHA-256 over `{id}.{timestamp}.{body}` under the secret (the base64 after `whsec_`).
    """

    type: str
    timestamp: UtcTime
    """When it happened, in the world's time."""
    data: About
    """What it is about."""


class AboutRequest(Model):
    """A request for flexibility, as it was received or what became of it."""

    request_id: str
    reason: str | None = None
    possible_w: list[int] | None = None
    """What would be possible in each interval, where it was declined for too much."""


class AboutOfferedRequest(AboutRequest):
    """A request that got an offer."""

    offer_id: str


class AboutOffer(Model):
    """An offer."""

    offer_id: str
    request_id: str | None
    """The request that it answers; null where the operator offered by himself."""


class AboutCreatedOffer(AboutOffer):
    """A new offer."""

    expires_at: UtcTime


class AboutAcceptedOffer(AboutOffer):
    """An offer that was accepted."""

    option_id: str
    """Which of its options."""


class AboutActivation(Model):
    """An activation."""

    activation_id: str


class AboutScheduledActivation(AboutActivation):
    """A new activation."""

    offer_id: str | None
    starts_at: UtcTime
    ends_at: UtcTime


class AboutCalledActivation(AboutActivation):
    """An activation whose homes have been called."""

    called: int
    """How many homes."""
    dispatch_id: str | None


class AboutShortActivation(AboutActivation):
    """An activation of which less is to be expected than was bought, while there is time to buy elsewhere."""

    starts_at: UtcTime
    called: int
    """How many homes are called; 0: none can be."""
    expected_w: int
    """The least power that is expected of any interval."""
    short_w: int
    """The most that any interval lacks."""


class AboutModifiedActivation(AboutActivation):
    """An activation that was changed."""

    modification_number: int


class AboutCancelledActivation(AboutActivation):
    """An activation that was ended early."""

    reason: str | None


class AboutReport(Model):
    """A version of a report."""

    activation_id: str
    version: int
    final: bool


class AboutSettlement(Model):
    """A settlement."""

    settlement_id: str
    activation_id: str
    final: bool


class AboutStatement(Model):
    """A new version of the statement of a month."""

    statement_id: str
    contract_id: str
    month: str
    version: int
    final: bool


class AboutPotential(Model):
    """What a pool could do in the next hours, when that has changed by much."""

    contract_id: str
    direction: Direction
    area: str | None
    from_: Annotated[UtcTime, Field(alias="from")]
    until: UtcTime
    p10_w: int
    """The power that it has nine times out of ten, the mean of the span."""


class AboutSubscription(Model):
    """A subscription that is tried out."""

    subscription_id: str


BODIES: Final[dict[str, TypeAdapter[Any]]] = {
    **{
        topic.value: TypeAdapter(Message[AboutRequest])
        for topic in (
            Topic.REQUEST_RECEIVED,
            Topic.REQUEST_DECLINED,
            Topic.REQUEST_EXPIRED,
            Topic.REQUEST_CANCELLED,
        )
    },
    Topic.REQUEST_OFFERED.value: TypeAdapter(Message[AboutOfferedRequest]),
    Topic.OFFER_CREATED.value: TypeAdapter(Message[AboutCreatedOffer]),
    Topic.OFFER_ACCEPTED.value: TypeAdapter(Message[AboutAcceptedOffer]),
    Topic.OFFER_EXPIRED.value: TypeAdapter(Message[AboutOffer]),
    Topic.OFFER_REVOKED.value: TypeAdapter(Message[AboutOffer]),
    Topic.ACTIVATION_SCHEDULED.value: TypeAdapter(Message[AboutScheduledActivation]),
    Topic.ACTIVATION_NOTIFIED.value: TypeAdapter(Message[AboutCalledActivation]),
    Topic.ACTIVATION_SHORT.value: TypeAdapter(Message[AboutShortActivation]),
    Topic.ACTIVATION_STARTED.value: TypeAdapter(Message[AboutActivation]),
    Topic.ACTIVATION_MODIFIED.value: TypeAdapter(Message[AboutModifiedActivation]),
    Topic.ACTIVATION_COMPLETED.value: TypeAdapter(Message[AboutActivation]),
    Topic.ACTIVATION_CANCELLED.value: TypeAdapter(Message[AboutCancelledActivation]),
    Topic.REPORT_PUBLISHED.value: TypeAdapter(Message[AboutReport]),
    Topic.SETTLEMENT_PUBLISHED.value: TypeAdapter(Message[AboutSettlement]),
    Topic.STATEMENT_CREATED.value: TypeAdapter(Message[AboutStatement]),
    Topic.POTENTIAL_CHANGED.value: TypeAdapter(Message[AboutPotential]),
    TEST_EVENT: TypeAdapter(Message[AboutSubscription]),
}
"""What is sent of each topic."""

_NOON: Final = "2026-01-31T12:00:00Z"
_OFFER: Final = {"offer_id": f"fof_{ULID}", "request_id": f"frq_{ULID}"}
_ACTIVATION: Final = {"activation_id": f"act_{ULID}"}
_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "request": {"request_id": f"frq_{ULID}"},
    Topic.REQUEST_OFFERED: _OFFER,
    "offer": _OFFER,
    Topic.OFFER_CREATED: _OFFER | {"expires_at": "2026-01-31T14:00:00Z"},
    Topic.OFFER_ACCEPTED: _OFFER | {"option_id": "o1"},
    "activation": _ACTIVATION,
    Topic.ACTIVATION_SCHEDULED: _ACTIVATION
    | {"offer_id": f"fof_{ULID}", "starts_at": "2026-01-31T17:00:00Z", "ends_at": "2026-01-31T18:00:00Z"},
    Topic.ACTIVATION_NOTIFIED: _ACTIVATION | {"called": 42, "dispatch_id": f"dsp_{ULID}"},
    Topic.ACTIVATION_SHORT: _ACTIVATION
    | {"starts_at": "2026-01-31T17:00:00Z", "called": 42, "expected_w": 61_000, "short_w": 22_200},
    Topic.ACTIVATION_MODIFIED: _ACTIVATION | {"modification_number": 1},
    Topic.ACTIVATION_CANCELLED: _ACTIVATION | {"reason": "The line is back."},
    "report": _ACTIVATION | {"version": 1, "final": False},
    "settlement": _ACTIVATION | {"settlement_id": f"stl_{ULID}", "final": False},
    "statement": {
        "statement_id": f"stm_{ULID}",
        "contract_id": f"ctr_{ULID}",
        "month": "2026-01",
        "version": 1,
        "final": False,
    },
    "potential": {
        "contract_id": f"ctr_{ULID}",
        "direction": "reduce",
        "area": None,
        "from": _NOON,
        "until": "2026-01-31T14:00:00Z",
        "p10_w": 104_000,
    },
    "webhook": {"subscription_id": f"whs_{ULID}"},
}


def _webhook(kind: str) -> Webhook:
    data = _EXAMPLES.get(kind) or _EXAMPLES[kind.partition(".")[0]]
    return Webhook(kind, f"Sent as {kind}", BODIES[kind], {"type": kind, "timestamp": _NOON, "data": data})


WEBHOOKS: Final = tuple(_webhook(kind) for kind in BODIES)
"""The messages, for the document."""
