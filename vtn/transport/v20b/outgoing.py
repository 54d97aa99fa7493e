"""What a VEN hears next: the rows of its outbox as messages of OpenADR 2.0b, made at the moment of delivery."""

from collections.abc import Mapping
from dataclasses import dataclass

from core.clock import Clock
from core.ids import new_id
from openadr.model.event import DeliveredEvent
from openadr.v20b.codes import Code
from openadr.v20b.messages import (
    CancelPartyRegistration,
    CancelReport,
    CreateReport,
    DistributeEvent,
    Message,
    RegisterReport,
    RequestReregistration,
    Response,
    UpdateReport,
)
from vtn.services import event, outbox, own_report, registration, report
from vtn.services.outbox import Intent
from vtn.services.settings import VtnSettings
from vtn.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Push:
    """A row and its message, which is on its way to a VEN."""

    row: outbox.Row
    message: Message


class Outgoing:
    """Turns what waits for VENs into messages."""

    def __init__(self, settings: VtnSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def take(self, tx: Transaction, ven_ids: Mapping[str, None]) -> dict[str, Message | None]:
        """Return for each VEN the message of its oldest due row, None where nothing is due (PL-02).

        A row that has lost its sense is passed over.
        """
        messages: dict[str, Message | None] = dict.fromkeys(ven_ids)
        waiting = list(ven_ids)
        while waiting:
            rows = await outbox.take(tx, waiting, self._clock.now(), self._settings)
            changed = {ven_id: row for ven_id, row in rows.items() if row.intent is Intent.EVENTS_CHANGED}
            messages |= await self._events(tx, changed)
            waiting = []
            for ven_id, row in rows.items():
                if ven_id in changed:
                    continue
                messages[ven_id] = await self._message(tx, ven_id, row)
                if messages[ven_id] is None:
                    await outbox.done(tx, ven_id, row.intent, row.subject)
                    waiting.append(ven_id)
        return messages

    async def next_push(self, tx: Transaction, ven_id: str) -> Push | None:
        """Return the message of a VEN's oldest due row, None where nothing is due; `arrived` marks it as sent."""
        while (row := await outbox.next_due(tx, ven_id, self._clock.now(), self._settings)) is not None:
            if row.intent is Intent.EVENTS_CHANGED:
                events = await event.to_push(tx.conn, ven_id, self._clock.now())
                return Push(row, DistributeEvent(self._settings.vtn_id, new_id("req"), events))
            message = await self._message(tx, ven_id, row)
            if message is not None:
                return Push(row, message)
            await outbox.drop(tx, ven_id, row)
        return None

    async def arrived(self, tx: Transaction, ven_id: str, push: Push) -> None:
        """Note that a VEN has taken a message. Events that it need not answer are told by that (TR-13)."""
        now = self._clock.now()
        await outbox.sent(tx, ven_id, push.row, now, self._settings)
        if isinstance(push.message, DistributeEvent) and not await event.pushed(tx, push.message.events, now):
            await outbox.done_by_next_request(tx, [push.row.id])
            await event.arrived(tx, ven_id, now)

    async def _events(self, tx: Transaction, rows: Mapping[str, outbox.Row]) -> dict[str, Message]:
        """Return the lists of VENs whose list has changed."""
        if not rows:
            return {}
        lists = await event.deliver(tx, dict.fromkeys(rows), self._clock.now())
        quiet = [row.id for ven_id, row in rows.items() if not lists[ven_id].awaits_answer]
        await outbox.done_by_next_request(tx, quiet)
        return {ven_id: self.distribute(listed.events) for ven_id, listed in lists.items()}

    def distribute(self, events: tuple[DeliveredEvent, ...], request_id: str = "") -> DistributeEvent:
        """Return a delivery of events; `request_id` is that of the oadrRequestEvent that it answers."""
        response = Response(Code.OK, "OK", request_id)
        return DistributeEvent(self._settings.vtn_id, new_id("req"), events, response)

    async def _message(self, tx: Transaction, ven_id: str, row: outbox.Row) -> Message | None:
        """Return the message for a row that is not about events; None if nobody means it any more."""
        message: Message | None = None
        match row.intent:
            case Intent.REPORTS_OFFERED:
                offers = own_report.offers(ven_id, self._settings, self._clock.now())
                message = RegisterReport(new_id("req"), offers, ven_id, row.subject or None)
            case Intent.REPORT_WANTED:
                wanted = await report.to_send(tx.conn, row.subject)
                message = CreateReport(row.subject, (wanted,), ven_id) if wanted else None
            case Intent.REPORT_UNWANTED:
                message = CancelReport(row.subject, (row.subject,), report_to_follow=False, ven_id=ven_id)
            case Intent.REPORT_DUE:
                data = await own_report.due(tx, ven_id, row.subject, self._settings, self._clock.now())
                message = UpdateReport(row.subject, (data,), ven_id) if data else None
            case Intent.REREGISTER:
                message = RequestReregistration(ven_id)
            case Intent.UNREGISTER:
                registration_id = await registration.current(tx.conn, ven_id)
                message = CancelPartyRegistration(new_id("req"), registration_id, ven_id) if registration_id else None
        return message
