#!/usr/bin/env bash
# openleadr 0.5.36, VEN: how often it reports when the granularity asked for does not divide an hour or a day.
#
# The VEN offers a range of periods (here a second to two days) and agrees to a request within it, but keeps the period as a
# line of cron. So it is only what was asked for if it divides the next larger unit, and otherwise something else, without
# an error or a warning:
#
#   * 90 s: every 60 s; 90 min: every 60 min (the rest of the division is dropped);
#   * 45 s: at :00 and :45, so 45 s and 15 s in turn; 25 min: at :00, :25 and :50, so 25, 25 and 10 min;
#   * 5 h: at 0, 5, 10, 15 and 20 o'clock, the last time 4 h; 36 h: every day at midnight.
#
# Polling is not concerned: it runs on a plain interval. So a VTN does well to ask such VENs for divisors only, and not to
# judge by the granularity alone whether a report is late or of what time its values are.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check openleadr==0.5.36 aiohttp async-timeout termcolor apscheduler==3.11.3
cd "$place"
cat > look.py <<'PYTHON'
import asyncio
import logging
from datetime import datetime, timedelta
from importlib.metadata import version

from openleadr import OpenADRClient
from openleadr.objects import SamplingRate

logging.disable()


async def gaps(period, count):
    """Ask a VEN for a report at that granularity; return the distances between its next reports, in seconds."""
    ven = OpenADRClient("meter", "http://127.0.0.1:9/OpenADR2/Simple/2.0b")
    ven.ven_id = "v"
    ven.add_report(
        lambda: 1.0, "house", r_id="r", measurement="energyReal", report_specifier_id="usage",
        sampling_rate=SamplingRate(min_period=timedelta(seconds=1), max_period=timedelta(days=2), on_change=False),
    )

    async def perform(service, message):
        return None, None

    ven._perform_request = perform
    specifier = {
        "report_specifier_id": "usage",
        "granularity": period,
        "report_back_duration": period,
        "specifier_payloads": [{"r_id": "r", "reading_type": "Direct Read"}],
    }
    asked = {"report_request_id": "q", "report_specifier": specifier}
    await ven.create_report({"request_id": "c", "report_requests": [asked]})
    (kept,) = ven.report_requests
    assert (kept["granularity"], kept["r_ids"]) == (period, ["r"]), kept
    trigger = kept["job"].trigger
    at, found = datetime(2026, 1, 12, tzinfo=trigger.timezone), []
    for _ in range(count):
        following = trigger.get_next_fire_time(at, at + timedelta(microseconds=1))
        found.append(int((following - at).total_seconds()))
        at = following
    return found


EXPECTED = {
    timedelta(seconds=90): [60, 60, 60],
    timedelta(minutes=90): [3600, 3600, 3600],
    timedelta(seconds=45): [45, 15, 45, 15],
    timedelta(minutes=25): [1500, 1500, 600, 1500],
    timedelta(hours=5): [18000, 18000, 18000, 18000, 14400],
    timedelta(hours=36): [86400, 86400],
    timedelta(minutes=15): [900, 900, 900, 900],
}


async def main():
    print("openleadr", version("openleadr"))
    for period, expected in EXPECTED.items():
        seen = await gaps(period, len(expected))
        print(f"asked for {period}: reports after {seen} s")
        assert seen == expected, (period, seen)


asyncio.run(main())
PYTHON
TZ=UTC "$place/venv/bin/python" look.py
echo "As described."
