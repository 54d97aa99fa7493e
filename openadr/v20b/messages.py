"""The 23 messages of OpenADR 2.0b as values: what stands in an oadrSignedObject.

One class a message, named as its element without `oadr`. Fields are version-neutral values of `openadr.model` where
they carry meaning, plain text where they are ids. `decode` and `encode` turn them from and to bytes.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from openadr.model.event import DeliveredEvent, ResponseRequired
from openadr.model.opt import Opt, OptType
from openadr.model.registration import VenProfile, VtnProfile
from openadr.model.report import Report, ReportOffer, ReportRequest
from openadr.v20b.codes import Code

SCHEMA_VERSION = "2.0b"


def is_ok(code: int) -> bool:
    """Return whether a response code says success."""
    return 200 <= code < 300  # noqa: PLR2004


@dataclass(frozen=True, slots=True)
class Response:
    """An eiResponse. `code` is an int, because peers send codes that we do not know."""

    code: int = Code.OK
    description: str | None = None
    request_id: str = ""

    @property
    def ok(self) -> bool:
        """Whether the code says success."""
        return is_ok(self.code)


@dataclass(frozen=True, slots=True)
class EventResponse:
    """One eventResponse of an oadrCreatedEvent. `request_id` is that of the oadrDistributeEvent (EV-44)."""

    event_id: str
    modification_number: int
    opt_type: OptType
    request_id: str
    code: int = Code.OK
    description: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the code says success."""
        return is_ok(self.code)


# -- EiEvent


@dataclass(frozen=True, slots=True)
class UnreadableEvent:
    """An event of a delivery whose id can be read, but not what it says: it must not spoil the others (EV-53)."""

    event_id: str
    modification_number: int
    response_required: ResponseRequired
    why: str


@dataclass(frozen=True, slots=True)
class DistributeEvent:
    """VTN to VEN: every event of that VEN (EV-15). `response` is absent in push (EV-19).

    `unreadable` are only ever read, never written.
    """

    vtn_id: str
    request_id: str
    events: tuple[DeliveredEvent, ...] = ()
    response: Response | None = None
    unreadable: tuple[UnreadableEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedEvent:
    """VEN to VTN: its answers to events (EV-42..EV-44)."""

    ven_id: str
    response: Response = field(default_factory=Response)
    event_responses: tuple[EventResponse, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestEvent:
    """VEN to VTN: send me my events (EV-18)."""

    ven_id: str
    request_id: str
    reply_limit: int | None = None


@dataclass(frozen=True, slots=True)
class OadrResponse:
    """The general answer (oadrResponse)."""

    response: Response
    ven_id: str | None = None


# -- EiOpt


@dataclass(frozen=True, slots=True)
class CreateOpt:
    """VEN to VTN: an opt for an event, or an opt schedule (OP-02)."""

    ven_id: str
    request_id: str
    opt: Opt


@dataclass(frozen=True, slots=True)
class CreatedOpt:
    """Answer to oadrCreateOpt."""

    response: Response
    opt_id: str


@dataclass(frozen=True, slots=True)
class CancelOpt:
    """VEN to VTN: forget the schedules made with this optID (OP-04)."""

    ven_id: str
    request_id: str
    opt_id: str


@dataclass(frozen=True, slots=True)
class CanceledOpt:
    """Answer to oadrCancelOpt."""

    response: Response
    opt_id: str | None = None


# -- EiReport


@dataclass(frozen=True, slots=True)
class RegisterReport:
    """Both ways: everything that I can report (RP-02, RP-03). `report_request_id` as in RP-06."""

    request_id: str
    offers: tuple[ReportOffer, ...] = ()
    ven_id: str | None = None
    report_request_id: str | None = None


@dataclass(frozen=True, slots=True)
class RegisteredReport:
    """Answer to oadrRegisterReport; may carry requests (RP-13)."""

    response: Response
    requests: tuple[ReportRequest, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreateReport:
    """Both ways: please report this."""

    request_id: str
    requests: tuple[ReportRequest, ...]
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreatedReport:
    """Answer to oadrCreateReport, and to piggybacked requests (RP-31)."""

    response: Response
    pending: tuple[str, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """Both ways: the data."""

    request_id: str
    reports: tuple[Report, ...]
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelReport:
    """Both ways: stop these reports; also piggybacked inside oadrUpdatedReport (RP-60..RP-62)."""

    request_id: str
    report_request_ids: tuple[str, ...]
    report_to_follow: bool = False
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CanceledReport:
    """Answer to oadrCancelReport."""

    response: Response
    pending: tuple[str, ...] = ()
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class UpdatedReport:
    """Answer to oadrUpdateReport."""

    response: Response
    cancel: CancelReport | None = None
    ven_id: str | None = None


# -- EiRegisterParty


@dataclass(frozen=True, slots=True)
class QueryRegistration:
    """VEN to VTN: who are you, what do you speak?"""

    request_id: str


@dataclass(frozen=True, slots=True)
class CreatePartyRegistration:
    """VEN to VTN: register me; with ids: re-register me (RG-03, RG-06)."""

    request_id: str
    profile: VenProfile
    registration_id: str | None = None
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CreatedPartyRegistration:
    """Answer to a query or registration (RG-02, RG-05)."""

    response: Response
    vtn: VtnProfile
    registration_id: str | None = None
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CancelPartyRegistration:
    """Both ways: the registration is over (RG-10, RG-11)."""

    request_id: str
    registration_id: str
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class CanceledPartyRegistration:
    """Answer to oadrCancelPartyRegistration."""

    response: Response
    registration_id: str | None = None
    ven_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestReregistration:
    """VTN to VEN: register again (RG-09)."""

    ven_id: str


# -- OadrPoll


@dataclass(frozen=True, slots=True)
class Poll:
    """VEN to VTN: anything for me?"""

    ven_id: str


Message: TypeAlias = (
    DistributeEvent
    | CreatedEvent
    | RequestEvent
    | OadrResponse
    | CreateOpt
    | CreatedOpt
    | CancelOpt
    | CanceledOpt
    | RegisterReport
    | RegisteredReport
    | CreateReport
    | CreatedReport
    | UpdateReport
    | UpdatedReport
    | CancelReport
    | CanceledReport
    | QueryRegistration
    | CreatePartyRegistration
    | CreatedPartyRegistration
    | CancelPartyRegistration
    | CanceledPartyRegistration
    | RequestReregistration
    | Poll
)

SERVICES: dict[type[Message], str] = {
    RequestEvent: "EiEvent",
    CreatedEvent: "EiEvent",
    DistributeEvent: "EiEvent",
    CreateOpt: "EiOpt",
    CancelOpt: "EiOpt",
    RegisterReport: "EiReport",
    RegisteredReport: "EiReport",
    CreateReport: "EiReport",
    CreatedReport: "EiReport",
    UpdateReport: "EiReport",
    UpdatedReport: "EiReport",
    CancelReport: "EiReport",
    CanceledReport: "EiReport",
    QueryRegistration: "EiRegisterParty",
    CreatePartyRegistration: "EiRegisterParty",
    CancelPartyRegistration: "EiRegisterParty",
    CanceledPartyRegistration: "EiRegisterParty",
    RequestReregistration: "EiRegisterParty",
    OadrResponse: "EiRegisterParty",
    Poll: "OadrPoll",
}
"""The service (last part of the URL) to which a message is posted."""
