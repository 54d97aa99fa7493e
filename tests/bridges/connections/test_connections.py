"""What all kinds of connections are: made from options, closed at first, and nowhere where there is none."""

import pytest

from bridges.connections import Connection, ConnectionKind, NoConnection, connect
from bridges.connections.mqtt import MqttConnection
from bridges.connections.mqtt_options import MqttOptions
from core.errors import InvalidError, UnavailableError


def test_options_become_a_connection_that_is_not_open_yet() -> None:
    connection = connect(MqttOptions(host="broker.example"))
    assert isinstance(connection, MqttConnection)
    assert (connection.connected, connection.heard_s) == (False, None)


def test_options_that_cannot_be_used_are_told_at_once() -> None:
    with pytest.raises(InvalidError, match="password file"):
        connect(MqttOptions.model_validate({"username": "u", "password_file": "/nowhere/at/all"}))


def test_every_kind_has_options_of_its_name() -> None:
    assert [MqttOptions().kind] == list(ConnectionKind)


async def test_nowhere_takes_nothing_and_says_nothing() -> None:
    nowhere: Connection = NoConnection()
    heard: list[object] = []
    nowhere.observe(heard.append)
    await nowhere.subscribe("a", heard.append)
    await nowhere.run()
    with pytest.raises(UnavailableError, match="no connection to send 1 bytes to a"):
        await nowhere.publish("a", "b")
    await nowhere.unsubscribe("a", heard.append)
    assert (nowhere.connected, nowhere.heard_s, heard) == (False, None, [])
