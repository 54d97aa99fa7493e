import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest

from vtn.services import evaluation
from vtn.store.database import Database

THE_DAY_AFTER = datetime(2013, 11, 21, tzinfo=UTC)
EVENTS = """SELECT v.id, name, (SELECT opt_type FROM opt WHERE event_id = e.id ORDER BY sequence DESC LIMIT 1),
    strftime('%s', starts_at) + 0, strftime('%s', min(ends_at, coalesce(e.cancelled_at, ends_at))) + 0 AS ended,
    (SELECT strftime('%s', min(first_sent_at)) + 0 FROM delivery WHERE event_id = e.id), own_values, d.event
    FROM event e
    JOIN ven v ON v.id = ven_id JOIN dispatch d ON d.id = dispatch_id WHERE ended > strftime('%s', starts_at) + 0"""
ROWS = """SELECT start_s, start_s + duration_s, value FROM reading WHERE ven_id = ? AND quantity = 'energy_real'
    AND kind = 'sum' AND report_type = 'usage' AND value IS NOT NULL ORDER BY start_s"""


@pytest.mark.slow
def test_delivered_energy_follows_from_the_rows_by_what_the_documentation_says(story):
    kwh = by_the_book(story[0] / "vtn" / "vtn.db", ten_of_ten)
    told = {one["ven_name"]: one["delivered_kwh"] for one in story[1]["vens"]}
    assert story[1]["method"] == "10of10-unadjusted/1"
    assert {name: told[name] for name in kwh} == pytest.approx(kwh, abs=1e-6)
    assert story[1]["delivered_kwh"] == pytest.approx(sum(one or 0 for one in told.values()), abs=1e-6)
    assert sum(map(bool, kwh.values())) >= 5


@pytest.mark.slow
async def test_so_it_does_by_a_rule_that_keeps_some_days_and_adjusts_by_the_hours_before(story, tmp_path):
    copy = tmp_path / "vtn.db"
    with closing(sqlite3.connect(story[0] / "vtn" / "vtn.db")) as db, closing(sqlite3.connect(copy)) as other:
        db.backup(other)
        with other:
            other.execute("UPDATE programme SET parameters = json_set(parameters, '$.baseline', 'high5of10')")
        ((dispatch_id,),) = other.execute("SELECT id FROM dispatch").fetchall()
    database = await Database.open(f"sqlite:///{copy}")
    try:
        found = (await evaluation.compute(database, dispatch_id, THE_DAY_AFTER)).result
    finally:
        await database.close()
    got = {
        one.ven_name: one.delivered_wh / 1000 if one.counts else None if one.opt == "optIn" else 0 for one in found.vens
    }
    assert found.method == "high5of10/2"
    assert got == pytest.approx(by_the_book(copy, high_5_of_10), abs=1e-6)


def by_the_book(database, rule):
    """Return VEN name -> what it delivered by a rule, kWh; 0: it did not stay in; None: no days before are known."""
    with closing(sqlite3.connect(database)) as db:
        events = [(*one, db.execute(ROWS, (ven,)).fetchall()) for ven, *one in db.execute(EVENTS)]
    return {name: by_rule(rule, *rest) if opt == "optIn" else 0 for name, opt, *rest in events}


def by_rule(rule, start, end, sent, own, dispatched, values):
    if values[0][0] >= start - 86400:
        return None
    delivered = rule(start, end, sent, values)
    return (
        sum(one for one, asked in zip(delivered, orders(len(delivered), own, dispatched), strict=True) if asked) / 1000
    )


def orders(count, own, dispatched):
    """Tell in which half hours anything was ordered."""
    step_s = json.loads(dispatched)["signals"][0]["intervals"][0]["duration"]["seconds"]
    (powers,) = json.loads(own).values()
    return [any(powers[n * 1800 // step_s : (n + 1) * 1800 // step_s]) for n in range(count)]


def ten_of_ten(start, end, _, values):
    half_hours, end = energies(values), -(-end // 1800) * 1800
    usual = np.mean([half_hours(start - s, end - s) for s in weekdays_before(start)], 0)
    return usual - half_hours(start, end)


def high_5_of_10(start, end, sent, values):
    half_hours, end, known = energies(values), -(-end // 1800) * 1800, min(sent, start - 3600)
    before = -(-(known - 7200) // 1800) * 1800, known // 1800 * 1800
    kept = sorted(weekdays_before(start), key=lambda s: -half_hours(start - s, end - s).sum())[:5]
    usual, earlier = (np.mean([half_hours(a - s, b - s) for s in kept], 0) for a, b in ((start, end), before))
    usual *= np.clip(half_hours(*before).mean() / earlier.mean(), 0.8, 1.2)
    return usual - half_hours(start, end)


def weekdays_before(start):
    """How many seconds ago the ten latest weekdays were, newest first."""
    ago = [day * 86400 for day in range(1, 20) if datetime.fromtimestamp(start - day * 86400, UTC).weekday() < 5]
    return ago[:10]


def energies(values):
    """Return a function of two times: the Wh of the half hours between them."""
    rows = np.array(values)
    assert (rows[1:, 0] >= rows[:-1, 1]).all()
    times, so_far = rows[:, :2].ravel(), np.repeat(np.cumsum([0, *rows[:, 2]]), 2)[1:-1]
    return lambda first, last: np.diff(np.interp(np.arange(first, last + 1, 1800), times, so_far))
