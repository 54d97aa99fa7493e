"""One gateway's conversation with its VTN: the engine's messages over the transport, with patience.

World time says when something is due; machine time paces tries and time-outs. Patience is the engine's: here nothing
waits but for what the engine says.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from bridges.backoff import Backoff
from certs.provisioning import Identity
from certs.tls import client_context
from core.clock import Clock
from core.errors import EvenloadError, InvalidError, UnavailableError
from openadr.v20b.decode import UnreadableError
from openadr.v20b.messages import Message
from ven.engine import Action, Engine, Failure, Noted, VenSettings
from ven.household import Household, SignatureUse
from ven.quarantine import where
from ven.transport.door import door_of
from ven.transport.pull import PullTransport, TransportError
from ven.transport.push import PushListener
from ven.transport.signatures import Signatures
from ven.vitals import VtnContact

_log = structlog.get_logger(__name__)

_STORE_RETRY_S: Final = 2.0
_IDENTITY_EVERY_S: Final = 60.0
_WARN_EVERY_S: Final = 86_400.0
_LONGEST_REASON: Final = 300
_LISTEN_AGAIN: Final = Backoff(2.0, 60.0)


@dataclass(frozen=True, slots=True)
class Peer:
    """The VTN as enrolment and the household file name it."""

    url: str
    tls: ssl.SSLContext | None
    ven_name: str
    ven_id: str | None
    vtn_id: str | None
    identity: Identity | None = None
    signatures: Signatures | None = None


def read_peer(household: Household) -> Peer:
    """Return the VTN of a household. Raises an EvenloadError where the identity is missing or damaged."""
    url = household.vtn.url
    if url is not None and url.startswith("http://"):  # the transport allows it on loopback only
        if household.vtn.signatures is not SignatureUse.OFF:
            raise InvalidError(
                "vtn.signatures needs an identity and https: run `evenload ven enrol`, or set it to off."
            )
        return Peer(url, None, household.name, None, None)
    identity = Identity.load(household.identity)
    tls = client_context(identity, check_hostname=household.vtn.check_hostname)
    address = url or identity.vtn_url
    signatures = _signatures(household, identity, address)
    return Peer(address, tls, identity.ven_name, identity.ven_id, identity.vtn_id, identity, signatures)


def _signatures(household: Household, identity: Identity, url: str) -> Signatures | None:
    vtn = household.vtn
    if vtn.signatures is SignatureUse.OFF:
        return None
    required = vtn.signatures is SignatureUse.REQUIRED
    return Signatures(identity, url, required=required, check_hostname=vtn.check_hostname)


def settings(household: Household, peer: Peer) -> VenSettings:
    """Return what the engine has to know."""
    vtn = household.vtn
    return VenSettings(
        peer.ven_name,
        vtn.poll,
        vtn.jitter,
        vtn.query,
        peer.ven_id,
        peer.vtn_id,
        vtn.shortest_poll,
        vtn.longest_poll,
        vtn.longest_wait_s,
        xml_signature=vtn.signatures is not SignatureUse.OFF,
        push_address=vtn.listen.address if vtn.listen else None,
    )


class Conversation:
    """Drives an engine over HTTP.

    `act` gets what the engine wants done; `prepare` is called before the engine is asked what to say, so that what is
    sampled then is complete.
    """

    def __init__(
        self,
        engine: Engine,
        household: Household,
        peer: Peer,
        clock: Clock,
        act: Callable[[Iterable[Action]], None],
        prepare: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._household = household
        self._peer = peer
        self._clock = clock
        self._act = act
        self._prepare = prepare
        listen = household.vtn.listen
        self.contact = VtnContact(peer.url, listens_at=listen.address if listen else None)
        self._poke = asyncio.Event()
        self._started = asyncio.Event()
        """Whether the engine has read the store."""
        self._renewed = asyncio.Event()
        """Set when another identity is used from then on."""
        self._turn = asyncio.Lock()
        """Whose turn it is: one message is under way at a time, ours or a pushed one."""

    def poke(self) -> None:
        """Look again whether something is due."""
        self._poke.set()

    async def run(self) -> None:
        """Exchange messages with the VTN for ever; a new identity on disk is taken up."""
        await self._start_engine()
        while True:
            peer = self._peer
            if peer.identity is not None and (warning := peer.identity.warning()):
                _log.warning(warning)
            async with PullTransport(peer.url, peer.tls, self._household.vtn.time_out_s, peer.signatures) as transport:
                await self._converse(transport)

    async def listen(self) -> None:
        """Take what the VTN pushes, for ever; in pull mode there is nothing to do.

        Where nothing can listen, it is tried again and shown, while our own messages go on.
        """
        listen, failures = self._household.vtn.listen, 0
        if listen is None:
            return
        await self._started.wait()
        while True:
            peer = self._peer
            self._renewed.clear()
            try:
                door = door_of(self._household, listen, peer.identity, peer.url)
                async with PushListener(door, self._pushed, peer.signatures, self._household.vtn.time_out_s):
                    failures, self.contact = 0, self.contact.listening()
                    _log.info("listening for the VTN", host=listen.host, port=listen.port, address=listen.address)
                    await self._renewed.wait()
            except EvenloadError as error:
                failures += 1
                self.contact = self.contact.deaf(str(error)[:_LONGEST_REASON])
                _log.error("the VTN cannot push to this gateway", reason=str(error))
                await asyncio.sleep(_LISTEN_AGAIN.delay_s(failures))

    async def _start_engine(self) -> None:
        """Let the engine read the store; it must not go on without, or it would think that it is not registered."""
        while True:
            try:
                self._engine.start(self._clock.now())
            except UnavailableError as error:
                _log.error("waiting for the disk", reason=str(error))
                await asyncio.sleep(_STORE_RETRY_S)
            else:
                self._started.set()
                return

    async def _converse(self, transport: PullTransport) -> None:
        """Exchange messages until the identity on disk is another one, or has to be warned of."""
        began = checked = time.monotonic()
        while True:
            if (now_s := time.monotonic()) - checked > _IDENTITY_EVERY_S:
                checked = now_s
                if self._identity_changed() or now_s - began > _WARN_EVERY_S:
                    return
            try:
                if not await self._exchange(transport):
                    await self._idle()
            except UnavailableError as error:
                _log.error("waiting for the disk", reason=str(error))
                await asyncio.sleep(_STORE_RETRY_S)
                await self._start_engine()

    async def _exchange(self, transport: PullTransport) -> bool:
        """Post what is due; return whether something was."""
        async with self._turn:
            self._prepare()
            self._poke.clear()  # after that, which pokes: else what comes all the time would keep us from ever sleeping
            request = self._engine.next_request(self._clock.now())
            if request is not None:
                await self._say(request, transport)
        return request is not None

    async def _pushed(self, message: Message | UnreadableError) -> Message | None:
        """Take what the VTN sends by itself, when no message of ours is under way; return the answer to it."""
        async with self._turn:
            self._prepare()
            now = self._clock.now()
            try:
                if isinstance(message, UnreadableError):
                    answer, actions = self._engine.pushed_unreadable(message.element, message.request_id, message, now)
                else:
                    answer, actions = self._engine.pushed(message, now)
            except UnavailableError:
                with suppress(UnavailableError):  # else our own messages meet the same, and start it again
                    self._engine.start(now)
                raise
            self.contact = self.contact.pushed(now)
            self._act(actions)
        self.poke()
        return answer

    async def _say(self, request: Message, transport: PullTransport) -> None:
        try:
            answer = await transport.post(request)
        except TransportError as error:
            _log.warning("no answer", message=type(request).__name__, reason=str(error))
            now = self._clock.now()
            self.contact = self.contact.unanswered(now, str(error)[:_LONGEST_REASON])
            self._act(self._engine.failed(error.failure, now, code=error.code, text=error.text, after_s=error.after_s))
        except UnreadableError as error:
            now = self._clock.now()
            self.contact = self.contact.unanswered(now, f"unreadable: {error}"[:_LONGEST_REASON])
            self._act(self._engine.unreadable(error.element, error.request_id, error, now))
        except asyncio.CancelledError:
            self._engine.failed(Failure.UNREACHABLE, self._clock.now())
            raise
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  it stays with this message, which will never go out unchanged
            text = f"oadr{type(request).__name__} cannot be sent: {type(error).__name__}: {error}"[:300]
            _log.error(text, where=where(error))
            self._act([Noted(text, problem=True), *self._engine.failed(Failure.REJECTED, self._clock.now())])
        else:
            now = self._clock.now()
            self.contact = self.contact.answered(now)
            self._act(self._engine.received(answer, now))

    async def _idle(self) -> None:
        """Sleep until the engine has something to say, or somebody pokes."""
        when = self._engine.wake_at(self._clock.now())
        waits: list[asyncio.Task[object]] = [asyncio.create_task(self._poke.wait())]
        if when is not None:
            waits.append(asyncio.create_task(self._clock.sleep_until(when)))
        try:
            await asyncio.wait(waits, timeout=_IDENTITY_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waits:
                task.cancel()

    def _identity_changed(self) -> bool:
        try:
            peer = read_peer(self._household)
        except EvenloadError as error:
            _log.warning("the identity on disk cannot be used", reason=str(error))
            return False
        if peer.identity == self._peer.identity:
            return False
        self._peer = peer
        self._renewed.set()
        _log.info("a new identity is used from now on")
        return True
