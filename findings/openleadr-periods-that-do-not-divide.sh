#!/usr/bin/env bash
# openleadr 0.5.36, VEN: how often it polls and reports when the period does not divide an hour or a day.
#
# The VEN turns oadrRequestedOadrPollFreq and the granularity of a report into a line of cron, so that a period is only
# kept if it divides the next larger unit. Everything else becomes something else, without a word:
#
#   * 90 s: every 60 s; 90 min: every 60 min (the rest of the division is dropped);
#   * 45 s: at :00 and :45, so 45 s and 15 s in turn; 25 min: at :00, :25 and :50, so 25, 25 and 10 min;
#   * 5 h: at 0, 5, 10, 15 and 20 o'clock, the last one 4 h long; 36 h and more: every day at midnight.
#
# A report every 25 min thus brings an interval of 25 min that 15 of its minutes share with the next. So a VTN does well to
# ask such VENs for divisors only (10, 15, 20, 30 s; 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30 min; 1, 2, 3, 4, 6, 8, 12 h), and
# never to judge by the period alone whether one is late.
set -euo pipefail

PYTHON=${PYTHON:-python3}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/pip" install -q --disable-pip-version-check openleadr==0.5.36 aiohttp async-timeout termcolor apscheduler==3.11.3
cd "$place"
cat > look.py <<'PYTHON'
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

from apscheduler.triggers.cron import CronTrigger
from openleadr.utils import cron_config

START = datetime(2026, 1, 12, tzinfo=timezone.utc)


def gaps(period, count):
    """Return the first distances between polls, in seconds."""
    trigger, at, found = CronTrigger(timezone="UTC", **cron_config(period)), START, []
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
print("openleadr", version("openleadr"))
for period, expected in EXPECTED.items():
    seen = gaps(period, len(expected))
    print(f"asked for {period}: next ones after {seen} s")
    assert seen == expected, (period, seen)
PYTHON
"$place/venv/bin/python" look.py
echo "As described."
