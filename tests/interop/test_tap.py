"""The tap itself: it misses nothing that we send, blames us for nothing else, and fails the session when it must."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from certs.authority import Authority
from openadr.v20b.encode import encode
from openadr.v20b.messages import OadrResponse, Poll, Response
from support import wire_tap

POLL = encode(Poll("ven-1"))
RESPONSE = encode(OadrResponse(Response(), "ven-1"))
BROKEN = POLL.replace(b"venID", b"vanID")
_TESTS = Path(wire_tap.__file__).parent.parent

_CHILD = """
import os, signal, ssl, sys
cert, key, request = sys.argv[1], sys.argv[2], sys.stdin.buffer.read()
server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
server.load_cert_chain(cert, key)
client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
near, far = client.wrap_bio(down, up), server.wrap_bio(up, down, server_side=True)
for side in (near, far, near, far):
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        pass
near.write(request)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _http(first: str, body: bytes, **headers: str) -> bytes:
    lines = [first, "Content-Type: application/xml", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _request(body: bytes, agent: str = "evenload") -> bytes:
    return _http("POST /OpenADR2/Simple/2.0b/OadrPoll HTTP/1.1", body, User_Agent=agent)


@pytest.fixture
def kept() -> list[tuple[bytes, bool]]:
    return []


@pytest.fixture
def stream(kept: list[tuple[bytes, bool]]) -> wire_tap.Stream:
    return wire_tap.Stream(lambda body, ours: kept.append((body, ours)))


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
def test_messages_are_put_together_however_they_were_cut(stream, kept, size):
    other = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
    packed = _http("HTTP/1.1 200 OK", gzip.compress(RESPONSE), Server="evenload", Content_Encoding="gzip")
    content = _request(POLL) + _request(BROKEN, "curl") + other.encode() + b"HTTP/1.1 204 No Content\r\n\r\n" + packed
    for at in range(0, len(content), size):
        stream.feed(content[at : at + size])
    assert kept == [(POLL, True), (BROKEN, False), (RESPONSE, True)]


def test_a_stream_that_is_no_http_is_left_alone(stream, kept):
    stream.feed(b"\x16\x03\x01" + _request(POLL))
    stream.feed(_request(POLL))
    assert kept == []


def test_a_message_of_ours_that_cannot_be_followed_is_told(stream, kept, tmp_path):
    chunked = "POST /x HTTP/1.1\r\nContent-Type: application/xml\r\nUser-Agent: evenload\r\nTransfer-Encoding: chunked"
    stream.feed(f"{chunked}\r\n\r\n".encode())
    ((body, ours),) = kept
    wire_tap.Book(tmp_path).keep(body, ours=ours)
    assert len(wire_tap.judge(tmp_path).faults) == 1


def test_a_body_that_cannot_be_unpacked_is_told(stream, kept, tmp_path):
    stream.feed(_http("HTTP/1.1 200 OK", b"no gzip", Server="evenload", Content_Encoding="gzip"))
    assert kept == [(b"no gzip", True)]


def test_only_what_we_sent_can_be_at_fault(tmp_path):
    book = wire_tap.Book(tmp_path)
    book.keep(BROKEN, ours=False)
    book.keep(POLL, ours=False)
    book.keep(RESPONSE, ours=True)
    book.keep(RESPONSE, ours=True)
    verdict = wire_tap.judge(tmp_path)
    assert verdict.counts == {"oadrPoll": 1, "oadrResponse": 1}
    assert verdict.faults == ()
    assert len(verdict.missing) == 21

    book.keep(BROKEN, ours=True)
    (fault,) = wire_tap.judge(tmp_path).faults
    assert "vanID" in fault


def test_a_record_that_was_cut_off_is_passed_over(tmp_path):
    book = wire_tap.Book(tmp_path)
    book.keep(POLL, ours=True)
    book.keep(RESPONSE, ours=True)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole) - 1, len(POLL) + 20, -97):
        path.write_bytes(whole[:length])
        assert wire_tap.messages(tmp_path) == {POLL: True}


def test_a_killed_child_has_told_what_it_sent(tmp_path):
    issued = Authority.create(tmp_path / "ca", "test").issue_server(["localhost"])
    (tmp_path / "cert.pem").write_text(issued.chain_pem)
    (tmp_path / "key.pem").write_text(issued.key_pem or "")
    place = tmp_path / "tap"
    place.mkdir()
    files = [str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")]
    environment = os.environ | {wire_tap.VARIABLE: str(place), "PYTHONPATH": str(wire_tap.TAPPED)}
    command = [sys.executable, "-c", _CHILD, *files]
    done = subprocess.run(command, env=environment, input=_request(POLL), check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert wire_tap.messages(place) == {POLL: True}


def _session(tmp_path: Path, body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on a project of one test under the plugin."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    lines = ["from support import wire_tap", "def test_it():", f"    {body}"]
    (tmp_path / "tests" / "test_it.py").write_text("\n".join(lines) + "\n")
    environment = {name: value for name, value in os.environ.items() if name != wire_tap.VARIABLE}
    environment |= {"PYTHONPATH": str(_TESTS), "TMPDIR": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    plugins = ["-p", "no:cacheprovider", "-p", "support.tap_plugin"]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *arguments]
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("body", "arguments", "code", "text"),
    [
        (f"wire_tap.record({POLL!r})", ["-k", "it"], 0, "1 of 23 types: Poll 1"),
        (f"wire_tap.record({BROKEN!r}, ours=False)", ["-k", "it"], 0, "1 passed"),
        (f"wire_tap.record({BROKEN!r})", ["-k", "it"], 1, "INVALID oadrPoll"),
        (f"wire_tap.record({POLL!r})", ["tests/test_it.py"], 0, "1 of 23 types"),
        (f"wire_tap.record({POLL!r})", [], 1, "never occurred: oadrCancelOpt"),
        (f"wire_tap.record({POLL!r})", ["tests"], 1, "never occurred: oadrCancelOpt"),
        (f"wire_tap.record({BROKEN!r})", ["-k", "it", "-p", "xdist", "-n", "1"], 1, "INVALID oadrPoll"),
    ],
)
def test_the_session_fails_when_it_must(tmp_path, body, arguments, code, text):
    done = _session(tmp_path, body, *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout
