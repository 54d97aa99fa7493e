"""A publisher that costs next to nothing: MQTT 3.1.1 packets written beforehand, on a raw socket.

A client library would be the limit of what is measured. `python -m benchmarks.mqtt_load` is the other end of the scale,
a subscriber on aiomqtt that stores nothing: it tells when it listens, and when the last message had come.
"""

import asyncio
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import aiomqtt

_KEEPALIVE_S: Final = 600
_PUBACK: Final = 4
_CHUNK: Final = 200


@dataclass(frozen=True, slots=True)
class Publication:
    """A message to be sent `at_s` seconds after the start."""

    at_s: float
    topic: str
    payload: bytes


class Publisher:
    """One client of the broker that only publishes."""

    def __init__(self, port: int, client_id: str = "load") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        name = _text(client_id)
        self._socket.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02" + struct.pack("!H", _KEEPALIVE_S) + name))
        if self._socket.recv(4)[3:] != b"\0":
            raise ConnectionError("The broker refuses the publisher.")

    def publish(self, messages: Sequence[Publication], qos: int) -> list[float]:
        """Send all at their times; return when each was handed over (`time.monotonic`).

        With QoS 1 this waits for all acknowledgements of the broker, and raises OSError where one does not come.
        """
        packets = [_publish(message, qos, 1 + number % 65_535) for number, message in enumerate(messages)]
        answers = threading.Thread(target=self._read_answers, args=(len(packets) if qos else 0,))
        answers.start()
        sent: list[float] = []
        begun = time.monotonic()
        first = 0
        while first < len(packets):
            now = time.monotonic()
            if (wait := begun + messages[first].at_s - now) > 0:
                time.sleep(wait)
                now = time.monotonic()
            last = first + 1
            while last < min(len(packets), first + _CHUNK) and begun + messages[last].at_s <= now:
                last += 1
            sent += [now] * (last - first)
            self._socket.sendall(b"".join(packets[first:last]))
            first = last
        answers.join()
        return sent

    def close(self) -> None:
        self._socket.sendall(b"\xe0\0")
        self._socket.close()

    def _read_answers(self, wanted: int) -> None:
        left = wanted * _PUBACK
        while left > 0:
            left -= len(self._socket.recv(min(left, 65_536))) or left


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def _publish(message: Publication, qos: int, number: int) -> bytes:
    head = _text(message.topic) + (struct.pack("!H", number) if qos else b"")
    return _packet(0x30 | qos << 1, head + message.payload)


def _packet(kind: int, body: bytes) -> bytes:
    length, left = bytearray(), len(body)
    while True:
        left, digit = divmod(left, 128)[0], left % 128
        length.append(digit | (0x80 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + body


async def listen(port: int, topic_filter: str, qos: int, wanted: int) -> None:
    """Count messages with aiomqtt, and print when the last of them had come."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic_filter, qos=qos)
        print(json.dumps({"ready": True}), flush=True)
        count, before_s = 0, time.process_time()
        async for _ in client.messages:
            count += 1
            if count == wanted:
                break
        print(
            json.dumps({"count": count, "last": time.monotonic(), "cpu_s": time.process_time() - before_s}), flush=True
        )


if __name__ == "__main__":
    asyncio.run(listen(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
