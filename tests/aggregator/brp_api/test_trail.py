"""Every number of a settlement, followed over REST to the readings it rests on, and recomputed in plain Python.

None of our arithmetic is used: not that of metrics, of vtn.services, nor of aggregator.trade. The rule is that of the
preset high5of10: the 5 highest of the 10 latest weekdays, scaled within 20 % by the load from 3 h to 1 h before.
"""

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from statistics import mean, variance
from typing import Any

import numpy as np
import pytest

from core.spans import Duration
from openadr.model.opt import OptType
from openadr.v20b.messages import DistributeEvent
from support.vtn_world import NOON, data, usage

QUARTER = timedelta(minutes=15)
STEP = Duration.of(minutes=15)
DAY = timedelta(days=1)
START, END = NOON + timedelta(hours=1), NOON + timedelta(hours=2)
HISTORY_DAYS = 30
QUARTERS = [START + n * QUARTER for n in range(4)]
GAP = QUARTERS[1]
LEFT = START + timedelta(minutes=37)


# -- the sale, and what homes report


@dataclass
class Home:
    """A home with a meter that it reports quarter by quarter."""

    ven: Any
    request_id: str
    numbers: np.random.Generator

    async def send(self, start: datetime, values: Any) -> None:
        report = data(self.request_id, start, *(round(float(one), 3) for one in values), step=STEP)
        assert (await self.ven.report(report)).response.ok

    async def answer(self, opt: OptType = OptType.IN) -> bool:
        """Answer all that came; return whether there was an event."""
        message = await self.ven.poll()
        if not isinstance(message, DistributeEvent):
            return False
        for one in message.events:
            await self.ven.opt(one, opt)
        return True


async def _home(market, seed: int) -> Home:
    ven = await market.world.ven()
    await ven.offer(usage("meter"))
    wish = {"specifier_id": "usage", "r_ids": ["meter"], "granularity": "PT15M", "report_back": "PT15M"}
    wish |= {"start": NOON.isoformat(), "duration": "PT0S"}
    made = await market.post(f"/v1/vens/{ven.ven_id}/report-requests", "dispatcher", wish)
    await ven.drain()
    home = Home(ven, made["id"], np.random.default_rng(seed))
    await home.send(NOON - HISTORY_DAYS * DAY, home.numbers.uniform(200, 400, 96 * HISTORY_DAYS))
    return home


async def _sold(market):
    """Sell an hour of homes, of which one opts out midway, one has a gap, and one has validated meter data.

    Return the buyer and the activation: reported on, reported on anew with the meter data, and final.
    """
    homes = [await _home(market, seed) for seed in range(8)]
    programme = await market.world.programme(*(one.ven for one in homes), baseline="high5of10")
    await market.can([one.ven for one in homes])
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme, per_ven_rows=True)
    wish = {"intervals": [market.hour(1, min_w=1000, max_w=8000)]}
    activation = await market.activation(buyer, contract, **wish)
    called = [one for one in homes if await one.answer()]
    assert len(called) >= 5
    leaver, gappy, metered, *_ = called
    point = {"time_zone": "UTC", "metering_point": "MP-1"}
    await market.call("PUT", f"/v1/vens/{metered.ven.ven_id}/site", 200, point, who="admin")

    await market.turn(later=LEFT - market.world.now)
    (event,) = await _events(market, leaver)
    await leaver.ven.created((event["id"], event["modification_number"], OptType.OUT, 200))
    await market.turn()
    for one in homes:
        if one is not leaver:
            await one.answer()

    market.world.clock.advance(to=END)
    for one in homes:
        until = NOON + (GAP - NOON if one is gappy else END - NOON)
        await one.send(NOON, one.numbers.uniform(200, 400, 4))
        await one.send(START, one.numbers.uniform(20, 120, (until - START) // QUARTER))
        if one is gappy:
            await one.send(GAP + QUARTER, one.numbers.uniform(20, 120, 2))
    await market.turn()
    await market.turn(later=timedelta(minutes=10))
    rows = [
        {
            "metering_point": "MP-1",
            "series": "import",
            "start": start.isoformat(),
            "end": (start + QUARTER).isoformat(),
            "energy_wh": str(60 + number),
            "quality": "validated",
        }
        for number, start in enumerate(QUARTERS)
    ]
    market.world.later(minutes=1)
    taken = await market.post("/v1/meter-data", "admin", {"rows": rows}, 200)
    assert taken["accepted"] == 4
    await market.turn(later=timedelta(hours=1))
    await market.turn(later=timedelta(days=8))
    return buyer, activation["id"], leaver, gappy, metered


async def _events(market, home: Home) -> list[dict[str, Any]]:
    (row,) = (await market.get("/v1/dispatches", "viewer"))["items"]
    events = (await market.get(f"/v1/dispatches/{row['id']}", "viewer"))["events"]
    return [one for one in events if one["ven_id"] == home.ven.ven_id]


# -- the arithmetic, anew


@dataclass
class Own:
    """What one VEN did, from readings and its order alone; dicts by the quarter's start, W and Wh."""

    wh: dict[datetime, float]
    source: dict[datetime, str]
    ordered_w: dict[datetime, float]
    baseline_w: dict[datetime, float]
    delivered_w: dict[datetime, float | None]
    due: list[datetime]
    days: list[str]
    factor: float
    errors_wh: dict[datetime, float]

    @property
    def known(self) -> list[datetime]:
        return [start for start in self.due if self.delivered_w[start] is not None]

    def actual_w(self, start: datetime) -> float | None:
        return self.wh[start] * 4 if start in self.wh else None


def _seconds(text: str) -> int:
    hours, minutes, seconds = re.fullmatch(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?", text).groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _high_5_of_10(
    wh: dict[datetime, float], quarters: list[datetime], start: datetime, notified: datetime
) -> tuple[dict[datetime, float], list[datetime], float] | None:
    """Return quarter -> baseline (W), the starts of the event on the days used, and the factor; None: too few days."""
    last = min(start - timedelta(hours=1), notified)
    window = [start + n * QUARTER for n in range(-96, 0)]
    window = [one for one in window if one >= last - timedelta(hours=2) and one + QUARTER <= last]
    eligible = []
    for back in (n * DAY for n in range(1, 46)):
        there = all(one - back in wh for one in (*quarters, *window))
        if (start - back).isoweekday() <= 5 and there:
            eligible.append(back)
    eligible = eligible[:10]
    if len(eligible) < 5:
        return None
    used = sorted(eligible, key=lambda back: -sum(wh[one - back] for one in quarters))[:5]
    usual = mean(wh[one - back] for back in used for one in window)
    factor = min(max(mean(wh[one] for one in window) / usual, 0.8), 1.2)
    base = {one: mean(wh[one - back] for back in used) * 4 * factor for one in quarters}
    return base, [start - back for back in used], factor


async def _own(market, dispatch_id: str, ven_id: str, as_of: str) -> tuple[Own, dict[str, Any]]:
    """Follow a VEN from its workings to its readings as they were at a time, and compute what it did."""
    how = await market.get(f"/v1/dispatches/{dispatch_id}/result/vens/{ven_id}", "viewer")
    query = {"since": NOON - 40 * DAY, "until": END, "as_of": datetime.fromisoformat(as_of)}
    words = "&".join(f"{name}={when.strftime('%Y-%m-%dT%H:%M:%S.%fZ')}" for name, when in query.items())
    found = (await market.get(f"/v1/vens/{ven_id}/readings?{words}", "viewer"))["items"]
    columns = {one["point"]["series_id"]: one for one in found}
    wh: dict[datetime, float] = {}
    source: dict[datetime, str] = {}
    for series in how["series"]:  # the first that has an interval counts
        assert series["sign"] == 1
        one = columns[series["series_id"]]
        assert set(one["duration_s"]) <= {900}
        assert set(one["quality"]) <= {"good"}
        for start, value in zip(map(_time, one["start"]), one["value"], strict=True):
            if start not in wh:
                wh[start], source[start] = value, series["source"]

    start, end, left = _time(how["starts_at"]), _time(how["ends_at"]), _time(how["left_at"])
    quarters = [one for one in QUARTERS if start <= one < end]
    (signal,) = how["signals"]
    assert (signal["name"], signal["type"], signal["unit"]) == ("LOAD_DISPATCH", "delta", "W")
    edges = [start]
    for each in signal["intervals"]:
        edges.append(edges[-1] + timedelta(seconds=_seconds(each["duration"])))
    ordered_w = dict.fromkeys(quarters, 0.0)
    for (first, last), each in zip(pairwise(edges), signal["intervals"], strict=True):
        for one in quarters:
            shared = (min(last, one + QUARTER) - max(first, one)) / QUARTER
            ordered_w[one] -= max(shared, 0.0) * each["value"]

    notified = _time(how["notified_at"])
    baseline_w, days, factor = _high_5_of_10(wh, quarters, start, notified)
    due = [one for one in quarters if ordered_w[one] and (left is None or one + QUARTER <= left)]
    got = {one: (baseline_w[one] - wh[one] * 4 if one in wh else None) if one in due else 0.0 for one in quarters}
    own = Own(wh, source, ordered_w, baseline_w, got, due, [str(one.date()) for one in days], factor, {})
    if own.known:
        own.errors_wh = _placebo(wh, own.known[0], own.known[-1] + QUARTER, start, notified)
    return own, how


def _placebo(
    wh: dict[datetime, float], first: datetime, end: datetime, start: datetime, notified: datetime
) -> dict[datetime, float]:
    """Return day -> what the rule credits (Wh) on weekdays without an event, in the quarters that count."""
    quarters = [one for one in QUARTERS if first <= one < end]
    errors = {}
    for back in (n * DAY for n in range(1, 76)):
        then = [one - back for one in quarters]
        if then[0].isoweekday() > 5 or not all(one in wh for one in then):
            continue
        found = _high_5_of_10(wh, then, first - back, notified - back)
        if found is not None:
            errors[first.replace(hour=0, minute=0) - back] = sum(found[0][one] / 4 - wh[one] for one in then)
    return errors


def _doubt(homes: list[Own]) -> tuple[float, float]:
    """Return half the width of the 90 % interval and the bias (Wh) of the sum of homes."""
    days = sorted(set.intersection(*(set(one.errors_wh) for one in homes)))
    assert len(days) >= 8
    assert all(set(one.errors_wh) == set(days) for one in homes)
    sums = [sum(one.errors_wh[day] for one in homes) for day in days]
    half = _t95(len(days) - 1) * math.sqrt(variance(sums) * (1 + 1 / len(days)))
    return half, mean(sums)


def _t95(freedom: int) -> float:
    """Return the 95 % quantile of Student's t, by bisection over Simpson's rule on its density."""
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)

    def below(limit: float) -> float:
        steps = 400
        at = [limit * n / steps for n in range(steps + 1)]
        density = [scale * (1 + x * x / freedom) ** (-(freedom + 1) / 2) for x in at]
        inner = 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2])
        return 0.5 + limit / steps / 3 * (density[0] + inner + density[-1])

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < 0.95 else (low, middle)
    return low


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _money(value: Decimal) -> str:
    return str(value.quantize(Decimal("0.01"), ROUND_HALF_EVEN))


def _kwh(ws: int) -> str:
    text = format((Decimal(ws) / 3_600_000).quantize(Decimal("0.000001"), ROUND_HALF_EVEN), "f")
    return text.rstrip("0").rstrip(".") or "0"


# -- the comparison


def _check_ven(found: dict[str, Any], own: Own) -> None:
    assert sorted(found["days_used"]) == sorted(own.days)
    assert [datetime.fromisoformat(one["start"]) for one in found["intervals"]] == list(own.ordered_w)
    for one in found["intervals"]:
        start = datetime.fromisoformat(one["start"])
        assert one["duration_s"] == 900
        assert one["target_w"] == pytest.approx(own.ordered_w[start])
        assert one["baseline_w"] == pytest.approx(own.baseline_w[start])
        assert one["actual_w"] == pytest.approx(own.actual_w(start))
        assert one["delivered_w"] == pytest.approx(own.delivered_w[start])
        assert one["source"] == own.source.get(start)
        assert one["coverage"] == (float(start in own.known) if start in own.due else None)
    delivered_wh = sum(own.delivered_w[start] / 4 for start in own.known)
    ordered_wh = sum(own.ordered_w.values()) / 4
    assert found["counts"] is True
    assert found["ordered_wh"] == pytest.approx(ordered_wh)
    assert found["delivered_wh"] == pytest.approx(delivered_wh)
    assert found["performance_ratio"] == pytest.approx(delivered_wh / ordered_wh)
    assert found["coverage"] == pytest.approx(len(own.known) / len(own.due))


def _pool(homes: list[Own], start: datetime) -> dict[str, Any]:
    here = [one for one in homes if start in one.known]
    due = [one for one in homes if start in one.due]
    return {
        "target_w": sum(one.ordered_w.get(start, 0.0) for one in homes),
        "baseline_w": sum(one.baseline_w[start] for one in here),
        "actual_w": sum(one.actual_w(start) for one in here),
        "delivered_w": sum(one.delivered_w[start] for one in here),
        "coverage": len(here) / len(due),
    }


def _check_result(result: dict[str, Any], homes: list[Own]) -> None:
    assert [datetime.fromisoformat(one["start"]) for one in result["intervals"]] == QUARTERS
    pools = [_pool(homes, start) for start in QUARTERS]
    for one, pool in zip(result["intervals"], pools, strict=True):
        assert {name: one[name] for name in pool} == pytest.approx(pool)
    assert result["ordered_wh"] == pytest.approx(sum(one["target_w"] / 4 for one in pools))
    assert result["delivered_wh"] == pytest.approx(sum(one["delivered_w"] / 4 for one in pools))
    assert result["performance_ratio"] == pytest.approx(result["delivered_wh"] / result["ordered_wh"])
    due, known = (sum(len(getattr(one, name)) for one in homes) for name in ("due", "known"))
    assert result["coverage"] == pytest.approx(known / due)


def _check_report(report: dict[str, Any], homes: list[Own], sold_w: int) -> None:
    rows = []
    for start, one in zip(QUARTERS, report["intervals"], strict=True):
        pool = _pool(homes, start)
        whole = {name: _whole(pool[name]) for name in ("baseline_w", "actual_w", "delivered_w")}
        expected = {
            "start": start.isoformat().replace("+00:00", "Z"),
            "duration_s": 900,
            "ordered_w": sold_w,
            **whole,
            "deficiency_w": max(sold_w - max(whole["delivered_w"], 0), 0),
            "coverage": round(pool["coverage"], 4),
            "number": start.hour * 4 + start.minute // 15 + 1,
            "local_start": start.isoformat(timespec="minutes"),
        }
        assert one == expected
        rows.append(expected)
    assert report["ordered_wh"] == sold_w
    assert report["delivered_wh"] == round(sum(one["delivered_w"] for one in rows) / 4)
    assert report["deficiency_wh"] == round(sum(one["deficiency_w"] for one in rows) / 4)
    assert report["coverage"] == round(mean(one["coverage"] for one in rows), 4)
    half_wh, bias_wh = _doubt(homes)
    assert report["uncertainty_wh"] == pytest.approx(half_wh, rel=1e-3, abs=1)
    assert report["bias_wh"] == pytest.approx(bias_wh, abs=0.5001)
    vens = sorted((one["ordered_wh"], one["delivered_wh"]) for one in report["vens"])
    assert vens == sorted(
        (round(sum(one.ordered_w.values()) / 4), round(sum(one.delivered_w[start] / 4 for start in one.known)))
        for one in homes
    )


def _check_settlement(settlement: dict[str, Any], report: dict[str, Any], per_kwh: str) -> None:
    paid_ws = sum(min(max(one["delivered_w"], 0), one["ordered_w"]) * 900 for one in report["intervals"])
    ordered_ws = sum(one["ordered_w"] * 900 for one in report["intervals"])
    price = _money(Decimal(paid_ws) / 3_600_000 * Decimal(per_kwh))
    penalty = _money(Decimal(ordered_ws - paid_ws) / 3_600_000 * Decimal("0.40"))
    assert settlement["figures"] == {
        "ordered_kwh": _kwh(ordered_ws),
        "delivered_kwh": _kwh(paid_ws),
        "deficiency_kwh": _kwh(ordered_ws - paid_ws),
        "currency": "EUR",
        "price_per_kwh": per_kwh,
        "penalty_per_kwh": "0.40",
        "price": price,
        "penalty": penalty,
        "net": _money(Decimal(price) - Decimal(penalty)),
        "uncertainty_kwh": _kwh(report["uncertainty_wh"] * 3600),
        "bias_kwh": _kwh(report["bias_wh"] * 3600),
    }


async def test_every_number_of_a_settlement_is_followed_to_its_readings_and_recomputed(market) -> None:
    buyer, activation_id, leaver, gappy, metered = await _sold(market)
    found = await market.get(f"/brp/v1/settlements?activation_id={activation_id}", buyer)
    settlements = found["items"]
    assert [one["report_version"] for one in settlements] == [2, 1]
    assert settlements[0]["final"] is True
    assert settlements[0]["supersedes"] == settlements[1]["id"]
    activation = await market.get(f"/brp/v1/activations/{activation_id}", buyer)
    offer = await market.get(f"/brp/v1/flexibility-offers/{activation['offer_id']}", buyer)
    (option,) = [one for one in offer["options"] if one["id"] == activation["option_id"]]
    assert activation["price_per_kwh"] == option["price_per_kwh"]
    (sold,) = activation["intervals"]
    assert [sold] == option["intervals"]
    sources = []
    for settlement in settlements:
        version = settlement["report_version"]
        report = await market.get(f"/brp/v1/activations/{activation_id}/report?version={version}", buyer)
        made_from = await market.get(f"/v1/activations/{activation_id}/report?version={version}", "viewer")
        dispatch_id, result_version = made_from.pop("dispatch_id"), made_from.pop("result_version")
        assert made_from == report
        result = await market.get(f"/v1/dispatches/{dispatch_id}/result?version={result_version}", "viewer")
        assert result["method"] == report["method"] == "high5of10/2"
        homes, hows = {}, {}
        for one in result["vens"]:
            ven_id = one["ven_id"]
            homes[ven_id], hows[ven_id] = await _own(market, dispatch_id, ven_id, report["created_at"])
            _check_ven(one, homes[ven_id])
            _check_workings(hows[ven_id], homes[ven_id])
        assert _time(hows[leaver.ven.ven_id]["left_at"]) == LEFT
        assert homes[leaver.ven.ven_id].due == QUARTERS[:2]
        assert set(QUARTERS) - set(homes[gappy.ven.ven_id].known) == {GAP}
        sources.append({homes[metered.ven.ven_id].source[start] for start in QUARTERS})
        own = list(homes.values())
        _check_result(result, own)
        _check_report(report, own, sold["power_w"])
        _check_settlement(settlement, report, activation["price_per_kwh"])
    assert sources == [{"settlement meter"}, {"VEN register"}]


def _check_workings(how: dict[str, Any], own: Own) -> None:
    assert sorted(one["day"] for one in how["days"] if one["verdict"] == "kept") == sorted(own.days)
    assert how["adjustment"]["factor"] == pytest.approx(own.factor)
    raw = how["adjustment"]["today_w"] / how["adjustment"]["usual_w"]
    assert min(max(raw, 0.8), 1.2) == pytest.approx(own.factor)
