"""One session with an MQTT broker on asyncio: from the connection to its loss, over paho's network-free loop.

paho parses and writes packets and keeps the MQTT state; here are the socket's readiness, time, and who waits for which
answer. paho's `connect` blocks (name, TCP, TLS), so it runs in a thread; all else runs on the event loop.
"""

import asyncio
import contextlib
import ssl
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Final

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridges.connections.mqtt_options import MqttOptions

_log = structlog.get_logger(__name__)

_TIMEOUT_S: Final = 10.0
_TICK_S: Final = 1.0
_SESSION_EXPIRY_S: Final = 7 * 24 * 3600
_MAX_WAITING: Final = 1000
_MOST_READ: Final = 100
"""So many messages are read before others have their turn."""
_FIXED_HEADER: Final = 65536
"""Room for a topic and properties beside a payload."""


class LostError(Exception):
    """The broker is gone, refused, or did not answer; the text says which."""


class MqttSession:
    """A session is used once: `open`, then `next_message` until it raises LostError, then `close`.

    Messages wait in the order of their arrival, at most a thousand; what is too long, or comes on top of them, is
    dropped. One is acknowledged by `acknowledge` alone, so that the broker sends it again to who died with it in hand.
    """

    def __init__(
        self, options: MqttOptions, password: str | None, tls: ssl.SSLContext | None, dropped: Counter[str]
    ) -> None:
        """Take where the messages that are dropped are counted, by why."""
        self._loop = asyncio.get_running_loop()
        self._options = options
        self._client = _paho_client(options, password, tls)
        self._connecting: asyncio.Future[None] | None = None
        self._connack: asyncio.Future[bool] = self._loop.create_future()
        self._answers: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._messages: asyncio.Queue[paho.MQTTMessage | None] = asyncio.Queue()
        self._dropped = dropped
        self._overflowing = False
        self._arrived = 0
        self._handled: deque[tuple[paho.MQTTMessage, asyncio.Future[None] | None]] = deque()
        """What is not acknowledged yet, in the order of arrival, and what each waits for."""
        self._lost = asyncio.Event()
        self._reason = ""
        self._timer: asyncio.TimerHandle | None = None
        self.heard_s: float | None = None

    @property
    def lost(self) -> bool:
        """Whether the broker is gone."""
        return self._lost.is_set()

    async def open(self) -> bool:
        """Connect; return whether the broker had kept our session. Raises LostError, OSError or ValueError."""
        self._connecting = self._loop.run_in_executor(None, self._connect)
        await asyncio.shield(self._connecting)
        self._attach()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return await self._connack
        except TimeoutError as error:
            raise LostError("The broker does not speak MQTT, or not in time.") from error

    async def publish(self, topic: str, payload: bytes | str, qos: int, *, retain: bool) -> None:
        """Publish; with QoS 1 it is at the broker when this returns. Raises LostError, ValueError for a wrong topic."""
        info = self._client.publish(topic, payload, qos, retain)
        _check(info.rc)
        for code in await self._answer(info.mid):
            if code.is_failure:
                raise LostError(f"the broker refuses it: {code}")

    async def subscribe(self, topic_filter: str, qos: int) -> bool:
        """Subscribe; tell whether the broker allows it. Raises LostError."""
        result, mid = self._client.subscribe(topic_filter, qos)
        _check(result)
        return not any(code.is_failure for code in await self._answer(mid or 0))

    async def next_message(self) -> paho.MQTTMessage:
        """Return the next message. Raises LostError once the broker is gone and what it had sent is through."""
        message = await self._messages.get()
        if self._messages.empty():
            self._overflowing = False
        if message is None:
            raise LostError(self._reason)
        return message

    def acknowledge(self, message: paho.MQTTMessage, after: asyncio.Future[None] | None = None) -> None:
        """Tell the broker that a message is handled as soon as `after` is done; in the order of arrival (MQTT 4.6)."""
        if after is not None and (not self._handled or self._handled[-1][1] is not after):
            after.add_done_callback(self._acknowledge_handled)
        self._handled.append((message, after))
        self._acknowledge_handled()

    def _acknowledge_handled(self, _: object = None) -> None:
        with self._or_lost():
            while self._handled and not self.lost:
                message, after = self._handled[0]
                if after is not None and not after.done():
                    return
                self._handled.popleft()
                self._client.ack(message.mid, message.qos)

    async def farewell(self) -> None:
        """Disconnect politely, so that the last will is not spoken."""
        if not self.lost and self._client.disconnect() is paho.MQTT_ERR_SUCCESS:
            await self._lost.wait()

    def close(self) -> None:
        """Close the socket whatever state it is in; one that is being opened is closed as soon as it is."""
        self._lose("closed")
        if self._connecting is not None and not self._connecting.done():
            self._connecting.add_done_callback(self._too_late)
        else:
            self._client.reinitialise()  # paho closes the socket it has; nothing of the old state is used again

    # -- the socket

    def _connect(self) -> None:
        options = self._options
        if options.version != "5":
            self._client.connect(options.host, options.port, options.keepalive_s)
            return
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's has no types
        properties.SessionExpiryInterval = _SESSION_EXPIRY_S if options.keeps_session else 0
        properties.MaximumPacketSize = options.max_payload_bytes + _FIXED_HEADER
        clean = not options.keeps_session
        self._client.connect(options.host, options.port, options.keepalive_s, clean_start=clean, properties=properties)

    def _too_late(self, connecting: asyncio.Future[None]) -> None:
        """Hang up where nobody waits for the connection any more."""
        if not connecting.cancelled():
            connecting.exception()
        self._client.reinitialise()

    def _attach(self) -> None:
        """Serve the socket from the event loop, now that `connect` has returned."""
        client = self._client
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_socket_register_write = lambda _, __, sock: self._loop.add_writer(sock.fileno(), self._write)
        client.on_socket_unregister_write = self._on_all_written
        client.on_socket_close = lambda _, __, sock: self._unwatch(sock)
        sock = client.socket()
        if sock is None:
            raise LostError("The broker hung up at once.")
        self._loop.add_reader(sock.fileno(), self._read)
        if client.want_write():
            self._loop.add_writer(sock.fileno(), self._write)
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    @contextlib.contextmanager
    def _or_lost(self) -> Iterator[None]:
        """Give the connection up where serving it raises."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  paho raises whatever a socket or a malformed packet leads to
            self._lose(f"The connection broke: {error}")

    def _read(self) -> None:
        self.heard_s = time.monotonic()
        with self._or_lost():
            last = self._arrived + _MOST_READ
            while (before := self._arrived) < last:
                self._client.loop_read()
                if self._arrived == before and not self._decrypted:
                    return
        if self._decrypted:  # nothing on the socket would tell of it
            self._loop.call_soon(self._read)

    @property
    def _decrypted(self) -> bool:
        """Whether TLS holds bytes that have come from the socket already."""
        sock = None if self.lost else self._client.socket()
        return isinstance(sock, ssl.SSLSocket) and sock.pending() > 0

    def _write(self) -> None:
        with self._or_lost():
            self._client.loop_write()

    def _tick(self) -> None:
        """Let paho keep the connection alive, and notice where it is not."""
        with self._or_lost():
            self._client.loop_misc()
        if not self.lost:
            self._timer = self._loop.call_later(_TICK_S, self._tick)

    def _lose(self, reason: str) -> None:
        """Take notice, once, that the broker is gone, and tell all who wait."""
        if self.lost:
            return
        self._reason = reason
        self._lost.set()
        if self._timer is not None:
            self._timer.cancel()
        if (sock := self._client.socket()) is not None:
            self._unwatch(sock)
        waits: list[asyncio.Future[Any]] = [self._connack, *self._answers.values()]
        for waiting in waits:
            if not waiting.done():
                waiting.set_exception(LostError(reason))
        if self._connack.done() and not self._connack.cancelled():
            self._connack.exception()  # looked at, lest asyncio complain that nobody did
        self._messages.put_nowait(None)

    # -- what paho tells

    def _on_connect(self, _: Any, __: Any, flags: paho.ConnectFlags, code: ReasonCode, ___: Any) -> None:
        if self._connack.done():
            return
        if code.is_failure:
            self._connack.set_exception(LostError(f"The broker refused us: {code}"))
        else:
            self._connack.set_result(flags.session_present)

    def _on_disconnect(self, _: Any, __: Any, ___: Any, code: ReasonCode, ____: Any) -> None:
        self._lose(f"The connection was lost: {code}")

    def _on_message(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        self._arrived += 1
        if (fault := self._fault(message)) is not None:
            self._dropped[fault] += 1
            _log.warning(f"a message {fault} and is dropped", topic=_topic(message), bytes=len(message.payload))
            client.ack(message.mid, message.qos)
        elif self._messages.qsize() < _MAX_WAITING:
            self._messages.put_nowait(message)
        else:
            self._dropped["came on top of too many"] += 1
            if not self._overflowing:
                self._overflowing = True
                _log.warning("too many messages wait; those on top are dropped", topic=_topic(message))

    def _fault(self, message: paho.MQTTMessage) -> str | None:
        if len(message.payload) > self._options.max_payload_bytes:
            return "is too long"
        return "has a topic that is not UTF-8" if _topic(message) is None else None

    def _on_publish(self, _: Any, __: Any, mid: int, code: ReasonCode, ___: Any) -> None:
        self._answered(mid, [code])

    def _on_subscribe(self, _: Any, __: Any, mid: int, codes: list[ReasonCode], ___: Any) -> None:
        self._answered(mid, codes)

    def _on_all_written(self, _: Any, __: Any, sock: Any) -> None:
        self._loop.remove_writer(sock.fileno())

    def _unwatch(self, sock: Any) -> None:
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())

    def _answered(self, mid: int, codes: list[ReasonCode]) -> None:
        waiting = self._answers.get(mid)
        if waiting is not None and not waiting.done():
            waiting.set_result(codes)

    async def _answer(self, mid: int) -> list[ReasonCode]:
        """Wait for what the broker has to say to a packet; nothing is answered before the event loop's next turn."""
        if self.lost:
            raise LostError(self._reason)
        waiting = self._answers[mid] = self._loop.create_future()
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                codes: list[ReasonCode] = await waiting
        except TimeoutError as error:
            raise LostError("the broker did not answer in time") from error
        else:
            return codes
        finally:
            self._answers.pop(mid, None)


def _paho_client(options: MqttOptions, password: str | None, tls: ssl.SSLContext | None) -> paho.Client:
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=options.client_id,
        clean_session=None if options.version == "5" else not options.keeps_session,
        protocol=paho.MQTTv5 if options.version == "5" else paho.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    if options.username is not None:
        client.username_pw_set(options.username, password)
    if tls is not None:
        client.tls_set_context(tls)
    if options.will_topic:
        client.will_set(options.will_topic, "offline", 1, retain=True)
    return client


def _topic(message: paho.MQTTMessage) -> str | None:
    try:
        return message.topic
    except UnicodeDecodeError:
        return None


def _check(result: MQTTErrorCode) -> None:
    if result is not paho.MQTT_ERR_SUCCESS:
        raise LostError(paho.error_string(result))
