#!/usr/bin/env bash
# openleadr 0.5.36, VEN: several report requests in one oadrCreateReport.
#
# OpenADR 2.0b lets a VTN put any number of oadrReportRequest elements into one oadrCreateReport; each is a request of its
# own. openleadr's VEN keeps what it has seen in the earlier ones of the same message:
#
#   * after a request for a single report (granularity PT0S), every later request of the message is treated as one, too:
#     a periodic request is answered with oadrCreatedReport like any other, sends once, and never again;
#   * the data points of the requests run together: the second one has those of the first as well, and so has the first
#     those of the second, as both share one list;
#   * a granularity outside of what the VEN offered is answered with 200 and oadrCreatedReport, and its request is kept
#     without a data point.
#
# Sent one by one, the same requests are kept as they were meant. So a VTN is better off with one request a message for
# such VENs, and should not take oadrCreatedReport for a promise that data will come.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check openleadr==0.5.36 aiohttp async-timeout termcolor
cd "$place"
cat > look.py <<'PYTHON'
import asyncio
import logging
from datetime import timedelta
from importlib.metadata import version

from openleadr import OpenADRClient

logging.disable()
PERIODIC, ONCE, FINE = timedelta(seconds=60), timedelta(0), timedelta(seconds=10)


def request(name, r_id, granularity):
    return {
        "report_request_id": name,
        "report_specifier": {
            "report_specifier_id": "usage",
            "granularity": granularity,
            "report_back_duration": timedelta(minutes=5),
            "specifier_payloads": [{"r_id": r_id, "reading_type": "Direct Read"}],
        },
    }


async def take(*messages):
    """Hand messages of requests to a VEN that offers two data points, a value a minute; return what it keeps."""
    ven = OpenADRClient("meter", "http://127.0.0.1:9/OpenADR2/Simple/2.0b")
    ven.ven_id = "v"
    for r_id in ("import", "export"):
        ven.add_report(
            lambda: 1.0, "house", r_id=r_id, measurement="energyReal", report_specifier_id="usage",
            sampling_rate=timedelta(seconds=60),
        )
    said = []

    async def perform(service, message):
        said.append("oadrCreatedReport" in message and "200" in message)
        return None, None

    async def update(report_request_id):
        return None

    ven._perform_request, ven.update_report = perform, update
    for number, requests in enumerate(messages):
        await ven.create_report({"request_id": f"q{number}", "report_requests": list(requests)})
    assert all(said) and len(said) == len(messages), said
    return {
        one["report_request_id"]: ("periodic" if one["job"] else "once", sorted(one["r_ids"]))
        for one in ven.report_requests
    }


async def main():
    print("openleadr", version("openleadr"))
    once, periodic = request("once", "import", ONCE), request("periodic", "export", PERIODIC)
    apart = await take([once], [periodic])
    together = await take([once, periodic])
    odd = await take([request("odd", "import", FINE)])
    print("one message each:", apart)
    print("in one message:  ", together)
    print("not offered:     ", odd)
    assert apart == {"once": ("once", ["import"]), "periodic": ("periodic", ["export"])}
    assert together == {"once": ("once", ["export", "import"]), "periodic": ("once", ["export", "import"])}
    assert odd == {"odd": ("periodic", [])}


asyncio.run(main())
PYTHON
"$place/venv/bin/python" look.py
echo "As described."
