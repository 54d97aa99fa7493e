"""`evenload conform ven`: exit codes, and what is said where something is missing."""

import sys

import pytest
from typer.testing import CliRunner

from conformance import record
from conformance import templates as t
from conformance.cli import app
from conformance.exchange import Request
from conformance.stage import Timeline
from conformance.vens.desk import Desk, Rules
from core.clock import machine_now
from evenload.demo.processes import free_port


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
    assert "cannot be used" in done.output


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
        "The dialogue 'joining' broke off: our metadata: the VEN's process has ended: I have had enough" in done.output
    )
    assert "The dialogue 'leaving' broke off" in done.output


@pytest.mark.parametrize("address", ["http://[::1", "ftp://home", "http://:0/", "javascript:x", "http://h\u00e9/"])
def test_an_address_that_cannot_be_called_is_no_address(address):
    desk = Desk(Rules(), Timeline(machine_now(), machine_now()), lambda *_: pytest.fail("it is called"))
    body = t.register(pull=False, address=address).body
    desk.hear(Request("POST", "/OpenADR2/Simple/2.0b/EiRegisterParty", (), body), "")
    assert (desk.address, desk.ven_id != "") == ("", True)
