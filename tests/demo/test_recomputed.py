import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import numpy as np
import pytest

EVENTS = """SELECT v.id, name, (SELECT opt_type FROM opt WHERE event_id = e.id ORDER BY sequence DESC LIMIT 1),
    strftime('%s', starts_at) + 0, strftime('%s', min(ends_at, coalesce(e.cancelled_at, ends_at))) + 0 AS ended,
    (SELECT strftime('%s', min(first_sent_at)) + 0 FROM delivery WHERE event_id = e.id) FROM event e
    JOIN ven v ON v.id = ven_id JOIN dispatch d ON d.id = dispatch_id WHERE ended > strftime('%s', starts_at) + 0"""
ROWS = """SELECT start_s, start_s + duration_s, value FROM reading WHERE ven_id = ? AND quantity = 'energy_real'
    AND kind = 'sum' AND value IS NOT NULL ORDER BY start_s"""


@pytest.mark.slow
def test_delivered_energy_follows_from_the_rows_by_what_the_documentation_says(story):
    with closing(sqlite3.connect(story[0] / "vtn" / "vtn.db")) as db:
        events = [(*one, db.execute(ROWS, (ven,)).fetchall()) for ven, *one in db.execute(EVENTS)]
    kwh = {name: high_5_of_10(*rest) if opt == "optIn" else 0 for name, opt, *rest in events}
    told = {one["ven_name"]: one["delivered_kwh"] for one in story[1]["vens"]}
    assert {name: told[name] for name in kwh} == pytest.approx(kwh, abs=1e-6)
    assert story[1]["delivered_kwh"] == pytest.approx(sum(told.values()), abs=1e-6)
    assert sum(map(bool, kwh.values())) >= 5


def high_5_of_10(start, end, sent, values):
    rows, end, known = np.array(values), -(-end // 1800) * 1800, min(sent, start - 3600)
    assert (rows[1:, 0] >= rows[:-1, 1]).all()
    times, so_far = rows[:, :2].ravel(), np.repeat(np.cumsum([0, *rows[:, 2]]), 2)[1:-1]

    def half_hours(first, last):
        return np.diff(np.interp(np.arange(first, last + 1, 1800), times, so_far))

    before = -(-(known - 7200) // 1800) * 1800, known // 1800 * 1800
    ago = [day * 86400 for day in range(1, 20) if datetime.fromtimestamp(start - day * 86400, UTC).weekday() < 5]
    kept = sorted(ago[:10], key=lambda s: -half_hours(start - s, end - s).sum())[:5]
    usual, earlier = (np.mean([half_hours(a - s, b - s) for s in kept], 0) for a, b in ((start, end), before))
    usual *= np.clip(half_hours(*before).mean() / earlier.mean(), 0.8, 1.2)
    return (usual - half_hours(start, end)).sum() / 1000
