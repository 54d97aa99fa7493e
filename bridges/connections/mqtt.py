"""The connection to an MQTT broker: it reconnects by itself, and says so when it cannot send."""

import asyncio
import contextlib
import inspect
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import structlog
from paho.mqtt.client import MQTTMessage, topic_matches_sub

from bridges.backoff import Backoff
from bridges.connections import Handler, Message, Storing
from bridges.connections.mqtt_options import MqttOptions
from bridges.connections.mqtt_session import LostError, MqttSession
from core.errors import EvenloadError, InvalidError, UnavailableError

_log = structlog.get_logger(__name__)

_STEADY_S: Final = 10.0
"""A connection that lasted this long was good; shorter ones keep the back-off growing (two clients of one id)."""
_FAREWELL_S: Final = 2.0
_LONGEST_FILTER: Final = 65535
_WILDCARDS: Final = frozenset("+#")
_BROKER_VERSION: Final = "$SYS/broker/version"


def create(options: MqttOptions) -> "MqttConnection":
    """Return the connection to one broker. Raises InvalidError for files that cannot be read."""
    return MqttConnection(options)


class MqttConnection:
    """One connection to one broker, kept up by `run()`.

    Nothing is buffered here: what must not be lost lies in the caller's store until `publish` has returned. Subscribe
    before `run()`: what waited at the broker comes as soon as the connection is up, and is gone if nobody handles it.
    Raises InvalidError at once for files that cannot be read.
    """

    def __init__(self, options: MqttOptions, backoff: Backoff | None = None) -> None:
        self._options = options
        self._backoff = backoff or Backoff()
        self._password = options.secret()
        self._tls = options.tls.context() if options.tls else None
        self._handlers: dict[str, list[tuple[Handler, int]]] = {}
        self._wild: dict[str, None] = {}
        """Those of the filters that have wildcards, in order."""
        self._observers: list[Callable[[bool], None]] = []
        self._session: MqttSession | None = None
        self._heard_s: float | None = None
        self._been_connected = False
        self._storing: Storing = _nothing_to_store
        self._unused: Counter[str] = Counter()
        if options.warning:
            _log.warning(options.warning)

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now."""
        return self._session is not None and not self._session.lost

    @property
    def heard_s(self) -> float | None:
        """When the broker was last heard, in seconds of `time.monotonic`; None if never."""
        return self._heard_s if self._session is None else self._session.heard_s

    @property
    def unused(self) -> Mapping[str, int]:
        """How many messages came to nothing since the start, by why."""
        return self._unused

    def acknowledge_after(self, storing: Storing) -> None:
        """Acknowledge messages only when what came of them is on disk; until now, when they are handled."""
        self._storing = storing

    def observe(self, observer: Callable[[bool], None]) -> None:
        """Call `observer` with True and False when the connection comes up and goes down."""
        self._observers.append(observer)

    async def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        """Hand a message to the broker; with QoS 1 it is there when this returns.

        Raises UnavailableError if it is not known to have arrived, InvalidError for a topic that cannot be.
        """
        session = self._session
        if session is None:
            raise UnavailableError(f"The MQTT broker {self._options.address} is not connected; nothing was sent.")
        try:
            await session.publish(topic, payload, qos, retain=retain)
        except (LostError, OSError) as error:
            raise UnavailableError(
                f"The MQTT broker {self._options.address} did not take a message: {error}"
            ) from error
        except ValueError as error:
            raise InvalidError(f"Cannot publish to {topic!r:.100}: {error}") from error

    async def subscribe(self, topic_filter: str, handler: Handler, qos: int = 1) -> None:
        """Give `handler` what matches the filter, now and after every reconnection.

        Without a connection the broker hears of it at the next one. Retained messages come each time. Raises
        InvalidError for what is not a topic filter.
        """
        _check_filter(topic_filter)
        self._handlers.setdefault(topic_filter, []).append((handler, qos))
        if not _WILDCARDS.isdisjoint(topic_filter):
            self._wild[topic_filter] = None
        if self._session is not None:
            await self._tell_broker(self._session, topic_filter)

    async def unsubscribe(self, topic_filter: str, handler: Handler) -> None:
        """Take a handler away.

        The broker is not told: a gateway that stops wants to find, at its next start, what came meanwhile.
        """
        left = [pair for pair in self._handlers.get(topic_filter, []) if pair[0] != handler]
        if left:
            self._handlers[topic_filter] = left
        else:
            self._handlers.pop(topic_filter, None)
            self._wild.pop(topic_filter, None)

    async def run(self) -> None:
        """Keep the connection up until cancelled; a broker that is away is waited for."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._connection()
            except (LostError, OSError, ValueError) as error:
                _log.warning("MQTT broker lost or not reachable", broker=self._options.address, reason=str(error))
            failures = 1 if time.monotonic() - began > _STEADY_S else failures + 1
            await asyncio.sleep(self._backoff.delay_s(failures))

    async def _connection(self) -> None:
        """Live through one session, until the broker is lost."""
        session = MqttSession(self._options, self._password, self._tls, self._unused)
        try:
            kept = await session.open()
        except BaseException:
            session.close()
            raise
        try:
            self._judge_session(kept=kept)
            subscribed = await self._tell_all(session, set())
            await self._say_status(session, "online")
            await self._tell_all(session, subscribed)
            self._turn(session)
            if self._options.anonymous:
                with contextlib.suppress(LostError):  # not every broker tells who it is
                    await session.subscribe(_BROKER_VERSION, 0)
            while True:
                await self._dispatch(session, await session.next_message())
        finally:
            self._turn(None)
            self._heard_s = session.heard_s
            await self._leave(session)

    async def _leave(self, session: MqttSession) -> None:
        try:
            async with asyncio.timeout(_FAREWELL_S):
                if not session.lost:
                    await self._say_status(session, "offline")
                await session.farewell()
        except (LostError, OSError, TimeoutError) as error:
            _log.debug("no clean farewell", broker=self._options.address, reason=str(error))
        finally:
            session.close()

    def _judge_session(self, *, kept: bool) -> None:
        if not self._options.keeps_session:
            _log.warning(
                "the MQTT broker will drop messages while we are away: set a client_id, and clean_session to false",
                broker=self._options.address,
            )
        elif self._been_connected and not kept:
            _log.warning(
                "the MQTT broker forgot our session, messages queued for us are gone: enable its persistence",
                broker=self._options.address,
            )
        self._been_connected = True

    async def _tell_all(self, session: MqttSession, subscribed: set[str]) -> set[str]:
        """Subscribe to all else that is listened to, also to what is added meanwhile; return what is subscribed to."""
        while rest := [topic_filter for topic_filter in self._handlers if topic_filter not in subscribed]:
            for topic_filter in rest:
                await self._tell_broker(session, topic_filter)
            subscribed.update(rest)
        return subscribed

    async def _tell_broker(self, session: MqttSession, topic_filter: str) -> None:
        qos = max((qos for _, qos in self._handlers.get(topic_filter, [])), default=1)
        try:
            allowed = await session.subscribe(topic_filter, qos)
        except LostError as error:
            _log.warning("a subscription waits for the next connection", topic=topic_filter, reason=str(error))
            return
        if not allowed:
            _log.error("the MQTT broker refuses a subscription: check its access list", topic=topic_filter)

    async def _say_status(self, session: MqttSession, status: str) -> None:
        if self._options.will_topic:
            await session.publish(self._options.will_topic, status, 1, retain=True)

    def _turn(self, session: MqttSession | None) -> None:
        if (session is None) == (self._session is None):
            return
        self._session = session
        _log.info("MQTT connection is up" if session else "MQTT connection is down", broker=self._options.address)
        for observer in self._observers:
            try:
                observer(session is not None)
            except Exception:  # noqa: BLE001  an observer's fault must not break the connection
                _log.exception("an observer of the MQTT connection failed")

    async def _dispatch(self, session: MqttSession, message: MQTTMessage) -> None:
        topic = message.topic
        ours = Message(topic, bytes(message.payload), message.retain)
        if topic == _BROKER_VERSION:
            self._judge_broker(ours.payload)
        for handler in self._listeners(topic):
            try:
                waiting = handler(ours)
                if inspect.isawaitable(waiting):
                    await waiting
            except EvenloadError as error:
                self._unused["cannot be read"] += 1
                _log.warning("a message is of no use", topic=topic, reason=str(error))
            except Exception:  # noqa: BLE001  a handler's fault must not break the connection
                self._unused["could not be handled"] += 1
                _log.exception("a message could not be handled", topic=topic)
        if message.qos > 0:
            session.acknowledge(message, self._storing())

    def _listeners(self, topic: str) -> list[Handler]:
        """Return who listens to a topic. Most filters are topics: they are looked up, so that many cost no more."""
        filters = [topic, *(each for each in self._wild if topic_matches_sub(each, topic))]
        return [handler for each in dict.fromkeys(filters) for handler, _ in self._handlers.get(each, ())]

    def _judge_broker(self, version: bytes) -> None:
        if b"amqtt" in version.lower():
            _log.warning(
                "amqtt keeps no messages for anonymous clients while they are away: give it a user name and password",
                broker=self._options.address,
            )


def _nothing_to_store() -> None:
    """Take the place of what stores, until there is something."""


def _check_filter(topic_filter: str) -> None:
    """Raise InvalidError for what is not a topic filter (MQTT 4.7): a broker hangs up on such a one, each time."""
    levels = topic_filter.split("/")
    wild = [level for level in levels if ("+" in level and level != "+") or ("#" in level and level != "#")]
    try:
        fits = 0 < len(topic_filter.encode()) <= _LONGEST_FILTER
    except UnicodeEncodeError:
        fits = False
    if not fits or "\0" in topic_filter or wild or "#" in levels[:-1]:
        raise InvalidError(f"{topic_filter!r:.100} is not a topic filter.")
