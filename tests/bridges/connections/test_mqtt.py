"""The MQTT link against real brokers."""

import asyncio
import contextlib
import datetime as dt
import gc
import ipaddress
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from amqtt.broker import Broker as Amqtt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from paho.mqtt import client as paho
from pydantic import ValidationError

from bridges.backoff import Backoff
from bridges.connections import Message
from bridges.connections.mqtt import MqttConnection
from bridges.connections.mqtt_options import MqttOptions, TlsOptions
from bridges.connections.mqtt_session import MqttSession
from core.errors import InvalidError, UnavailableError
from evenload.demo.processes import free_port
from support.broker import Broker, Tls, mosquitto
from support.waiting import until

FAST = Backoff(0.05, 0.2)


@contextlib.asynccontextmanager
async def running(link: MqttConnection, *, wait: bool = True) -> AsyncIterator[MqttConnection]:
    task = asyncio.create_task(link.run())
    try:
        if wait:
            await until(lambda: link.connected, "the connection")
        yield link
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def options(broker: Broker, client_id: str = "gateway-1", **more: object) -> MqttOptions:
    values: dict[str, object] = {"host": broker.host, "port": broker.port, "client_id": client_id}
    if broker.password:
        values |= {"username": broker.username, "password": broker.password}
    return MqttOptions.model_validate(values | more)


class Inbox:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
async def test_a_message_goes_round(tmp_path: Path, version: str) -> None:
    with mosquitto(tmp_path) as broker:
        inbox = Inbox()
        link = MqttConnection(options(broker, version=version), FAST)
        await link.subscribe("house/+/power", inbox)
        async with running(link):
            await link.publish("house/1/power", "230")
            await link.publish("house/1/other", "1")
            await link.publish("house/2/power", b"7", qos=0)
            await until(lambda: len(inbox.messages) == 2)
        assert inbox.messages == [Message("house/1/power", b"230"), Message("house/2/power", b"7")]
        assert not link.connected


async def test_who_subscribes_while_the_connection_comes_up_is_heard_by_the_broker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver may begin to listen at any moment; before, such a topic waited for the next connection."""
    inbox, told = Inbox(), MqttSession.subscribe

    async def meanwhile(session: MqttSession, topic_filter: str, qos: int) -> bool:
        if topic_filter == "house/#":
            await link.subscribe("late/#", inbox)
        return await told(session, topic_filter, qos)

    monkeypatch.setattr(MqttSession, "subscribe", meanwhile)
    with mosquitto(tmp_path) as broker:
        link = MqttConnection(options(broker), FAST)
        await link.subscribe("house/#", Inbox())
        async with running(link):
            await link.publish("late/1", "230")
            await until(lambda: inbox.payloads == [b"230"], "the message")


@pytest.mark.parametrize("serving", ["loop_misc", "loop_read", "loop_write"])
async def test_what_serving_the_socket_raises_costs_the_connection_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serving: str
) -> None:
    ups: list[bool] = []
    serve, faults = getattr(paho.Client, serving), [RuntimeError("no such state")]

    def faulty(client: paho.Client, *more: object) -> object:
        if link.connected and faults:
            raise faults.pop()
        return serve(client, *more)

    with mosquitto(tmp_path) as broker:
        link = MqttConnection(options(broker), FAST)
        link.observe(ups.append)
        monkeypatch.setattr(paho.Client, serving, faulty)
        async with running(link):
            task = asyncio.create_task(link.subscribe("house/#", Inbox()))
            await until(lambda: ups[:3] == [True, False, True], "the connection after the fault")
            await task
            await link.publish("house/1/power", "230")


async def test_nothing_is_buffered_without_a_broker() -> None:
    link = MqttConnection(MqttOptions(host="127.0.0.1", port=free_port(), client_id="x"), FAST)
    with pytest.raises(UnavailableError, match="nothing was sent"):
        await link.publish("a", "b")
    with structlog.testing.capture_logs() as logs:
        async with running(link, wait=False):
            await until(lambda: len([log for log in logs if "not reachable" in log["event"]]) >= 3)
    assert not link.connected


@pytest.mark.parametrize("kill", [False, True])
async def test_it_survives_the_broker(tmp_path: Path, kill: bool) -> None:
    with mosquitto(tmp_path) as broker:
        inbox, ups = Inbox(), []
        link = MqttConnection(options(broker), FAST)
        link.observe(ups.append)
        await link.subscribe("t", inbox)
        async with running(link):
            broker.kill() if kill else broker.stop()
            await until(lambda: not link.connected, "the loss")
            with pytest.raises(UnavailableError):
                await link.publish("t", "lost")
            broker.start()
            await until(lambda: link.connected, "the reconnection")
            await link.publish("t", "back")
            await until(lambda: b"back" in inbox.payloads)
        assert inbox.payloads == [b"back"]
        assert ups == [True, False, True, False]


async def test_messages_wait_in_a_kept_session(tmp_path: Path) -> None:
    with mosquitto(tmp_path, password="secret") as broker:
        inbox = Inbox()
        sender = MqttConnection(options(broker, "sender"), FAST)
        async with running(sender):
            first = MqttConnection(options(broker, "gateway"), FAST)
            await first.subscribe("t", Inbox())
            async with running(first):
                pass
            for number in range(5):
                await sender.publish("t", str(number))
            second = MqttConnection(options(broker, "gateway"), FAST)
            await second.subscribe("t", inbox)
            async with running(second):
                await until(lambda: len(inbox.messages) >= 5)
        assert inbox.payloads == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_message_in_hand_when_the_gateway_dies_comes_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        taken, never = asyncio.Event(), asyncio.Event()

        async def stuck(_: Message) -> None:
            taken.set()
            await never.wait()

        first = MqttConnection(options(broker, "gateway"), FAST)
        await first.subscribe("t", stuck)
        async with running(first):
            await first.publish("t", "precious")
            await taken.wait()
        inbox = Inbox()
        second = MqttConnection(options(broker, "gateway"), FAST)
        await second.subscribe("t", inbox)
        async with running(second):
            await until(lambda: inbox.payloads == [b"precious"])


@pytest.mark.parametrize("stored", [False, True])
async def test_what_was_not_stored_when_the_gateway_dies_comes_again(tmp_path: Path, stored: bool) -> None:
    with mosquitto(tmp_path) as broker:
        inbox, again = Inbox(), Inbox()
        storing = asyncio.get_running_loop().create_future()
        first = MqttConnection(options(broker, "gateway"), FAST)
        first.acknowledge_after(lambda: storing)
        await first.subscribe("t", inbox)
        async with running(first), running(MqttConnection(options(broker, "sender"), FAST)) as sender:
            await sender.publish("t", "1")
            await until(lambda: inbox.payloads == [b"1"])
            if stored:
                storing.set_result(None)
        second = MqttConnection(options(broker, "gateway"), FAST)
        await second.subscribe("t", again)
        async with running(second):
            await second.publish("t", "2")
            await until(lambda: b"2" in again.payloads)
    assert again.payloads == ([b"2"] if stored else [b"1", b"2"])


async def test_messages_are_acknowledged_in_the_order_of_their_arrival(tmp_path: Path) -> None:
    """The second needs no storing; acknowledged before the first it would break MQTT 4.6."""
    with mosquitto(tmp_path) as broker:
        inbox, again = Inbox(), Inbox()
        storing = [asyncio.get_running_loop().create_future()]
        first = MqttConnection(options(broker, "gateway"), FAST)
        first.acknowledge_after(lambda: storing.pop() if storing else None)
        await first.subscribe("t", inbox)
        async with running(first), running(MqttConnection(options(broker, "sender"), FAST)) as sender:
            await sender.publish("t", "1")
            await sender.publish("t", "2")
            await until(lambda: inbox.payloads == [b"1", b"2"])
        second = MqttConnection(options(broker, "gateway"), FAST)
        await second.subscribe("t", again)
        async with running(second):
            await until(lambda: again.payloads == [b"1", b"2"])


async def test_a_broker_that_forgets_is_named(tmp_path: Path) -> None:
    with mosquitto(tmp_path, persistence=False) as broker:
        link = MqttConnection(options(broker), FAST)
        with structlog.testing.capture_logs() as logs:
            async with running(link):
                assert not any("forgot" in log["event"] for log in logs)
                broker.restart(kill=True)
                await until(lambda: any("forgot our session" in log["event"] for log in logs))


async def test_a_broker_with_persistence_is_not_blamed(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        ups: list[bool] = []
        link = MqttConnection(options(broker), FAST)
        link.observe(ups.append)
        with structlog.testing.capture_logs() as logs:
            async with running(link):
                broker.restart()
                await until(lambda: ups.count(True) == 2)
        assert not any("forgot" in log["event"] or "drop messages" in log["event"] for log in logs)


@pytest.mark.parametrize("more", [{"clean_session": True}, {"client_id": ""}])
async def test_options_that_keep_no_session_are_named(tmp_path: Path, more: dict[str, object]) -> None:
    with mosquitto(tmp_path) as broker, structlog.testing.capture_logs() as logs:
        async with running(MqttConnection(options(broker, **more), FAST)):  # type: ignore[arg-type]
            pass
    assert any("will drop messages" in log["event"] for log in logs)


async def test_handlers_cannot_break_the_link(tmp_path: Path) -> None:
    def broken(_: Message) -> None:
        raise RuntimeError("a fault of the handler")

    async def doubtful(_: Message) -> None:
        raise InvalidError("not for me")

    with mosquitto(tmp_path) as broker, structlog.testing.capture_logs() as logs:
        inbox = Inbox()
        link = MqttConnection(options(broker), FAST)
        for handler in (broken, doubtful, inbox):
            await link.subscribe("t", handler)
        async with running(link):
            await link.publish("t", "1")
            await link.publish("t", "2")
            await until(lambda: inbox.payloads == [b"1", b"2"])
            assert link.connected
    assert [log["event"] for log in logs].count("a message could not be handled") == 2
    assert [log["event"] for log in logs].count("a message is of no use") == 2
    assert link.unused == {"could not be handled": 2, "cannot be read": 2}


async def test_a_message_that_is_too_long_is_dropped(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker, structlog.testing.capture_logs() as logs:
        inbox = Inbox()
        link = MqttConnection(options(broker, max_payload_bytes=1024), FAST)
        await link.subscribe("t", inbox)
        async with running(link):
            await link.publish("t", b"x" * 1025)
            await link.publish("t", b"x" * 1024)
            await until(lambda: inbox.messages)
    assert [len(payload) for payload in inbox.payloads] == [1024]
    assert any("too long" in log["event"] for log in logs)


async def test_unsubscribe_and_late_subscribe(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        one, two = Inbox(), Inbox()
        link = MqttConnection(options(broker), FAST)
        async with running(link):
            await link.subscribe("t", one)
            await link.subscribe("t", two)
            await link.publish("t", "1")
            await until(lambda: one.messages and two.messages)
            await link.unsubscribe("t", one)
            await link.publish("t", "2")
            await until(lambda: len(two.messages) == 2)
            await link.unsubscribe("t", two)
            await link.publish("t", "3")
            await link.subscribe("u", two)
            await link.publish("u", "4")
            await until(lambda: len(two.messages) == 3)
        assert one.payloads == [b"1"]
        assert two.payloads == [b"1", b"2", b"4"]


async def test_what_comes_after_a_clean_stop_waits_for_the_next_start(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        one, two = Inbox(), Inbox()
        link = MqttConnection(options(broker), FAST)
        await link.subscribe("t", one)
        async with running(link):
            await link.unsubscribe("t", one)
        async with running(MqttConnection(options(broker, "sender"), FAST)) as sender:
            await sender.publish("t", "meanwhile")
        link = MqttConnection(options(broker), FAST)
        await link.subscribe("t", two)
        async with running(link):
            await until(lambda: two.payloads == [b"meanwhile"])
        assert one.messages == []


async def test_status_topic_and_last_will(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        inbox = Inbox()
        watcher = MqttConnection(options(broker, "watcher"), FAST)
        await watcher.subscribe("gateways/1", inbox)
        async with running(watcher):
            async with running(MqttConnection(options(broker, "gateway", will_topic="gateways/1"), FAST)):
                await until(lambda: inbox.payloads == [b"online"])
            await until(lambda: inbox.payloads == [b"online", b"offline"])
            link = MqttConnection(options(broker, "gateway", will_topic="gateways/1"), FAST)
            async with running(link):
                await until(lambda: len(inbox.messages) == 3)
                # The cable is pulled: no farewell, the broker speaks the will; then the link is back.
                assert link._session is not None
                connection = link._session._client.socket()
                assert isinstance(connection, socket.socket)
                connection.shutdown(socket.SHUT_RDWR)
                await until(lambda: inbox.payloads[3:5] == [b"offline", b"online"])


@contextlib.asynccontextmanager
async def server(*answers: bytes) -> AsyncIterator[MqttOptions]:
    """Something that sends `answers` to the first packet, and hangs up; without answers it is silent."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.writelines(answers)
        if not answers:
            await reader.read()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield MqttOptions(host="127.0.0.1", port=listener.sockets[0].getsockname()[1], client_id="x")


async def test_a_refusal_is_told_even_if_the_broker_hangs_up_at_once() -> None:
    async with server(b"\x20\x02\x00\x05") as reached:
        with structlog.testing.capture_logs() as logs:
            async with running(MqttConnection(reached, FAST), wait=False):
                await until(lambda: len(logs) >= 2)
    assert all("refused us: Not authorized" in log["reason"] for log in logs)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x20\x01",
        b"\x20\x02\x00\x00\x30\x00",
        b"\x20\x02\x00\x00\x30\x03\x00\xff\xff",
        b"\x20\x02\x00\x00\xff\xff\xff\xff\xff",
        b"\x20\x02\x00\x00\x90\x00",
    ],
)
async def test_what_is_no_mqtt_breaks_the_session_and_nothing_else(answer: bytes) -> None:
    async with server(answer) as reached:
        with structlog.testing.capture_logs() as logs:
            async with running(MqttConnection(reached, FAST), wait=False):
                await until(lambda: len([log for log in logs if "lost or not" in log["event"]]) >= 2)


async def test_a_topic_that_is_no_text_is_dropped_and_acknowledged() -> None:
    connack, publication = b"\x20\x02\x00\x00", b"\x32\x07\x00\x02\xff\xfe\x00\x01x"
    async with server(connack + publication) as reached:
        with structlog.testing.capture_logs() as logs:
            async with running(MqttConnection(reached, FAST), wait=False):
                await until(lambda: any("not UTF-8" in log["event"] for log in logs))


async def test_wrong_password_waits_and_says_why(tmp_path: Path) -> None:
    with mosquitto(tmp_path, password="right") as broker, structlog.testing.capture_logs() as logs:
        link = MqttConnection(options(broker, password="wrong"), FAST)
        async with running(link, wait=False):
            await until(lambda: len(logs) >= 2)
        assert not link.connected
    assert all("authori" in log["reason"].lower() for log in logs)


async def test_password_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("right\n")
    with mosquitto(tmp_path, password="right") as broker:
        settings = MqttOptions(
            host=broker.host, port=broker.port, username=broker.username, password_file=secret, client_id="x"
        )
        async with running(MqttConnection(settings, FAST)) as link:
            await link.publish("a", "b")


async def test_a_silent_server_does_not_hang_or_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridges.connections.mqtt_session._TIMEOUT_S", 0.1)
    async with server() as reached:
        with structlog.testing.capture_logs() as logs:
            link = MqttConnection(reached, FAST)
            async with running(link, wait=False):
                await until(lambda: len(logs) >= 3)
            assert not link.connected
    assert all("does not speak MQTT" in log["reason"] for log in logs)


async def test_a_connection_that_comes_about_too_late_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go_on = threading.Event(), threading.Event()
    connect_now = MqttSession._connect

    def slowly(session: MqttSession) -> None:
        entered.set()
        go_on.wait(30)
        connect_now(session)

    monkeypatch.setattr(MqttSession, "_connect", slowly)
    hung_up = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        writer.close()
        hung_up.set()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        async with running(MqttConnection(MqttOptions(host="127.0.0.1", port=port), FAST), wait=False):
            await until(entered.is_set)
        go_on.set()
        await asyncio.wait_for(hung_up.wait(), 30)


async def test_a_flood_is_bounded_and_what_waits_comes_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridges.connections.mqtt_session._MAX_WAITING", 5)
    going, taken = asyncio.Event(), list[bytes]()

    async def slow(message: Message) -> None:
        taken.append(message.payload)
        await going.wait()

    with mosquitto(tmp_path) as broker, structlog.testing.capture_logs() as logs:
        link = MqttConnection(options(broker), FAST)
        await link.subscribe("t", slow, 0)
        async with running(link), running(MqttConnection(options(broker, "sender"), FAST)) as sender:
            for number in range(50):
                await sender.publish("t", str(number))
            await until(lambda: any("too many messages wait" in log["event"] for log in logs))
            await until(lambda: link.unused["came on top of too many"] >= 40)
            assert link.connected
            going.set()
            await sender.publish("t", "last")
            await until(lambda: len(taken) >= 6)
    assert taken[:6] == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert [log["event"] for log in logs].count("too many messages wait; those on top are dropped") < 5


async def test_all_who_listen_to_a_topic_get_a_message_once(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        inboxes = {topic_filter: Inbox() for topic_filter in ("a/b", "a/+", "#", "a/c")}
        link = MqttConnection(options(broker), FAST)
        for topic_filter, inbox in inboxes.items():
            await link.subscribe(topic_filter, inbox)
        async with running(link), running(MqttConnection(options(broker, "sender"), FAST)) as sender:
            await sender.publish("a/b", "1")
            await until(lambda: inboxes["#"].messages)
            await link.unsubscribe("#", inboxes["#"])
            await sender.publish("a/b", "2")
            await until(lambda: len(inboxes["a/+"].messages) == 2)
    heard = {topic_filter: inbox.payloads for topic_filter, inbox in inboxes.items()}
    assert heard == {"a/b": [b"1", b"2"], "a/+": [b"1", b"2"], "#": [b"1"], "a/c": []}


@pytest.mark.parametrize("wrong", ["", "a/#/b", "a+", "#a", "a\0b", "\ud800", "x" * 65536])
async def test_what_is_no_topic_filter_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidError, match="not a topic filter"):
        await MqttConnection(MqttOptions()).subscribe(wrong, Inbox())


async def test_it_tells_when_the_broker_was_heard(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        link = MqttConnection(options(broker), FAST)
        assert link.heard_s is None
        async with running(link):
            first = link.heard_s
            assert first is not None
            await link.publish("t", "1")
            assert link.heard_s > first
        assert link.heard_s is not None


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def throw_away_ca(home: Path) -> tuple[Tls, TlsOptions]:
    now = dt.datetime.now(dt.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())

    def certificate(subject: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name("test authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            .sign(ca_key, hashes.SHA256())
        )

    def save(name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool = False) -> tuple[Path, Path]:
        cert_file, key_file = home / f"{name}.crt", home / f"{name}.key"
        cert_file.write_bytes(certificate(name, key, ca=ca).public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_file, key_file

    ca_file, _ = save("test authority", ca_key, ca=True)
    broker_cert, broker_key = save("broker", ec.generate_private_key(ec.SECP256R1()))
    client_cert, client_key = save("gateway", ec.generate_private_key(ec.SECP256R1()))
    return (
        Tls(ca_file, broker_cert, broker_key, client_ca=ca_file),
        TlsOptions(ca=ca_file, cert=client_cert, key=client_key),
    )


async def test_mutual_tls(tmp_path: Path) -> None:
    files, tls = throw_away_ca(tmp_path)
    with mosquitto(tmp_path, tls=files) as broker:
        inbox = Inbox()
        link = MqttConnection(options(broker, tls=tls), FAST)
        await link.subscribe("t", inbox)
        async with running(link):
            await link.publish("t", "sealed")
            await until(lambda: inbox.payloads == [b"sealed"])


# paho leaves the socket of a failed handshake to the garbage collector, which complains.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_a_broker_of_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    files, _ = throw_away_ca(tmp_path)
    with mosquitto(tmp_path, tls=files) as broker:
        with structlog.testing.capture_logs() as logs:
            stranger = MqttConnection(options(broker, tls=TlsOptions(), password=None), FAST)
            async with running(stranger, wait=False):
                await until(lambda: logs)
        assert "certificate" in logs[0]["reason"].lower()
        assert not stranger.connected
    gc.collect()


# amqtt itself warns of its own future.
@pytest.mark.filterwarnings("ignore:.*psutil:DeprecationWarning")
async def test_amqtt_with_anonymous_clients_is_named() -> None:
    port = free_port()
    broker = Amqtt(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True},
                "amqtt.plugins.sys.broker.BrokerSysPlugin": {"sys_interval": 1},
            },
        }
    )
    await broker.start()
    try:
        with structlog.testing.capture_logs() as logs:
            link = MqttConnection(MqttOptions(host="127.0.0.1", port=port, client_id="gateway"), FAST)
            async with running(link):
                await until(lambda: any("amqtt keeps no messages" in log["event"] for log in logs))
    finally:
        await broker.shutdown()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"password": "x"}, "needs a username"),
        ({"username": "u", "password": "x", "password_file": "y"}, "not both"),
        ({"tls": {"cert": "a"}}, "belong together"),
        ({"version": "4"}, "3.1.1"),
        ({"port": 0}, "greater than"),
        ({"keepalive": 3}, "Extra inputs"),
    ],
)
def test_wrong_options(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        MqttOptions.model_validate(values)


def test_missing_files_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="password file"):
        MqttConnection(MqttOptions(username="u", password_file=tmp_path / "none"))
    with pytest.raises(InvalidError, match="TLS files"):
        MqttConnection(MqttOptions(tls=TlsOptions(ca=tmp_path / "none")))


def test_a_password_does_not_show() -> None:
    assert "hunter2" not in repr(MqttOptions(username="u", password="hunter2"))  # type: ignore[arg-type]
    assert MqttOptions.model_validate({"version": 5}).version == "5"


def test_backoff_grows_to_its_cap() -> None:
    backoff = Backoff(1.0, 8.0)
    for failures, full in [(0, 1), (1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (10**6, 8)]:
        for _ in range(20):
            assert full / 2 <= backoff.delay_s(failures) <= full


@pytest.mark.parametrize(
    ("host", "more", "warned"),
    [
        ("broker.example", {"username": "a", "password": "b"}, True),
        ("192.0.2.1", {"username": "a", "password": "b"}, True),
        ("broker.example", {"username": "a", "password": "b", "tls": {}}, False),
        ("broker.example", {"username": "a"}, False),
        ("127.0.0.1", {"username": "a", "password": "b"}, False),
        ("::1", {"username": "a", "password": "b"}, False),
        ("localhost", {"username": "a", "password": "b"}, False),
    ],
)
def test_a_password_in_clear_off_loopback_is_warned_of(host: str, more: dict[str, Any], warned: bool) -> None:
    with structlog.testing.capture_logs() as logs:
        MqttConnection(MqttOptions(host=host, **more))
    assert any("in clear" in log["event"] for log in logs) is warned
