"""OpenADR 2.0b on the services: a message of a VEN in, a message out, no HTTP. Pull, and what push VENs send.

VEN                         VTN
| --- oadrPoll ------------> |   one outbox row, or oadrResponse (PL-02)
| <-- oadrDistributeEvent -- |
| --- oadrCreatedEvent ----> |   the logical answer closes the row
| <-- oadrResponse --------- |
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, cast, get_args

import structlog

from core.clock import Clock
from core.errors import EvenloadError, InvalidError, Reason, UnavailableError
from core.ids import new_id
from openadr.model.opt import OptType
from openadr.model.registration import SignaturePolicy
from openadr.model.report import Report, ReportRequest
from openadr.signature.values import SignatureError
from openadr.v20b.codes import Code, OpenADRError, fault_of
from openadr.v20b.decode import UnreadableError, WireError
from openadr.v20b.encode import message_name
from openadr.v20b.messages import (
    SERVICES,
    CanceledOpt,
    CanceledPartyRegistration,
    CanceledReport,
    CancelOpt,
    CancelPartyRegistration,
    CancelReport,
    CreatedEvent,
    CreatedOpt,
    CreatedPartyRegistration,
    CreatedReport,
    CreateOpt,
    CreatePartyRegistration,
    CreateReport,
    EventResponse,
    Message,
    OadrResponse,
    Poll,
    QueryRegistration,
    RegisteredReport,
    RegisterReport,
    RequestEvent,
    Response,
    UpdatedReport,
    UpdateReport,
)
from openadr.v20b.repair import Repair
from vtn.services import event, opt, outbox, own_report, provisioning, push, registration, report, telemetry
from vtn.services.event import Answer
from vtn.services.outbox import Intent
from vtn.services.settings import VtnSettings
from vtn.services.ven_cache import VenCache, VenState
from vtn.services.ven_faults import VenFaults
from vtn.store.database import Transaction
from vtn.store.readings import SeriesHints
from vtn.store.writer import GroupWriter
from vtn.transport.peer import Peer
from vtn.transport.v20b.outgoing import Outgoing
from vtn.transport.v20b.profile import check_profile, vtn_profile
from vtn.transport.v20b.push_address import Addresses
from vtn.transport.v20b.refusal import refuse, refuse_unreadable
from vtn.transport.v20b.signatures import Signature, Signatures

_log = structlog.get_logger(__name__)

EMPTY: Final = OadrResponse(Response(Code.OK, "OK"))
"""The answer to a poll when nothing waits; always the same (GN-06: a poll has no requestID)."""


_CODES: Final = frozenset(int(code) for code in Code)
_LONGEST_REASON: Final = 500
_LONGEST_TEXT: Final = 200
_ANONYMOUS: Final = (QueryRegistration, CreatePartyRegistration)
"""What a VEN may say before it is registered, and without its venID."""
_Answer = (
    CreatedEvent
    | RegisteredReport
    | CreatedReport
    | CanceledReport
    | UpdatedReport
    | CanceledPartyRegistration
    | OadrResponse
)
"""What a VEN answers with to what its polls brought."""
_ANSWERS: Final[frozenset[type]] = frozenset(get_args(_Answer))


def _log_refusal(message: str, fault: OpenADRError, peer: Peer, ven_id: str | None) -> None:
    why = fault.description[:_LONGEST_REASON]
    _log.warning("message refused", message=message[:80], code=int(fault.code), why=why, **peer.logged(), ven_id=ven_id)


def _fault_subject(message: str, code: int) -> str:
    """Return what faults of this kind are counted under: of a code only what OpenADR knows."""
    return f"{message} {code if code in _CODES else 'with a code unknown to OpenADR'}"


def _reason(answer: EventResponse) -> str | None:
    """Return why a VEN opts out: oadrCreatedEvent has no optReason, but a responseDescription."""
    said = (answer.description or "").strip()
    if answer.opt_type is not OptType.OUT or said.upper() in ("", "OK", "ERROR"):
        return None
    return "".join(char if char.isprintable() else " " for char in said[:_LONGEST_TEXT])


def _errors(message: _Answer) -> Iterator[Response | EventResponse]:
    """Yield the errors that a VEN's answer carries."""
    if not message.response.ok:
        yield message.response
    if isinstance(message, CreatedEvent):
        yield from (each for each in message.event_responses if not each.ok)


class Vtn20b:
    """Answers OpenADR 2.0b messages of VENs."""

    def __init__(
        self,
        writer: GroupWriter,
        vens: VenCache,
        settings: VtnSettings,
        clock: Clock,
        faults: VenFaults,
        signatures: Signatures | None = None,
        addresses: Addresses | None = None,
    ) -> None:
        """Without `signatures` there is no key to sign with; what VENs sign is verified.

        `addresses` are those that VENs in push mode may name; without, there is no push.
        """
        self._addresses = addresses
        self.signatures = signatures or Signatures(vens, writer)
        self._writer = writer
        self._vens = vens
        self._faults = faults
        self._settings = settings
        self._clock = clock
        self._outgoing = Outgoing(settings, clock)
        self._series = SeriesHints()
        self._handlers: dict[type[Message], Callable[..., Awaitable[Message]]] = {
            Poll: self._poll,
            RequestEvent: self._request_event,
            CreatedEvent: self._created_event,
            CreateOpt: self._create_opt,
            CancelOpt: self._cancel_opt,
            RegisterReport: self._register_report,
            RegisteredReport: self._registered_report,
            CreateReport: self._create_report,
            CreatedReport: self._created_report,
            UpdateReport: self._update_report,
            CancelReport: self._cancel_report,
            CanceledReport: self._canceled_report,
            UpdatedReport: self._updated_report,
            QueryRegistration: self._query,
            CreatePartyRegistration: self._register,
            CancelPartyRegistration: self._cancel,
            CanceledPartyRegistration: self._canceled,
            OadrResponse: self._response,
        }

    async def answer(
        self,
        service: str,
        message: Message,
        peer: Peer,
        repairs: AbstractSet[Repair] = frozenset(),
        signature: Signature = None,
    ) -> Message:
        """Return the answer to a message that was posted to a service. Logical faults are answers too (GN-11).

        `repairs` were needed to read the message, `signature` is what is to be thought of its signature. Raises
        SignatureError if it must be ignored for that, and UnavailableError if the store does not answer: then nothing
        was acknowledged.
        """
        ven: VenState | None = None
        try:
            ven = await self._admit(service, message, peer, signature)
            if ven is not None and repairs:
                self._faults.mended(ven.ven_id, repairs)
            if ven is not None and type(message) in _ANSWERS:
                self._note_errors(cast("_Answer", message), ven)
            return await self._handlers[type(message)](message, ven)
        except UnavailableError:
            raise
        except SignatureError as error:
            await self._note_ignored(message_name(type(message)), error, peer)
            raise
        except EvenloadError as error:
            fault = fault_of(error)
            await self._note_refusal(message_name(type(message)), fault, peer, ven)
            return refuse(message, fault, self._settings)

    async def answered(
        self,
        ven_id: str,
        message: Message,
        peer: Peer,
        repairs: AbstractSet[Repair] = frozenset(),
        signature: Signature = None,
    ) -> CreatedReport | None:
        """Act on a VEN's answer to what was pushed to it, as on the same message when the VEN posts it.

        Returned is what the VEN still has to be told: what it asked for beside its answer (RP-13). What is wrong with
        the answer is noted. Raises SignatureError if it must be ignored, UnavailableError if the store does
        not answer.
        """
        ven = await self._vens.get(ven_id)
        name = message_name(type(message))
        try:
            if ven is None or ven.registration_id is None:
                raise OpenADRError(Code.NOT_REGISTERED, "This VEN is not registered any more.")
            if getattr(message, "ven_id", None) not in (None, "", ven_id):
                raise OpenADRError(Code.NOT_REGISTERED, "The answer names another VEN.")
            self.signatures.check(ven, signature)
            await self.signatures.use(ven, signature, lasting=True)
            self._vens.seen(ven_id)
            if repairs:
                self._faults.mended(ven_id, repairs)
            self._note_errors(cast("_Answer", message), ven)
            answer = await self._handlers[type(message)](message, ven)
        except UnavailableError:
            raise
        except SignatureError as error:
            await self._note_ignored(name, error, peer)
            raise
        except EvenloadError as error:
            await self._note_refusal(name, fault_of(error), peer, ven)
            return None
        return answer if isinstance(answer, CreatedReport) else None

    def _note_errors(self, message: _Answer, ven: VenState) -> None:
        """Count and log the errors that a VEN answers with; a long list of them is one line."""
        errors = list(_errors(message))
        if not errors:
            return
        name = message_name(type(message))
        for error in errors:
            text = f"{error.code} {error.description or ''}".strip()
            self._faults.answered(ven.ven_id, _fault_subject(name, error.code), text)
        said = (errors[0].description or "")[:_LONGEST_TEXT]
        _log.warning(
            "a VEN answered with an error",
            message=name,
            code=errors[0].code,
            why=said,
            errors=len(errors),
            ven_id=ven.ven_id,
        )

    async def _note_refusal(self, name: str, fault: OpenADRError, peer: Peer, ven: VenState | None) -> None:
        ven_id = ven.ven_id if ven is not None else await self._speaker(peer)
        if ven_id is not None:
            self._faults.refused(ven_id, _fault_subject(name, fault.code), fault.description)
        _log_refusal(name, fault, peer, ven_id)

    async def _note_ignored(self, name: str, error: SignatureError, peer: Peer) -> None:
        ven_id = await self._speaker(peer)
        if ven_id is not None:
            self._faults.refused(ven_id, f"{name} signature {error.fault}", str(error))
        _log.warning("message ignored", message=name, why=str(error), **peer.logged(), ven_id=ven_id)

    async def _speaker(self, peer: Peer) -> str | None:
        """Return the venID of the VEN at the other end, if its certificate tells."""
        ven = await self._vens.identify(peer.fingerprint) if peer.fingerprint else None
        return ven.ven_id if ven is not None else None

    async def unreadable(self, fault: UnreadableError, peer: Peer) -> Message:
        """Return the answer to a valid message with a value that cannot be read (GN-11)."""
        ven_id = await self._speaker(peer)
        if ven_id is not None:
            self._faults.unreadable(ven_id, fault.description)
        _log_refusal(fault.element, fault, peer, ven_id)
        return refuse_unreadable(fault, self._settings)

    async def not_acceptable(self, error: WireError, peer: Peer) -> None:
        """Note a body that is no OpenADR message, and whose it was (GN-12)."""
        ven_id = await self._speaker(peer)
        if ven_id is not None:
            self._faults.unreadable(ven_id, str(error))
        _log.warning("message refused", status=error.status, why=str(error), **peer.logged(), ven_id=ven_id)

    async def known_by(self, peer: Peer) -> VenState | None:
        """Return the VEN whose certificate a peer showed."""
        return await self._vens.identify(peer.fingerprint) if peer.fingerprint else None

    def is_strict_for(self, ven: VenState | None) -> bool:
        """Whether a VEN's messages are read in strict mode."""
        return self._settings.strict or (ven is not None and ven.strict)

    async def _admit(self, service: str, message: Message, peer: Peer, signature: Signature) -> VenState | None:
        """Return the VEN that speaks: that of the certificate, also where the message names none.

        None: somebody without certificate asks who we are, which is no secret on an insecure listener. Raises
        OpenADRError 459, 463 or 452 (GN-15, SE-07, RG-14, RG-15), SignatureError.
        """
        expected = SERVICES.get(type(message))
        posted = service == expected or (isinstance(message, OadrResponse) and service != "OadrPoll")
        if not posted or type(message) not in self._handlers:
            raise OpenADRError(Code.COMPLIANCE, f"{message_name(type(message))} is not for {service} of a VTN.")
        claimed: str | None = getattr(message, "ven_id", None)
        if not peer.fingerprint and isinstance(message, QueryRegistration):
            return None
        known = self._vens.identify(peer.fingerprint) if peer.fingerprint else self._vens.get(claimed or "")
        ven = await known or await self._by_name(message, claimed, peer)
        self.signatures.check(ven, signature)
        anonymous = type(message) in _ANONYMOUS
        if ven.registration_id is None and not anonymous:
            raise OpenADRError(Code.NOT_REGISTERED, "This VEN is not registered; send oadrCreatePartyRegistration.")
        if claimed and claimed != ven.ven_id:
            if await self._vens.get(claimed) is None:
                raise OpenADRError(Code.INVALID_ID, f"No VEN has the venID '{claimed}'.")
            raise OpenADRError(Code.NOT_REGISTERED, "This certificate does not belong to that venID.")
        if not claimed and not anonymous and (ven.strict or self._settings.strict):
            raise OpenADRError(Code.INVALID_ID, "The message has no venID.")
        if signature is not None:
            idle = isinstance(message, Poll) and not ven.awaits_request and not ven.is_due(self._clock.now())
            await self.signatures.use(ven, signature, lasting=not idle)
        self._vens.seen(ven.ven_id)
        if ven.unreachable:
            await self._writer.submit(lambda tx: push.fresh(tx, ven.ven_id))
            _log.info("a VEN is reachable again: it sent a message", ven_id=ven.ven_id)
        if ven.awaits_request:
            await self._writer.submit(lambda tx: event.arrived(tx, ven.ven_id, self._clock.now()))
        return ven

    async def _by_name(self, message: Message, claimed: str | None, peer: Peer) -> VenState:
        """Return the VEN that registers by its name, since it has no certificate. Raises OpenADRError 452 (RG-14)."""
        if isinstance(message, CreatePartyRegistration) and not claimed and not peer.fingerprint:
            name = message.profile.ven_name or ""
            ven = await self._vens.named(name) or await self._vens.get(name)
            if ven is not None:
                return ven
        if peer.fingerprint:
            now = self._clock.now()
            await self._writer.submit(lambda tx: provisioning.note_waiting(tx, peer.fingerprint, peer.subject, now))
            raise OpenADRError(Code.NOT_REGISTERED, "No VEN is known by this certificate; ask the VTN's operator.")
        raise OpenADRError(Code.NOT_REGISTERED, "No VEN has this venID, or this oadrVenName; ask the VTN's operator.")

    # -- OadrPoll

    async def _poll(self, message: Poll, ven: VenState) -> Message:
        del message
        if not ven.is_due(self._clock.now()):
            return EMPTY
        return await self._writer.submit_to(self._next, ven.ven_id, None)

    async def _next(self, tx: Transaction, ven_ids: Mapping[str, None]) -> Mapping[str, Message]:
        return {ven_id: message or EMPTY for ven_id, message in (await self._outgoing.take(tx, ven_ids)).items()}

    # -- EiEvent

    async def _request_event(self, message: RequestEvent, ven: VenState) -> Message:
        lists = await self._writer.submit(
            lambda tx: event.deliver(tx, {ven.ven_id: message.reply_limit}, self._clock.now())
        )
        return self._outgoing.distribute(lists[ven.ven_id].events, message.request_id)

    async def _created_event(self, message: CreatedEvent, ven: VenState) -> Message:
        answers = [
            Answer(answer.event_id, answer.modification_number, answer.opt_type, answer.code, _reason(answer))
            for answer in message.event_responses
        ]

        await self._writer.submit_to(self._answers, ven.ven_id, answers)
        return self._ok(message.response.request_id, ven)

    async def _answers(
        self, tx: Transaction, answers_of: Mapping[str, Sequence[Answer]]
    ) -> Mapping[str, EvenloadError | None]:
        return await event.record_answers(tx, answers_of, self._clock.now())

    def _ok(self, request_id: str, ven: VenState) -> OadrResponse:
        return OadrResponse(Response(Code.OK, "OK", request_id), ven.ven_id)

    # -- EiOpt

    async def _create_opt(self, message: CreateOpt, ven: VenState) -> Message:
        await self._writer.submit(lambda tx: opt.create(tx, ven.ven_id, message.opt, self._clock.now()))
        return CreatedOpt(Response(Code.OK, "OK", message.request_id), message.opt.opt_id)

    async def _cancel_opt(self, message: CancelOpt, ven: VenState) -> Message:
        await self._writer.submit(lambda tx: opt.cancel(tx, ven.ven_id, message.opt_id, self._clock.now()))
        return CanceledOpt(Response(Code.OK, "OK", message.request_id), message.opt_id)

    # -- EiReport

    async def _register_report(self, message: RegisterReport, ven: VenState) -> Message:
        await self._writer.submit(
            lambda tx: report.register(tx, ven.ven_id, message.offers, self._settings, self._clock.now())
        )
        return RegisteredReport(Response(Code.OK, "OK", message.request_id), (), ven.ven_id)

    async def _registered_report(self, message: RegisteredReport, ven: VenState) -> Message:
        await self._writer.submit(lambda tx: own_report.offered(tx, ven.ven_id, self._settings, self._clock.now()))
        if message.requests:
            return await self._ask(message.requests, message.response.request_id, ven)
        return self._ok(message.response.request_id, ven)

    async def _create_report(self, message: CreateReport, ven: VenState) -> Message:
        return await self._ask(message.requests, message.request_id, ven)

    async def _ask(self, requests: Sequence[ReportRequest], request_id: str, ven: VenState) -> CreatedReport:
        """Take requests for reports of our own, and say what is still to come, also where one was bad (RP-31)."""
        response = Response(Code.OK, "OK", request_id)
        try:
            await self._writer.submit(
                lambda tx: own_report.ask(tx, ven.ven_id, requests, self._settings, self._clock.now())
            )
        except InvalidError as error:
            response = self._refused("oadrReportRequest", error, request_id, ven)
        pending = await self._writer.submit(lambda tx: own_report.pending(tx.conn, ven.ven_id))
        return CreatedReport(response, pending, ven.ven_id)

    def _refused(self, name: str, error: InvalidError, request_id: str, ven: VenState) -> Response:
        """Note what is refused of a message whose answer says more than that, and return its eiResponse."""
        fault = fault_of(error)
        self._faults.refused(ven.ven_id, _fault_subject(name, fault.code), fault.description)
        why = fault.description[:_LONGEST_REASON]
        _log.warning("part of a message refused", part=name, code=int(fault.code), why=why, ven_id=ven.ven_id)
        return Response(fault.code, why, request_id)

    async def _created_report(self, message: CreatedReport, ven: VenState) -> Message:
        said = message.response
        refusal = None if said.ok else f"{said.code} {said.description or ''}".strip()
        now = self._clock.now()
        await self._writer.submit(
            lambda tx: report.created(tx, ven.ven_id, said.request_id, message.pending, refusal, now)
        )
        return self._ok(said.request_id, ven)

    async def _update_report(self, message: UpdateReport, ven: VenState) -> Message:
        recorded = await self._writer.submit_to(self._record, ven.ven_id, message.reports)
        if recorded.ahead_s:
            text = f"They begin up to {recorded.ahead_s} s after they came, and are not settled. Is its clock right?"
            self._faults.doubted(ven.ven_id, "readings of the future", text)
        unwanted = recorded.unwanted
        stop = CancelReport(new_id("req"), unwanted, ven_id=ven.ven_id) if unwanted else None
        return UpdatedReport(Response(Code.OK, "OK", message.request_id), stop, ven.ven_id)

    async def _record(
        self, tx: Transaction, reports_of: Mapping[str, Sequence[Report]]
    ) -> Mapping[str, telemetry.Outcome]:
        return await telemetry.record(tx, reports_of, self._clock.now(), self._series)

    async def _cancel_report(self, message: CancelReport, ven: VenState) -> Message:
        ids, follow = message.report_request_ids, message.report_to_follow

        async def work(tx: Transaction) -> tuple[list[str], tuple[str, ...]]:
            unknown = await own_report.cancel(tx, ven.ven_id, ids, self._settings, self._clock.now(), follow=follow)
            return unknown, await own_report.pending(tx.conn, ven.ven_id)

        unknown, pending = await self._writer.submit(work)
        if not unknown:
            return CanceledReport(Response(Code.OK, "OK", message.request_id), pending, ven.ven_id)
        error = InvalidError(f"No report is due for '{unknown[0][:80]}'.", reason=Reason.UNKNOWN_ID)
        response = self._refused(message_name(CancelReport), error, message.request_id, ven)
        return CanceledReport(response, pending, ven.ven_id)

    async def _updated_report(self, message: UpdatedReport, ven: VenState) -> Message:
        """Take the answer to a report of our own; it may stop that (RP-62)."""
        said, stop = message.response, message.cancel
        wanted = said.code != Code.INVALID_ID  # else the VEN does not know the request any more

        async def work(tx: Transaction) -> None:
            now = self._clock.now()
            await own_report.delivered(tx, ven.ven_id, said.request_id, self._settings, now, wanted=wanted)
            if stop is not None:
                ids, follow = stop.report_request_ids, stop.report_to_follow
                await own_report.cancel(tx, ven.ven_id, ids, self._settings, now, follow=follow)

        await self._writer.submit(work)
        return self._ok(said.request_id, ven)

    async def _canceled_report(self, message: CanceledReport, ven: VenState) -> Message:
        said = message.response
        await self._writer.submit(lambda tx: report.cancelled(tx, ven.ven_id, said.request_id))
        return self._ok(message.response.request_id, ven)

    # -- EiRegisterParty

    async def _query(self, message: QueryRegistration, ven: VenState | None) -> Message:
        if ven is None or ven.registration_id is None:
            ids: tuple[str | None, str | None] = (None, None)
        else:
            ids = (ven.registration_id, ven.ven_id)
        profile = vtn_profile(self._settings)
        return CreatedPartyRegistration(Response(Code.OK, "OK", message.request_id), profile, *ids)

    async def _register(self, message: CreatePartyRegistration, ven: VenState) -> Message:
        signs = self.signatures.can_sign and ven.signatures is not SignaturePolicy.OFF
        check_profile(message.profile, signs=signs, addresses=self._addresses)
        given = await self._writer.submit(
            lambda tx: registration.register(
                tx, ven.ven_id, message.profile, message.registration_id, self._clock.now()
            )
        )
        return CreatedPartyRegistration(
            Response(Code.OK, "OK", message.request_id),
            vtn_profile(self._settings),
            given.registration_id,
            given.ven_id,
        )

    async def _cancel(self, message: CancelPartyRegistration, ven: VenState) -> Message:
        await self._writer.submit(
            lambda tx: registration.cancel(tx, ven.ven_id, message.registration_id, self._clock.now())
        )
        answer = Response(Code.OK, "OK", message.request_id)
        return CanceledPartyRegistration(answer, message.registration_id, ven.ven_id)

    async def _canceled(self, message: CanceledPartyRegistration, ven: VenState) -> Message:
        async def work(tx: Transaction) -> None:
            if await outbox.sent_subjects(tx, ven.ven_id, Intent.UNREGISTER, given_up=True):
                await registration.erase(tx, ven.ven_id, self._clock.now(), who=ven.ven_id)

        if message.response.ok:
            await self._writer.submit(work)
        return self._ok(message.response.request_id, ven)

    async def _response(self, message: OadrResponse, ven: VenState) -> Message:
        await self._writer.submit(lambda tx: outbox.done(tx, ven.ven_id, Intent.REREGISTER))
        return self._ok(message.response.request_id, ven)
