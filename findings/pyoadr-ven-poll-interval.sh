#!/usr/bin/env bash
# pyOADR-VEN 0.6.0: after registering at a VTN that asks for a poll frequency, it does not poll.
#
# oadrCreatedPartyRegistration may hold an oadrRequestedOadrPollFreq, such as PT10S, and most VTNs send one. What
# register() returns as poll_interval_secs, and keeps for itself, is then not 10 but the object that its XML reader made of
# the element. So the next tick() ends in a TypeError where it compares the time since the last poll with it. Given to the
# constructor at the next start, as its documentation advises, the value is refused by the same error.
#
# Without a poll frequency in the answer all is well: 15 s. Around the agent, set `poll_interval_secs` to a number of
# seconds after register(), and store that number. The VTN cannot help: leaving the element out is against the rules.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check pyOADR-VEN==0.6.0 pony==0.7.20 isodate==0.7.2 signxml==4.5.1
cd "$place"
cat > look.py <<'PYTHON'
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from pyoadr_ven import OpenADRVenAgent

logging.disable()
PAYLOAD = """\
<oadr:oadrPayload xmlns:oadr="http://openadr.org/oadr-2.0b/2012/07"
  xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110"
  xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads"
  xmlns:xcal="urn:ietf:params:xml:ns:icalendar-2.0"><oadr:oadrSignedObject>{}</oadr:oadrSignedObject></oadr:oadrPayload>"""
OK = "<ei:eiResponse><ei:responseCode>200</ei:responseCode><pyld:requestID/></ei:eiResponse>"
REGISTERED = """\
<oadr:oadrCreatedPartyRegistration ei:schemaVersion="2.0b">{}<ei:registrationID>r</ei:registrationID>
  <ei:venID>meter</ei:venID><ei:vtnID>vtn</ei:vtnID>
  <oadr:oadrProfiles><oadr:oadrProfile><oadr:oadrProfileName>2.0b</oadr:oadrProfileName><oadr:oadrTransports>
    <oadr:oadrTransport><oadr:oadrTransportName>simpleHttp</oadr:oadrTransportName></oadr:oadrTransport>
  </oadr:oadrTransports></oadr:oadrProfile></oadr:oadrProfiles>
  {}
</oadr:oadrCreatedPartyRegistration>"""
FREQUENCY = "<oadr:oadrRequestedOadrPollFreq><xcal:duration>PT10S</xcal:duration></oadr:oadrRequestedOadrPollFreq>"
REPORTS = f'<oadr:oadrRegisteredReport ei:schemaVersion="2.0b">{OK}</oadr:oadrRegisteredReport>'
NOTHING = f'<oadr:oadrResponse ei:schemaVersion="2.0b">{OK}</oadr:oadrResponse>'


class Vtn(BaseHTTPRequestHandler):
    frequency = ""

    def do_POST(self):
        request = self.rfile.read(int(self.headers["Content-Length"]))
        if b"oadrCreatePartyRegistration" in request:
            answer = REGISTERED.format(OK, self.frequency)
        else:
            answer = REPORTS if b"oadrRegisterReport" in request else NOTHING
        body = PAYLOAD.format(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def outcome(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__
    return "fine"


Vtn.frequency = FREQUENCY if sys.argv[1] == "with" else ""
server = HTTPServer(("127.0.0.1", 0), Vtn)
threading.Thread(target=server.serve_forever, daemon=True).start()
settings = {"vtn_address": f"http://127.0.0.1:{server.server_port}", "client_pem_bundle": None, "vtn_ca_cert": None}
agent = OpenADRVenAgent(ven_id="meter", vtn_id="vtn", **settings)
given = agent.register("meter")["poll_interval_secs"]
kind = type(given).__name__
tick = outcome(agent.tick)
print("pyOADR-VEN", version("pyOADR-VEN"), sys.argv[1], "a poll frequency: the interval is a", kind, "- a tick:", tick)
if sys.argv[1] == "without":
    assert (given, agent.poll_interval_secs, tick) == (None, 15, "fine")
else:
    again = outcome(lambda: OpenADRVenAgent(ven_id="meter", vtn_id="vtn", poll_interval_secs=given, **settings))
    assert (kind, tick, again) == ("DurationPropType", "TypeError", "TypeError")
PYTHON
"$place/venv/bin/python" -W ignore look.py without
"$place/venv/bin/python" -W ignore look.py with
echo "As described."
