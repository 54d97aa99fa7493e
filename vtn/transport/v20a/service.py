"""OpenADR 2.0a in pull mode: bytes in, bytes out, no HTTP.

VEN                         VTN
| --- oadrRequestEvent ----> |   again and again: there is no oadrPoll (PA-02)
| <-- oadrDistributeEvent -- |   all its events that 2.0a can carry
| --- oadrCreatedEvent ----> |
| <-- oadrResponse --------- |

What is asked and answered is 2.0b's EiEvent in other words, so 2.0b's service answers.
"""

from functools import partial
from typing import Final

from core.clock import Clock
from openadr.model.registration import Profile, SignaturePolicy, VenProfile
from openadr.v20a.decode import decode_noting
from openadr.v20a.encode import encode
from openadr.v20b.decode import MAX_BYTES, UnreadableError, WireError
from openadr.v20b.encode import message_name
from openadr.v20b.messages import DistributeEvent, Message, RequestEvent
from vtn.services import outbox, registration
from vtn.services.ven_cache import VenCache
from vtn.store.writer import GroupWriter
from vtn.transport.message_log import Exchange, Note, ignore
from vtn.transport.peer import Peer
from vtn.transport.v20b.service import Vtn20b

PATH: Final = "/OpenADR2/Simple/EiEvent"
"""Where 2.0a VENs post their messages (PA-01)."""
_PROFILE: Final = VenProfile(profile=Profile.A)


class Vtn20a:
    """Answers OpenADR 2.0a messages of pull VENs."""

    def __init__(
        self,
        vtn: Vtn20b,
        writer: GroupWriter,
        vens: VenCache,
        clock: Clock,
        note: Note = ignore,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`note` hears of every exchange but those that tell of no event."""
        self._vtn = vtn
        self._writer = writer
        self._vens = vens
        self._clock = clock
        self._note = note
        self._max_bytes = max_bytes

    async def answer(self, peer: Peer, body: bytes) -> tuple[str, bytes]:
        """Return the kind of a message and the answer to it. Raises like `Vtn20b.answer`, and WireError."""
        heard = partial(Exchange, fingerprint=peer.fingerprint, profile=Profile.A, request=body)
        try:
            decoded = decode_noting(body, max_bytes=self._max_bytes)
        except UnreadableError as fault:
            answered = encode(await self._vtn.unreadable(fault, peer))
            self._note(heard(answer=answered))
            return "?", answered
        except WireError as error:
            await self._vtn.not_acceptable(error, peer)
            self._note(heard(answer=str(error).encode(), status=error.status))
            raise
        message = decoded.message
        kind = f"{type(message).__name__} 2.0a"
        await self._take_in(message, peer)
        answer = await self._vtn.answer("EiEvent", message, peer, decoded.repairs)
        answered = encode(answer)
        if not _is_empty(message, answer):
            named = getattr(message, "ven_id", "")
            self._note(heard(ven_id=named, type=message_name(type(message)), answer=answered))
        return kind, answered

    async def _take_in(self, message: Message, peer: Peer) -> None:
        """Register a VEN with its first message, as 2.0a has no other registration; the list that it asks for is told.

        A VEN that registered by 2.0b may ask here, too, and stays what it is: what waits for its polls still does.
        Nothing is taken in of one that must sign its messages: 2.0a has no signatures, so what it says will be ignored
        (SE-08).
        """
        claimed = getattr(message, "ven_id", "")
        ven = await (self._vens.identify(peer.fingerprint) if peer.fingerprint else self._vens.get(claimed))
        if ven is None or claimed not in ("", ven.ven_id) or ven.signatures is SignaturePolicy.REQUIRED:
            return
        ven_id, now = ven.ven_id, self._clock.now()
        if ven.registration_id is None:
            await self._writer.submit(lambda tx: registration.register(tx, ven_id, _PROFILE, None, now))
        of_2_0a = ven.registration_id is None or ven.protocol_version == Profile.A
        if of_2_0a and isinstance(message, RequestEvent) and ven.due_at is not None:
            await self._writer.submit(lambda tx: outbox.all_told(tx, [ven_id]))


def _is_empty(message: Message, answer: Message) -> bool:
    """Tell whether this is 2.0a's empty poll."""
    return isinstance(message, RequestEvent) and isinstance(answer, DistributeEvent) and not answer.events
