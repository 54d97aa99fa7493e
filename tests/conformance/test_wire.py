"""The kit's HTTP client against servers that send anything."""

import socket
import threading
from contextlib import contextmanager

import pytest

from conformance.exchange import Request
from conformance.wire import Access, Credentials, Line, tls_context
from core.errors import InvalidError

_REQUEST = Request("POST", "/x", (("Host", "h"), ("Content-Length", "3")), b"abc")


@contextmanager
def _server(*pieces, hold=False):
    """Serve one connection: read what comes at once, send the pieces, close (or hold on to) the connection."""
    heard = []
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65536))
                for piece in pieces:
                    connection.sendall(piece)
                if hold:
                    done.wait(10)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Line(Access(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.5), None), heard
        finally:
            done.set()
            thread.join()


def test_bytes_go_out_and_come_back_as_they_are():
    answer = b"HTTP/1.1 406 No\r\nX-Odd:  a b \r\nContent-Length: 4\r\n\r\n\xff\x00ok"
    with _server(answer) as (line, heard):
        got = line.exchange(_REQUEST).answer
    assert heard == [b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"]
    assert (got.status, got.header("x-odd"), got.body) == (406, "a b", b"\xff\x00ok")


def test_a_head_may_come_in_pieces_and_after_a_continue():
    with _server(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nCon", b"tent-Length: 2\r\n\r", b"\nok") as (line, _):
        assert line.exchange(_REQUEST).answer.body == b"ok"


def test_a_body_without_length_ends_with_the_connection():
    with _server(b"HTTP/1.1 200 OK\r\n\r\nall of it") as (line, _):
        assert line.exchange(_REQUEST).answer.body == b"all of it"


def test_chunks_are_put_together():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    with _server(chunked) as (line, _):
        assert line.exchange(_REQUEST).answer.body == b"abc"


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 abc\r\n\r\n", "no HTTP answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "in the middle of an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "claims 99999999999 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000, "head of the answer is too long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "chunk without a length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", "chunk without a length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "in the middle of a chunk"),
    ],
)
def test_what_is_no_answer_is_told(answer, trouble):
    with _server(answer) as (line, _):
        outcome = line.exchange(_REQUEST)
    assert outcome.answer is None
    assert trouble in outcome.trouble


def test_a_silent_server_is_not_waited_for():
    with _server(hold=True) as (line, _):
        assert line.exchange(_REQUEST).trouble == "no answer in time"


def test_nobody_there_is_told():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    outcome = Line(Access(f"http://127.0.0.1:{port}"), None).exchange(_REQUEST)
    assert "the connection ended" in outcome.trouble


def test_parts_are_sent_one_after_the_other():
    with _server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (line, heard):
        assert line.exchange(_REQUEST, parts=(b"a", b"bc")).answer.status == 200
    assert heard[0].startswith(b"POST /x HTTP/1.1\r\n")


def test_certificates_that_are_not_there_are_named(tmp_path):
    access = Access("https://localhost", tmp_path / "ca.pem")
    with pytest.raises(InvalidError, match="cannot be used"):
        tls_context(access, None)
    with pytest.raises(InvalidError, match="cannot be used"):
        tls_context(Access("https://localhost"), Credentials(tmp_path / "a.pem", tmp_path / "a.key"))
