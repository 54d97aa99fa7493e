"""The kit as a server: it keeps what comes as it comes, and nobody can hold it up."""

import contextlib
import queue
import socket
import time
from dataclasses import replace

import pytest

from conformance import listener
from conformance.exchange import Answer, Request
from conformance.listener import Front, Place, Saying, serving
from conformance.wire import Access, Credentials, Line, tls_context
from support.pki import make_pki

_OK = Answer(200, (("Content-Length", "2"),), b"ok")


class Ear:
    def __init__(self, saying):
        self.heard, self.saying = [], saying

    def hear(self, request, fault):
        self.heard.append((request, fault))
        return self.saying


def _say(port, data):
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(data)
        answer = b""
        while part := client.recv(1 << 16):
            answer += part
    return answer


def _port(server):
    return server.server.server_address[1]


def test_a_request_is_kept_as_it_came():
    ear = Ear(Saying(_OK))
    with serving(Place(), ear.hear) as server:
        assert server.url == f"http://127.0.0.1:{_port(server)}/OpenADR2/Simple/2.0b"
        sent = b"PUT /x/../OadrPoll HTTP/1.1\r\nhOST: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\n\x00\xffb"
        assert _say(_port(server), sent).startswith(b"HTTP/1.1 200 ")
    ((request, fault),) = ear.heard
    assert (request.method, request.target, request.body, fault) == ("PUT", "/x/../OadrPoll", b"\x00\xffb", "")
    assert request.headers[0] == ("hOST", "a")


@pytest.mark.parametrize(
    ("length", "words"),
    [
        ("", "it has no Content-Length"),
        ("Content-Length: x\r\n", "it has no Content-Length"),
        (f"Content-Length: {1 << 40}\r\n", "it is larger than 4 MiB"),
        ("Content-Length: -1\r\n", "it has no Content-Length"),
    ],
)
def test_a_body_without_bounds_is_not_read(length, words):
    ear = Ear(Saying(_OK))
    with serving(Place(), ear.hear) as server:
        _say(_port(server), f"POST / HTTP/1.1\r\nHost: a\r\n{length}\r\n".encode())
    ((request, fault),) = ear.heard
    assert request.body == b""
    assert words in fault


def test_it_hangs_up_when_it_is_to_say_nothing():
    ear = Ear(Saying(None))
    with serving(Place(), ear.hear) as server:
        assert _say(_port(server), b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n") == b""


@pytest.mark.parametrize("hangs_up", [True, False])
def test_it_notices_who_does_not_wait_for_the_answer(hangs_up):
    came = queue.Queue()
    ear = Ear(Saying(_OK, 0.3, lambda *, waited: came.put(waited)))
    with serving(Place(), ear.hear) as server, socket.create_connection(("127.0.0.1", _port(server)), 10) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        if hangs_up:
            client.close()
        assert came.get(timeout=10) is not hangs_up
        assert server.calls == 1


def test_only_so_many_are_served_at_once(monkeypatch):
    monkeypatch.setattr(listener, "_MOST_AT_ONCE", 2)
    ear = Ear(Saying(_OK))
    with serving(Place(), ear.hear) as server:
        silent = [socket.create_connection(("127.0.0.1", _port(server)), 10) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", _port(server)), 10) as third:
            assert third.recv(1) == b"", "there is no place for it"
        for client in silent:
            client.close()


def test_by_tls_a_client_shows_a_certificate(tmp_path):
    make_pki(tmp_path).issue("home")
    authority = tmp_path / "ca" / "ca.pem"
    ear = Ear(Saying(_OK))
    place = Place("127.0.0.1", 0, tmp_path / "server.pem", tmp_path / "server.key", authority)
    with serving(place, ear.hear) as server:
        access = Access(server.url, authority, check_hostname=False)
        request = Request("POST", "/x", (("Host", "a"), ("Content-Length", "0"), ("Connection", "close")), b"")
        known = Credentials(tmp_path / "home.pem", tmp_path / "home.key")
        assert Line(access, tls_context(access, known)).exchange(request).answer.body == b"ok"
        assert Line(access, tls_context(access, None)).exchange(request).answer is None
    assert len(ear.heard) == 1
    with serving(replace(place, trust=None, anybody=True), ear.hear) as server:
        line = Line(access, tls_context(access, None))
        assert replace(line, access=replace(access, url=server.url)).exchange(request).answer.body == b"ok"
    assert len(ear.heard) == 2


def _post(client):
    client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    answer = b""
    while not answer.endswith((b"\r\nok", b"\r\nother")) and (part := client.recv(100)):
        answer += part
    return answer


def test_for_a_while_it_is_another_server():
    usual, other = Ear(Saying(_OK)), Ear(Saying(Answer(200, (("Content-Length", "5"),), b"other")))
    with serving(Place(), usual.hear) as server:
        place = ("127.0.0.1", _port(server))
        with socket.create_connection(place, 10) as before:
            assert _post(before).endswith(b"ok")
            with server.meanwhile(Front(None, other.hear)) as front:
                assert before.recv(1) == b"", "who is connected has to come anew"
                with socket.create_connection(place, 10) as during:
                    assert _post(during).endswith(b"other")
            assert front.ended <= 1
        with socket.create_connection(place, 10) as after:
            assert _post(after).endswith(b"ok")
    assert (len(usual.heard), len(other.heard)) == (2, 1)


def test_a_server_that_is_shut_hears_nothing():
    ear = Ear(Saying(_OK))
    with serving(Place(), ear.hear) as server, server.meanwhile(Front(None, ear.hear, is_shut=True)) as front:
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", _port(server)), 10) as client:
            assert _post(client) == b""
        until = time.monotonic() + 10
        while not front.ended:
            assert time.monotonic() < until
            time.sleep(0.01)
    assert ear.heard == []
