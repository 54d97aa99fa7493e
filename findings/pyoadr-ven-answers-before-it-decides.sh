#!/usr/bin/env bash
# pyOADR-VEN 0.6.0: it answers an event before it has decided, and does not tell its decision when it has.
#
# To each new event with responseRequired always it sends an oadrCreatedEvent at once, with the optType "none", which the
# schema of OpenADR 2.0b does not have (optIn and optOut). Later a tick decides, here at once (opt_timeout_secs=0), but only
# in its own database: no second oadrCreatedEvent goes out. The optIn is told when the event is delivered again.
#
# So a VTN that takes the first answer for an answer never learns that the VEN takes part, and one that refuses what the
# schema refuses is never answered: the agent forgets an event whose answer was refused, and begins anew with "none" at
# the next delivery. A VTN helps by taking such an answer for none, and delivering the event again. Around the agent,
# call request_events() now and then.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check pyOADR-VEN==0.6.0 pony==0.7.20 isodate==0.7.2 signxml==4.5.1
cd "$place"
cat > look.py <<'PYTHON'
import logging
import re
import sys
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version

from pyoadr_ven import OpenADRVenAgent

logging.disable()
PAYLOAD = """\
<oadr:oadrPayload xmlns:oadr="http://openadr.org/oadr-2.0b/2012/07"
  xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110"
  xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads"
  xmlns:emix="http://docs.oasis-open.org/ns/emix/2011/06"
  xmlns:strm="urn:ietf:params:xml:ns:icalendar-2.0:stream"
  xmlns:xcal="urn:ietf:params:xml:ns:icalendar-2.0"><oadr:oadrSignedObject>{}</oadr:oadrSignedObject></oadr:oadrPayload>"""
OK = "<ei:eiResponse><ei:responseCode>200</ei:responseCode><pyld:requestID/></ei:eiResponse>"
NOW = datetime.now(timezone.utc)
EVENT = f"""\
<oadr:oadrDistributeEvent ei:schemaVersion="2.0b">{OK}<pyld:requestID>q</pyld:requestID><ei:vtnID>vtn</ei:vtnID>
  <oadr:oadrEvent><ei:eiEvent>
    <ei:eventDescriptor><ei:eventID>evening</ei:eventID><ei:modificationNumber>0</ei:modificationNumber>
      <ei:eiMarketContext><emix:marketContext>http://programme.example</emix:marketContext></ei:eiMarketContext>
      <ei:createdDateTime>{NOW:%Y-%m-%dT%H:%M:%SZ}</ei:createdDateTime><ei:eventStatus>far</ei:eventStatus></ei:eventDescriptor>
    <ei:eiActivePeriod><xcal:properties>
      <xcal:dtstart><xcal:date-time>{NOW + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}</xcal:date-time></xcal:dtstart>
      <xcal:duration><xcal:duration>PT30M</xcal:duration></xcal:duration>
      <ei:x-eiNotification><xcal:duration>PT0S</xcal:duration></ei:x-eiNotification>
    </xcal:properties><xcal:components/></ei:eiActivePeriod>
    <ei:eiEventSignals><ei:eiEventSignal>
      <strm:intervals><ei:interval><xcal:duration><xcal:duration>PT30M</xcal:duration></xcal:duration>
        <xcal:uid><xcal:text>0</xcal:text></xcal:uid>
        <ei:signalPayload><ei:payloadFloat><ei:value>1</ei:value></ei:payloadFloat></ei:signalPayload></ei:interval></strm:intervals>
      <ei:signalName>SIMPLE</ei:signalName><ei:signalType>level</ei:signalType><ei:signalID>s</ei:signalID>
    </ei:eiEventSignal></ei:eiEventSignals>
    <ei:eiTarget><ei:venID>meter</ei:venID></ei:eiTarget>
  </ei:eiEvent><oadr:oadrResponseRequired>always</oadr:oadrResponseRequired></oadr:oadrEvent>
</oadr:oadrDistributeEvent>"""
REPORTS = f'<oadr:oadrRegisteredReport ei:schemaVersion="2.0b">{OK}</oadr:oadrRegisteredReport>'
NOTHING = f'<oadr:oadrResponse ei:schemaVersion="2.0b">{OK}</oadr:oadrResponse>'


class Vtn(BaseHTTPRequestHandler):
    tolerant = True
    answers = []

    def do_POST(self):
        request = self.rfile.read(int(self.headers["Content-Length"]))
        opts = re.findall(rb"optType>(\w+)<", request)
        self.answers += [opt.decode() for opt in opts]
        status = 200 if self.tolerant or b"none" not in opts else 406
        answer = EVENT if b"oadrRequestEvent" in request else REPORTS if b"oadrRegisterReport" in request else NOTHING
        body = PAYLOAD.format(answer).encode() if status == 200 else b""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def deliver(agent):
    """Deliver the event; return the answers to it, and what the agent then knows of events."""
    Vtn.answers.clear()
    try:
        agent.request_events()
    except Exception as error:
        print("  its own error:", type(error).__name__)
    return list(Vtn.answers), [event["opt_type"] for event in agent.active_or_pending_events]


Vtn.tolerant = sys.argv[1] == "taken"
server = HTTPServer(("127.0.0.1", 0), Vtn)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
agent = OpenADRVenAgent(
    ven_id="meter", vtn_id="vtn", vtn_address=address, client_pem_bundle=None, vtn_ca_cert=None, opt_timeout_secs=0
)
first = deliver(agent)
Vtn.answers.clear()
agent.tick()
agent.tick()
decided = list(Vtn.answers), [event["opt_type"] for event in agent.active_or_pending_events]
second = deliver(agent)
print("pyOADR-VEN", version("pyOADR-VEN"), "- the first answer is", sys.argv[1])
print("  (answers sent, opts in its database):", first, "decided:", decided, "delivered again:", second)
if Vtn.tolerant:
    assert (first, decided, second) == ((["none"], ["none"]), ([], ["optIn"]), (["optIn"], ["optIn"]))
else:
    assert (first, decided, second) == ((["none"], []), ([], []), (["none"], []))
PYTHON
"$place/venv/bin/python" -W ignore look.py taken
"$place/venv/bin/python" -W ignore look.py refused
echo "As described."
