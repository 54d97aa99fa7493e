"""`evenload conform ven`: exit codes, and what is said where something is missing."""

import contextlib
import fcntl
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from typer.testing import CliRunner

from conformance import judge, record
from conformance import templates as t
from conformance.cli import app
from conformance.exchange import Exchange, Request, Transcript
from conformance.stage import Timeline
from conformance.vens.desk import Desk, Rules
from conformance.vens.dialogues import _respelled
from conformance.verdict import printable
from core.clock import machine_now
from evenload.demo.processes import free_port
from support.pki import make_pki
from support.small_vens import SmallVen, SmallVenOf20a


def _run(*arguments):
    return CliRunner().invoke(app, ["ven", *(str(each) for each in arguments)])


@pytest.mark.parametrize("listen", ["8088", "127.0.0.1:", "127.0.0.1:99999", ":x"])
def test_an_address_that_is_none_is_named(listen):
    done = _run("--listen", listen)
    assert done.exit_code == 2
    assert "is not HOST:PORT" in done.output


def test_plain_http_stays_on_this_machine():
    done = _run("--listen", "0.0.0.0:0", "--first", 1)
    assert done.exit_code == 2
    assert "give --cert" in done.output


def test_tls_needs_all_three_files(tmp_path):
    assert "--cert, --key and --ca" in _run("--listen", "127.0.0.1:0", "--cert", tmp_path / "x").output
    done = _run("--listen", "127.0.0.1:0", "--cert", tmp_path / "x", "--key", tmp_path / "x", "--ca", tmp_path / "x")
    assert done.exit_code == 2
    assert f"There is no file {tmp_path / 'x'}" in done.output
    (tmp_path / "x").write_text("no certificate")
    done = _run("--listen", "127.0.0.1:0", "--cert", tmp_path / "x", "--key", tmp_path / "x", "--ca", tmp_path / "x")
    assert done.exit_code == 2
    assert "cannot be used" in done.output


def test_the_key_of_the_authority_is_held_against_it(tmp_path):
    make_pki(tmp_path)
    files = ["--cert", tmp_path / "server.pem", "--key", tmp_path / "server.key", "--ca", tmp_path / "ca" / "ca.pem"]
    place = ("--listen", "127.0.0.1:0", "--first", 1)
    done = _run(*place, *files, "--ca-key", tmp_path / "server.key")
    assert done.exit_code == 2
    assert "is not the key of the authority in" in " ".join(done.output.split())
    assert _run(*place, *files, "--ca-key", tmp_path / "ca" / "ca-key.pem").exit_code == 3, "no VEN came"
    alone = _run(*place, "--ca-key", tmp_path / "ca" / "ca-key.pem")
    assert alone.exit_code == 2
    assert "--ca-key is the key of the authority in --ca: give both" in " ".join(alone.output.split())


def test_a_ven_of_2_0_a_is_held_to_the_rules_of_2_0_a(tmp_path):
    port = free_port()
    with SmallVenOf20a(f"http://127.0.0.1:{port}"):
        done = _run("--listen", f"127.0.0.1:{port}", "--first", 30, "--record", tmp_path / "run", "--all")
    again = CliRunner().invoke(app, ["replay", str(tmp_path / "run"), "--all"])
    for shown in (done, again):
        assert shown.exit_code == 0, shown.output
        assert {"PA-02", "PA-05"} <= set(shown.output.split())
        assert "GN-01" not in shown.output.partition("PA-05")[0], "what 2.0a does not have is not asked for"


class _Returning(SmallVen):
    """Has a registration from before, and asks for its events by it first, as a gateway does that is started again."""

    _has_asked = False

    def turn(self):
        if not self._has_asked:
            self._has_asked = self.post(t.request_event("from before", "r")) is not None
            return
        super().turn()


def test_a_ven_with_a_registration_from_before_is_waited_for():
    port = free_port()
    with _Returning(f"http://127.0.0.1:{port}"):
        done = _run("--listen", f"127.0.0.1:{port}", "--only", "RG-03", "--first", 20, "--patience", 10, "--all")
    assert done.exit_code == 0, done.output
    assert re.search(r"RG-03 +│ M +│ pass", done.output)


def test_a_registration_is_never_that_of_an_earlier_run():
    """A VEN that knows it would take itself for registered, and not register its reports (RG-07)."""
    ids = []
    message = t.register()
    for _ in range(2):
        desk = Desk(Rules(), Timeline(machine_now(), machine_now()), lambda *_: None)
        request = Request("POST", f"/OpenADR2/Simple/2.0b/{message.service}", (), message.body)
        ids.append(judge.parse(desk.hear(request, "").answer.body).text("ei:registrationID"))
    assert None not in ids
    assert len(set(ids)) == 2


@pytest.mark.parametrize("path", ["/OpenADR2/Simple/EiEvent", "/OpenADR2/Simple/2.0b/OadrPoll"])
def test_what_is_no_message_of_openadr_is_not_acceptable(path):
    desk = Desk(Rules(), Timeline(machine_now(), machine_now()), lambda *_: None)
    assert desk.hear(Request("POST", path, (), b"<a/>"), "").answer.status == 406


def test_a_ven_that_does_not_come_was_not_tried():
    done = _run("--listen", f"127.0.0.1:{free_port()}", "--first", 1)
    assert done.exit_code == 3
    assert "No VEN registered at http://127.0.0.1" in done.output


def test_the_last_words_of_a_ven_that_does_not_come_are_shown():
    command = sys.executable + """ -c 'print(chr(27) + "[2Jno such thing as {url}")'"""
    done = _run("--listen", f"127.0.0.1:{free_port()}", "--first", 2, "--start", command)
    assert done.exit_code == 3
    assert "no such thing as http://127.0.0.1" in done.output
    assert "\x1b" not in done.output


@pytest.mark.parametrize("command", ["no-such-program --x", "'", ""])
def test_a_command_that_cannot_be_run_is_named(command):
    done = _run("--listen", f"127.0.0.1:{free_port()}", "--first", 1, "--start", command)
    assert done.exit_code == 2
    assert "cannot be run" in done.output


def test_a_recorded_run_is_judged_as_a_vens(transcripts, tmp_path):
    record.save(tmp_path / "run", transcripts)
    done = CliRunner().invoke(app, ["replay", str(tmp_path / "run"), "--only", "GN", "--only", "RG", "--all"])
    assert done.exit_code == 0
    assert "RG-16" in done.output


_LEAVES = """
import sys, urllib.request
def post(service, body):
    request = urllib.request.Request(sys.argv[1] + "/" + service, body, {"Content-Type": "application/xml"})
    return urllib.request.urlopen(request).read()
from conformance import templates as t
post("EiRegisterParty", t.register().body)
post("EiReport", t.register_report("x").body)
print("I have had enough")
"""


def test_a_ven_that_ends_in_the_middle_is_not_waited_for(tmp_path):
    script = tmp_path / "ven.py"
    script.write_text(_LEAVES)
    place = ("--listen", f"127.0.0.1:{free_port()}", "--patience", 3600, "--first", 30)
    done = _run(*place, "--start", f"{sys.executable} {script} {{url}}", "--only", "RG")
    assert (
        "The dialogue 'joining' broke off: our metadata: the VEN's process has ended with code 0: I have had enough"
        in done.output
    )
    assert "The dialogue 'leaving' broke off" in done.output
    assert done.exit_code == 1, "a run that was not whole is no success"


@pytest.mark.parametrize("address", ["http://[::1", "ftp://home", "http://:0/", "javascript:x", "http://h\u00e9/"])
def test_an_address_that_cannot_be_called_is_no_address(address):
    desk = Desk(Rules(), Timeline(machine_now(), machine_now()), lambda *_: pytest.fail("it is called"))
    body = t.register(pull=False, address=address).body
    desk.hear(Request("POST", "/OpenADR2/Simple/2.0b/EiRegisterParty", (), body), "")
    assert (desk.address, desk.ven_id != "") == ("", True)


def test_a_command_that_ends_at_once_is_not_waited_for():
    done = _run("--listen", f"127.0.0.1:{free_port()}", "--first", 3600, "--start", "false")
    assert done.exit_code == 3
    assert "the VEN's process has ended with code 1" in done.output


# It holds a lock for as long as it lives.
_LIVES = """
import fcntl, sys, time
lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
lock.write("held")
lock.flush()
time.sleep(600)
"""


def _is_alive(lock):
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_all_that_a_command_started_is_ended(tmp_path):
    (tmp_path / "ven.py").write_text(_LIVES)
    command = f"sh -c '{sys.executable} {tmp_path / 'ven.py'} {tmp_path / 'lock'}; true'"
    done = _run("--listen", f"127.0.0.1:{free_port()}", "--first", 2, "--start", command)
    assert done.exit_code == 3
    assert (tmp_path / "lock").read_text() == "held"
    assert not _is_alive(tmp_path / "lock")


@contextlib.contextmanager
def _kit_with_ven(tmp_path, before=""):
    """Run the kit as a process, with a VEN that lives until it is ended; yield the kit and what shows that it lives."""
    lock = tmp_path / "lock"
    (tmp_path / "ven.py").write_text(before + _LIVES)
    start = f"{sys.executable} {tmp_path / 'ven.py'} {lock}"
    listen = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "evenload", "conform", "ven", "--listen", listen, "--start", start]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as kit:
        deadline = time.monotonic() + 60
        while not lock.exists() or not lock.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield kit, lock


def test_sigterm_ends_the_ven_as_ctrl_c_does(tmp_path):
    with _kit_with_ven(tmp_path) as (kit, lock):
        kit.terminate()
        _, errors = kit.communicate(timeout=60)
    assert kit.returncode == 130
    assert "evenload: interrupted" in errors
    assert not _is_alive(lock)


def test_who_is_asked_twice_kills_what_does_not_end(tmp_path):
    with _kit_with_ven(tmp_path, "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n") as (kit, lock):
        kit.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            kit.wait(1)  # it has twenty seconds
        kit.terminate()
        kit.communicate(timeout=10)
    assert not _is_alive(lock)


_SAYS_GOODBYE = """
import signal, sys, time
def end(*_):
    time.sleep(0.5)
    open(sys.argv[1], "w").write("goodbye")
    sys.exit()
signal.signal(signal.SIGTERM, end)
open(sys.argv[1], "w").write("here")
time.sleep(600)
"""


def test_a_ven_behind_a_shell_has_time_to_say_goodbye(tmp_path):
    (tmp_path / "ven.py").write_text(_SAYS_GOODBYE)
    command = f"sh -c '{sys.executable} {tmp_path / 'ven.py'} {tmp_path / 'said'}; true'"
    assert _run("--listen", f"127.0.0.1:{free_port()}", "--first", 3, "--start", command).exit_code == 3
    assert (tmp_path / "said").read_text() == "goodbye"


@pytest.mark.parametrize("broke", ["", "the VEN's process has ended"])
def test_a_run_that_broke_off_is_no_success_also_when_it_is_judged_again(tmp_path, broke):
    spoken = Exchange("x", "ven", Request("GET", "/", (), b""), None, "the connection ended", machine_now())
    record.save(tmp_path / "run", [Transcript("joining", (spoken,), {}, broke)])
    done = CliRunner().invoke(app, ["replay", str(tmp_path / "run"), "--only", "RG-03"])
    assert done.exit_code == (1 if broke else 0), done.output


class Visitor:
    """Says something to the kit as soon as it listens, and keeps a thread busy with it."""

    def __init__(self, port, say):
        self._place, self._say = ("127.0.0.1", port), say
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                connection = socket.create_connection(self._place, 10)
            except OSError:
                time.sleep(0.05)
                continue
            with connection, contextlib.suppress(ConnectionError):
                self._say(connection)
            return

    def end(self):
        self._thread.join()


def test_what_could_not_be_read_is_told_where_no_ven_registered():
    port = free_port()
    chunked = b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    visitor = Visitor(port, lambda connection: (connection.sendall(chunked), connection.recv(100)))
    done = _run("--listen", f"127.0.0.1:{port}", "--first", 3)
    visitor.end()
    assert done.exit_code == 3
    assert "requests that could not be read: 1 (it has no Content-Length" in done.output


def test_what_was_no_tls_is_told_where_no_ven_registered(tmp_path):
    make_pki(tmp_path)
    port = free_port()
    plain = b"POST /x HTTP/1.1\r\nHost: a\r\n\r\n"
    visitor = Visitor(port, lambda connection: (connection.sendall(plain), connection.recv(100)))
    files = ("--cert", tmp_path / "server.pem", "--key", tmp_path / "server.key", "--ca", tmp_path / "ca" / "ca.pem")
    done = _run("--listen", f"127.0.0.1:{port}", "--first", 3, *files)
    visitor.end()
    assert done.exit_code == 3
    assert "connections that failed: 1 (TLS: HTTP_REQUEST)" in done.output


def test_a_ven_that_cannot_be_reached_was_not_tried():
    port, nobody = free_port(), free_port()
    base = f"http://127.0.0.1:{port}/OpenADR2/Simple/2.0b/"

    def register(connection):
        connection.close()
        for service, message in (
            ("EiRegisterParty", t.register(pull=False, address=f"http://127.0.0.1:{nobody}")),
            ("EiReport", t.register_report("x")),
        ):
            request = urllib.request.Request(base + service, message.body, {"Content-Type": "application/xml"})  # noqa: S310
            urllib.request.urlopen(request).read()  # noqa: S310

    visitor = Visitor(port, register)
    done = _run("--listen", f"127.0.0.1:{port}", "--first", 30)
    visitor.end()
    assert done.exit_code == 3
    assert f"The VEN cannot be reached at http://127.0.0.1:{nobody}: the connection ended" in done.output


def test_long_reports_are_judged_whole():
    desk = Desk(Rules(), Timeline(machine_now(), machine_now()), lambda *_: None)
    desk.begin("joining")
    desk.hear(Request("POST", "/OpenADR2/Simple/2.0b/EiRegisterParty", (), t.register().body), "")
    many = t.register_report(desk.ven_id, [t.usage_offer(f"usage {number}") for number in range(400)])
    assert len(many.body) > 300_000
    desk.hear(Request("POST", "/OpenADR2/Simple/2.0b/EiReport", (), many.body), "")
    (heard,) = desk.heard("oadrRegisterReport", 0)
    assert len(heard.all("oadr:oadrReport")) == 400


def test_who_says_more_than_can_be_kept_is_turned_away(monkeypatch):
    monkeypatch.setattr("conformance.vens.desk._MOST_KEPT", 5000)
    desk = Desk(Rules(), Timeline(machine_now(), machine_now()), lambda *_: None)
    desk.begin("joining")
    request = Request("POST", "/OpenADR2/Simple/2.0b/OadrPoll", (), t.poll("x").body)
    statuses = [desk.hear(request, "").answer.status for _ in range(20)]
    assert (statuses[0], statuses[-1]) == (200, 503)
    assert len(desk.transcript().exchanges) < 10


@pytest.mark.parametrize("context", ["urn:Evening:Peak", "evening", "http:///x"])
def test_a_market_context_without_a_host_has_no_other_spelling(context):
    assert _respelled(context) is None


def test_a_name_cannot_turn_what_follows_it():
    assert printable("VEN \u202egnp.exe") == "VEN \N{REPLACEMENT CHARACTER}gnp.exe"
