"""The registration: asking, registering, re-registering, losing it."""

from dataclasses import dataclass
from typing import Final

from core.errors import ConflictError
from core.ids import new_id
from core.spans import Duration
from openadr.model.registration import VenProfile
from openadr.v20b.codes import Code
from openadr.v20b.messages import (
    CanceledPartyRegistration,
    CancelPartyRegistration,
    CreatedPartyRegistration,
    CreatePartyRegistration,
    Message,
    OadrResponse,
    QueryRegistration,
    RequestReregistration,
    Response,
)
from ven.engine.actions import Action, EventsChanged, Noted, Refused, Registered, Unregistered
from ven.engine.registration_states import TRANSITIONS, Phase, RegistrationEvent
from ven.memory import Memory
from ven.vtn_state import Registration

_IDS_UNKNOWN: Final = frozenset({Code.INVALID_ID, Code.NOT_REGISTERED})
_TOLD: Final = "registered as"
"""The fact: what the VTN was told of us at the last registration."""
_POLLS_UNSIGNED: Final = {"push_address": None, "xml_signature": False}
"""What was told by versions that did not keep it."""
_SECOND: Final = Duration.of(seconds=1)
_HOUR: Final = Duration.of(hours=1)


@dataclass(frozen=True, slots=True)
class VenSettings:
    """What this VEN knows of itself before it registers.

    `ven_id` and `vtn_id` come from enrolment; without them the VTN's word is taken. `poll` counts if the VTN names no
    frequency; `jitter` is the share of the poll period that is added at random (PL-10). A VTN's frequency is bounded
    by `shortest_poll` and `longest_poll`. `longest_wait_s` bounds each message's back-off, in machine time. `burst`
    messages may follow each other at once; in the long run it is one a second. `xml_signature`: messages are signed.
    `push_address` is where the VTN sends its messages; None: they are polled for.
    """

    ven_name: str
    poll: Duration
    jitter: float = 0.1
    query: bool = True
    ven_id: str | None = None
    vtn_id: str | None = None
    shortest_poll: Duration = _SECOND
    longest_poll: Duration = _HOUR
    longest_wait_s: float = 60.0
    burst: int = 20
    xml_signature: bool = False
    push_address: str | None = None


class Registrar:
    """The state of one VEN's registration; what is confirmed lies in its memory."""

    def __init__(self, memory: Memory, settings: VenSettings) -> None:
        self._memory = memory
        self._settings = settings
        self.phase = Phase.ASKING
        self.registration: Registration | None = None
        self.comes_back = False
        """Whether an ended registration is asked for again: not if it was this VEN that ended it."""
        self.offer_due = True
        """Whether the VTN has to be told what can be reported."""
        self.sync_due = True
        """Whether all events have to be asked for (PL-09); a re-registration in between changes nothing about it."""
        self._reregister = False
        """Whether to register again once an oadrResponse is out (RG-09)."""

    def start(self, *, offers_known: bool) -> None:
        """Read the memory and decide where to go on."""
        self._reregister = False
        self.offer_due = not offers_known
        self.sync_due = True  # what was delivered last may have been lost with us (PL-09)
        self._read()

    def _read(self) -> None:
        self.registration = self._memory.registration()
        if self.registration is not None:
            told = self._memory.fact(_TOLD) or _POLLS_UNSIGNED
            self.phase = Phase.SERVING if told == self._to_tell() else Phase.REGISTERING
        else:
            self.phase = Phase.ASKING if self._settings.query else Phase.REGISTERING

    def _to_tell(self) -> dict[str, str | bool | None]:
        """Return what the VTN goes by in how it speaks to us, and has to know anew when it changes."""
        return {"push_address": self._settings.push_address, "xml_signature": self._settings.xml_signature}

    def reread(self) -> None:
        """Agree with the memory again, after something was taken back there."""
        if self._memory.registration() != self.registration:
            self._read()

    def happened(self, event: RegistrationEvent) -> None:
        """Go on as the table says."""
        self.phase = TRANSITIONS.get((self.phase, event), self.phase)

    @property
    def confirmed(self) -> Registration:
        """The registration. Raises ConflictError if there is none."""
        if self.registration is None:
            raise ConflictError("This VEN is not registered with a VTN now.")
        return self.registration

    @property
    def ven_id(self) -> str:
        """Our venID: the registration's, or that of enrolment; empty if we know none."""
        return self.registration.ven_id if self.registration else self._settings.ven_id or ""

    def query(self) -> QueryRegistration:
        """Return the question who the VTN is."""
        return QueryRegistration(new_id("req"))

    def create(self) -> CreatePartyRegistration:
        """Return the registration, with our ids if we have some (RG-03, RG-04, RG-06)."""
        known = self.registration
        address = self._settings.push_address
        profile = VenProfile(
            ven_name=self._settings.ven_name,
            xml_signature=self._settings.xml_signature,
            http_pull=address is None,
            transport_address=address,
        )
        if known is None:
            return CreatePartyRegistration(new_id("req"), profile, ven_id=self._settings.ven_id)
        return CreatePartyRegistration(new_id("req"), profile, known.registration_id, known.ven_id)

    def cancel(self) -> CancelPartyRegistration:
        """Return the cancellation of our registration."""
        known = self.confirmed
        return CancelPartyRegistration(new_id("req"), known.registration_id, known.ven_id)

    def answered(self, asked: Message, answer: Message | None, code: int, text: str) -> list[Action]:
        """Take the answer to a query or registration."""
        name = type(asked).__name__
        if not isinstance(answer, CreatedPartyRegistration) or not answer.response.ok:
            return self._refused(asked, code, text)
        wanted = self._settings.vtn_id
        if wanted is not None and answer.vtn.vtn_id != wanted:
            text = f"This VEN is enrolled with VTN {wanted}; {answer.vtn.vtn_id} answers. Check the URL."
            return [Refused(name, Code.INVALID_ID, text)]
        if isinstance(asked, QueryRegistration):
            self.happened(RegistrationEvent.TOLD)
            return []
        if not answer.registration_id or not answer.ven_id:
            return self._refused(asked, Code.NOT_REGISTERED, "no registrationID was given")
        return self._take(Registration(answer.registration_id, answer.ven_id, answer.vtn.vtn_id, answer.vtn.poll_freq))

    def _refused(self, asked: Message, code: int, text: str) -> list[Action]:
        if isinstance(asked, QueryRegistration):
            self.happened(RegistrationEvent.TOLD)
        elif isinstance(asked, CreatePartyRegistration) and asked.registration_id and code in _IDS_UNKNOWN:
            # The ids are worth nothing any more: begin anew (RG-06, RG-08).
            self._forget_reports()
            self._memory.set_registration(None)
            self.registration = None
        return [Refused(type(asked).__name__, code, text or "the VTN does not accept this VEN (yet)")]

    def _take(self, new: Registration) -> list[Action]:
        old = self.registration
        same_ids = old is not None and (old.registration_id, old.ven_id) == (new.registration_id, new.ven_id)
        renewed = same_ids and self._memory.fact("offers") is not None
        if not renewed:
            self._forget_reports()
        self._memory.set_registration(new)
        self._memory.set_fact(_TOLD, self._to_tell())
        self.registration = new
        if not renewed:  # a renewed one needs no new metadata, and no new request for events (RG-07)
            self.offer_due = self.sync_due = True
        self.happened(RegistrationEvent.REGISTERED)
        return [Registered(new, renewed)]

    def _forget_reports(self) -> None:
        """Forget what a new registration makes void (RG-08); events stay until the VTN has listed its own."""
        for task in self._memory.report_tasks():
            self._memory.drop_report_task(task.id)
        self._memory.drop_waiting()
        self._memory.set_fact("offers", None)

    def asked_to_reregister(self, message: RequestReregistration) -> list[Action]:
        """Take the VTN's request to register again: with our ids, after an oadrResponse (RG-09)."""
        known = self.confirmed
        self._reregister = message.ven_id == known.ven_id
        if not self._reregister:
            return self._misnamed(message)
        self._memory.push(OadrResponse(Response(), known.ven_id))
        return []

    def sent_to_reregister(self, asked: Message, answer: RequestReregistration) -> list[Action]:
        """Take a request to register again in place of the answer to a message: there is nothing to respond to."""
        known = self.registration
        self._reregister = False
        if known is None or isinstance(asked, CreatePartyRegistration):
            return self._refused(asked, Code.NOT_REGISTERED, "the VTN asks for a registration")
        if answer.ven_id != known.ven_id:
            return self._misnamed(answer)
        self.happened(RegistrationEvent.ASKED_AGAIN)
        return []

    def _misnamed(self, message: RequestReregistration) -> list[Action]:
        self._memory.push(OadrResponse(Response(Code.INVALID_ID, "Wrong venID."), self.confirmed.ven_id))
        return [Noted(f"A request to register again names venID {message.ven_id}.", problem=True)]

    def said(self, message: Message) -> list[Action]:
        """Do what was put off until a message was out."""
        if isinstance(message, OadrResponse) and self._reregister:
            self._reregister = False
            self.happened(RegistrationEvent.ASKED_AGAIN)
        if isinstance(message, CancelPartyRegistration):
            return self.erase("this VEN cancelled the registration")
        return []

    def cancelled_by_vtn(self, message: CancelPartyRegistration) -> list[Action]:
        """Erase everything about the VTN, then confirm (RG-10, RG-16); wrong ids change nothing (RG-11)."""
        known = self.confirmed
        ids = (message.registration_id, message.ven_id or known.ven_id)
        if ids != (known.registration_id, known.ven_id):
            wrong = Response(Code.INVALID_ID, "That is not our registration.", message.request_id)
            self._memory.push(CanceledPartyRegistration(wrong, message.registration_id, known.ven_id))
            return [Noted("A cancellation of a registration that is not ours was refused.", problem=True)]
        actions = self.erase("the VTN cancelled the registration", comes_back=True)
        done = Response(request_id=message.request_id)
        self._memory.push(CanceledPartyRegistration(done, known.registration_id, known.ven_id))
        return actions

    def erase(self, reason: str, *, comes_back: bool = False) -> list[Action]:
        """Forget the VTN; the readings stay. `comes_back`: ask for another registration later."""
        self._memory.erase_relation()
        self.registration = None
        self.comes_back = comes_back
        self.happened(RegistrationEvent.CANCELLED)
        return [Unregistered(reason, comes_back), EventsChanged(())]
