"""The log of messages on the command line, at a running VTN: listed, shown, recorded, and judged by the kit."""

import http.client
import json
import re
import ssl
import time
from urllib.parse import urlsplit

from evenload.messages import _few
from openadr.model.registration import VenProfile
from openadr.v20b import messages as m
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from support.vtn_world import usage
from vtn.transport.redaction import BLANK

DEADLINE_S = 30.0


def post(live, home, service, body):
    """Post a message with a gateway's certificate; return status and answer."""
    tls = ssl.create_default_context(cafile=live.ca)
    tls.load_cert_chain(home / "cert.pem", home / "key.pem")
    place = urlsplit(live.openadr_url)
    connection = http.client.HTTPSConnection(place.hostname, place.port, context=tls)
    try:
        connection.request("POST", f"{place.path}/{service}", body, {"Content-Type": "application/xml"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_many_events_in_a_message_are_counted():
    assert _few([]) == ""
    assert _few(["a", "b", "c"]) == "a, b, c"
    assert _few(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def logged(shell, *arguments, number):
    """Return what the log has as soon as it is as much as this: it is written every second."""
    deadline = time.monotonic() + DEADLINE_S
    while len(rows := json.loads(shell.good("fleet", "messages", *arguments, "--json"))) < number:
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)
    return rows


def test_what_a_ven_said_is_found_and_judged(shell, live, tmp_path):
    added = shell.good("fleet", "add", "Talker")
    ven_id, code = added.split()[0], re.search(r"[A-Z0-9]{4}(-[A-Z0-9]{4}){3}", added)[0]
    home = tmp_path / "home"
    shell.good("ven", "enrol", code, "--vtn", live.url, "--ca", live.ca, "--directory", home)
    register = m.CreatePartyRegistration("q", VenProfile(ven_name="Talker"))
    _, answer = post(live, home, "EiRegisterParty", encode(register))
    registration = decode(answer).registration_id
    post(live, home, "OadrPoll", encode(m.Poll("somebody else")))
    assert post(live, home, "OadrPoll", b"<nothing/>")[0] == 406

    rows = logged(shell, "Talker", number=3)
    assert [(row["type"], row["fault"]) for row in rows] == [
        (None, True),
        ("oadrPoll", True),
        ("oadrCreatePartyRegistration", False),
    ]
    assert {row["ven_id"] for row in rows} == {ven_id}
    assert [row["type"] for row in logged(shell, ven_id, "--faults", "--limit", "1", number=1)] == [None]
    assert len(logged(shell, ven_id, "--type", "oadrPoll", number=1)) == 1
    table = shell.good("fleet", "messages", "Talker")
    assert re.search(r"oadrPoll.*oadrResponse.*452", table)
    assert "HTTP 406" in table
    assert "No such message" in shell.good("fleet", "messages", "Talker", "--event", "none")
    shown = shell.good("fleet", "message", rows[-1]["id"])
    assert "oadrCreatedPartyRegistration" in shown
    assert registration not in shown
    assert BLANK.decode() in shown
    assert json.loads(shell.good("fleet", "message", rows[0]["id"], "--json"))["message"] == "<nothing/>"
    assert "no message" in shell.bad("fleet", "message", "msg_none")

    run = tmp_path / "run.json"
    assert shell.good("fleet", "messages", "Talker", "--record", run) == f"3 messages in {run}.\n"
    assert run.stat().st_mode & 0o077 == 0
    judged = shell.good("conform", "replay", run, "--all")
    assert re.search(r"GN-01.*pass", judged)
    assert registration not in run.read_text()
    assert "exists already" in shell.bad("fleet", "messages", "Talker", "--record", run)
    none = tmp_path / "none.json"
    assert "no such message" in shell.good("fleet", "messages", "Talker", "--event", "e", "--record", none).casefold()
    assert not none.exists()


def test_reports_that_cannot_be_had_are_listed(shell, live, tmp_path):
    added = shell.good("fleet", "add", "Second hand")
    ven_id, code = added.split()[0], re.search(r"[A-Z0-9]{4}(-[A-Z0-9]{4}){3}", added)[0]
    home = tmp_path / "home"
    shell.good("ven", "enrol", code, "--vtn", live.url, "--ca", live.ca, "--directory", home)
    post(live, home, "EiRegisterParty", encode(m.CreatePartyRegistration("q", VenProfile(ven_name="Second hand"))))
    post(live, home, "EiReport", encode(m.RegisterReport("r", (usage("meter"),), ven_id)))
    listed = shell.good("report", "list", "Second hand")
    assert "Cannot be had" in listed
    assert "TELEMETRY_STATUS is wanted and not offered." in listed
    assert "missing since" in listed.lower()
    assert json.loads(shell.good("report", "list", ven_id, "--json"))["shortfalls"]
