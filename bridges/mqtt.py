"""The link to an MQTT broker: it reconnects by itself, and says so when it cannot send."""

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import aiomqtt
import structlog
from paho.mqtt import client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridges.backoff import Backoff
from bridges.mqtt_options import MqttOptions
from core.errors import EvenloadError, InvalidError, UnavailableError

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 10.0
_STEADY_S = 10.0
"""A connection that lasted this long was good; shorter ones keep the back-off growing (two clients of one id)."""
_FAREWELL_S = 2.0
_SESSION_EXPIRY_S = 7 * 24 * 3600
_MAX_WAITING = 1000
_REFUSED = 0x80
_BROKER_VERSION = "$SYS/broker/version"


@dataclass(frozen=True, slots=True)
class Message:
    """A message from the broker. `retained`: it was stored there before we subscribed, and may be old."""

    topic: str
    payload: bytes
    retained: bool = False


Handler = Callable[[Message], Awaitable[None] | None]
"""Takes a message, in the order of arrival; a coroutine is awaited before the next message is taken."""


ResultT = TypeVar("ResultT")


class Link(Protocol):
    """What a driver needs of a message broker."""

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        """Hand a message to the broker. Raises UnavailableError if that is not possible now."""

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Give `handler` what matches the filter, now and after every reconnect."""

    async def unsubscribe(self, topic_filter: str, handler: Handler) -> None:
        """Stop that."""

    def observe(self, observer: Callable[[bool], None]) -> None:
        """Call `observer` with True and False when the link comes up and goes down."""


class _Client(aiomqtt.Client):
    """aiomqtt's client, plus what it leaves out: session-present, own acknowledgements, a limit on payloads.

    A message is acknowledged when its handlers are through, so that a gateway that dies gets it again.
    """

    session_present = False

    def __init__(self, options: MqttOptions, **more: Any) -> None:
        super().__init__(options.host, options.port, **more)
        self._max_payload = options.max_payload_bytes
        self._gone = self._loop.create_future()
        self._client.manual_ack_set(True)
        self._abandoned = False
        self._connect = self._client.connect
        self._client.connect = self._connect_unless_abandoned  # type: ignore[method-assign]

    def _connect_unless_abandoned(self, *arguments: Any, **more: Any) -> Any:
        """Connect (in aiomqtt's thread), and hang up at once where nobody waits for it any more."""
        code = self._connect(*arguments, **more)
        if self._abandoned:
            self._client._sock_close()  # noqa: SLF001  as in `abandon`
        return code

    async def while_up(self, call: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Await a call to the broker. Raises MqttError at once if it is lost; aiomqtt would sit out its time-out."""
        task = asyncio.create_task(call)
        try:
            await asyncio.wait({task, self._gone, self._disconnected}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            if self._connected.done():
                self._connected.result()  # a broker that refuses hangs up at once, too: its reason is the one to tell
            raise aiomqtt.MqttError("The connection was lost.")
        finally:
            task.cancel()

    def acknowledge(self, message: aiomqtt.Message) -> None:
        self._client.ack(message.mid, message.qos)

    @property
    def lost(self) -> bool:
        """Whether the broker is gone; looks at the reason, lest asyncio complain that nobody did."""
        if not self._disconnected.done():
            return False
        self._disconnected.exception()
        return True

    def abandon(self) -> None:
        """Close the socket, if it is open: aiomqtt leaves it so when a connection never came about."""
        if self._misc_task is not None:
            self._misc_task.cancel()
        self._abandoned = True
        self._client._sock_close()  # noqa: SLF001  paho offers no other way before CONNACK

    def _on_connect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.ConnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        self.session_present = flags.session_present
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_disconnect(
        self,
        client: paho.Client,
        userdata: Any,
        flags: paho.DisconnectFlags,
        reason_code: ReasonCode,
        properties: Properties | None = None,
    ) -> None:
        super()._on_disconnect(client, userdata, flags, reason_code, properties)
        self._loop.call_soon_threadsafe(self._note_gone)

    def _note_gone(self) -> None:
        if not self._gone.done():
            self._gone.set_result(None)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if len(message.payload) > self._max_payload:
            _log.warning("a message is too long and is dropped", topic=message.topic, bytes=len(message.payload))
            client.ack(message.mid, message.qos)
            return
        super()._on_message(client, userdata, message)


def _stop_if_cancelled() -> None:
    """Honour a cancellation that got lost: `asyncio.wait_for`, in aiomqtt, swallows one that comes with its result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class MqttLink:
    """One connection to one broker, kept up by `run()`.

    Nothing is buffered here: what must not be lost lies in the caller's store until `publish` has returned. Subscribe
    before `run()`: what waited at the broker comes as soon as the link is up, and is gone if nobody handles it. Raises
    InvalidError at once for files that cannot be read.
    """

    def __init__(self, options: MqttOptions, backoff: Backoff | None = None) -> None:
        self._options = options
        self._backoff = backoff or Backoff()
        self._password = options.secret()
        self._tls = options.tls.context() if options.tls else None
        self._handlers: dict[str, list[tuple[Handler, int]]] = {}
        self._observers: list[Callable[[bool], None]] = []
        self._client: _Client | None = None
        self._been_connected = False
        if options.warning:
            _log.warning(options.warning)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._client is not None

    def observe(self, observer: Callable[[bool], None]) -> None:
        """Call `observer` with True and False when the link comes up and goes down."""
        self._observers.append(observer)

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        """Hand a message to the broker; with QoS 1 it is there when this returns.

        Raises UnavailableError if it is not known to have arrived, InvalidError for a topic that cannot be.
        """
        client = self._client
        if client is None:
            raise UnavailableError(f"The MQTT broker {self._where} is not connected; nothing was sent.")
        try:
            await client.while_up(client.publish(topic, payload, qos, retain, timeout=_TIMEOUT_S))
        except (aiomqtt.MqttError, OSError) as error:
            raise UnavailableError(f"The MQTT broker {self._where} did not take a message: {error}") from error
        except ValueError as error:
            raise InvalidError(f"Cannot publish to {topic!r:.100}: {error}") from error

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Give `handler` what matches the filter, now and after every reconnect.

        Without a connection the broker hears of it at the next one. Retained messages come each time.
        """
        if not topic_filter or "\0" in topic_filter or len(topic_filter.encode()) > 65535:  # noqa: PLR2004  MQTT 4.7.3
            raise InvalidError(f"{topic_filter!r:.100} is not a topic filter.")
        self._handlers.setdefault(topic_filter, []).append((handler, qos))
        if self._client is not None:
            await self._tell_broker(self._client, topic_filter)

    async def unsubscribe(self, topic_filter: str, handler: Handler) -> None:
        """Take a handler away.

        The broker is not told: a gateway that stops wants to find, at its next start, what came meanwhile.
        """
        left = [pair for pair in self._handlers.get(topic_filter, []) if pair[0] != handler]
        if left:
            self._handlers[topic_filter] = left
        else:
            self._handlers.pop(topic_filter, None)

    async def run(self) -> None:
        """Keep the link up until cancelled; a broker that is away is waited for."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._connection()
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                _log.warning("MQTT broker lost or not reachable", broker=self._where, reason=str(error))
            _stop_if_cancelled()
            failures = 1 if time.monotonic() - began > _STEADY_S else failures + 1
            await asyncio.sleep(self._backoff.delay_s(failures))

    async def _connection(self) -> None:
        client = self._make_client()
        try:
            await client.while_up(client.__aenter__())
        except BaseException:
            client.abandon()
            raise
        try:
            self._judge_session(client)
            for topic_filter in list(self._handlers):
                await self._tell_broker(client, topic_filter)
            await self._say_status(client, "online")
            self._turn(client)
            if self._options.anonymous:
                with contextlib.suppress(aiomqtt.MqttError):  # not every broker tells who it is
                    await client.while_up(client.subscribe(_BROKER_VERSION, 0, timeout=_TIMEOUT_S))
            async for message in client.messages:
                await self._dispatch(client, message)
        finally:
            self._turn(None)
            await self._leave(client)

    async def _leave(self, client: _Client) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_S):
                if not client.lost:
                    await self._say_status(client, "offline")
                await client.__aexit__(None, None, None)
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            _log.debug("no clean farewell", broker=self._where, reason=str(error))
        finally:
            client.abandon()

    def _make_client(self) -> _Client:
        options = self._options
        session: dict[str, Any] = {"clean_session": not options.keeps_session}
        if options.version == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = _SESSION_EXPIRY_S if options.keeps_session else 0
            properties.MaximumPacketSize = options.max_payload_bytes + 65536
            session = {"properties": properties, "clean_start": not options.keeps_session}
        will = aiomqtt.Will(options.will_topic, "offline", 1, retain=True) if options.will_topic else None
        return _Client(
            options,
            username=options.username,
            password=self._password,
            identifier=options.client_id or None,
            protocol=aiomqtt.ProtocolVersion.V5 if options.version == "5" else aiomqtt.ProtocolVersion.V311,
            will=will,
            timeout=_TIMEOUT_S,
            keepalive=options.keepalive_s,
            tls_context=self._tls,
            max_queued_incoming_messages=_MAX_WAITING,
            **session,
        )

    def _judge_session(self, client: _Client) -> None:
        if not self._options.keeps_session:
            _log.warning(
                "the MQTT broker will drop messages while we are away: set a client_id, and clean_session to false",
                broker=self._where,
            )
        elif self._been_connected and not client.session_present:
            _log.warning(
                "the MQTT broker forgot our session, messages queued for us are gone: enable its persistence",
                broker=self._where,
            )
        self._been_connected = True

    async def _tell_broker(self, client: _Client, topic_filter: str) -> None:
        qos = max((qos for _, qos in self._handlers.get(topic_filter, [])), default=1)
        try:
            codes = await client.while_up(client.subscribe(topic_filter, qos, timeout=_TIMEOUT_S))
        except aiomqtt.MqttError as error:
            _log.warning("a subscription waits for the next connection", topic=topic_filter, reason=str(error))
            return
        if any((code if isinstance(code, int) else code.value) >= _REFUSED for code in codes):
            _log.error("the MQTT broker refuses a subscription: check its access list", topic=topic_filter)

    async def _say_status(self, client: _Client, status: str) -> None:
        if self._options.will_topic:
            await client.while_up(client.publish(self._options.will_topic, status, 1, retain=True, timeout=_TIMEOUT_S))

    def _turn(self, client: _Client | None) -> None:
        if (client is None) == (self._client is None):
            return
        self._client = client
        _log.info("MQTT link is up" if client else "MQTT link is down", broker=self._where)
        for observer in self._observers:
            try:
                observer(client is not None)
            except Exception:  # noqa: BLE001  an observer's fault must not break the link
                _log.exception("an observer of the MQTT link failed")

    async def _dispatch(self, client: _Client, message: aiomqtt.Message) -> None:
        topic = message.topic.value
        if topic == _BROKER_VERSION:
            self._judge_broker(message.payload)
        ours = Message(topic, message.payload, message.retain)
        for topic_filter, handlers in list(self._handlers.items()):
            if not message.topic.matches(topic_filter):
                continue
            for handler, _ in handlers:
                try:
                    waiting = handler(ours)
                    if inspect.isawaitable(waiting):
                        await waiting
                except EvenloadError as error:
                    _log.warning("a message is of no use", topic=topic, reason=str(error))
                except Exception:  # noqa: BLE001  a handler's fault must not break the link
                    _log.exception("a message could not be handled", topic=topic)
        client.acknowledge(message)

    def _judge_broker(self, version: bytes) -> None:
        if b"amqtt" in version.lower():
            _log.warning(
                "amqtt keeps no messages for anonymous clients while they are away: give it a user name and password",
                broker=self._where,
            )

    @property
    def _where(self) -> str:
        return f"{self._options.host}:{self._options.port}"
