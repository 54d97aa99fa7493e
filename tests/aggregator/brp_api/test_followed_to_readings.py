"""Every number of a settlement is followed over the API to the readings, and reckoned anew in plain Python."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest

from core.spans import Duration
from openadr.model.opt import OptType
from openadr.model.report import ReportRequest
from support.vtn_world import data, usage
from vtn.services import potential, report, site
from vtn.services.potential import Figures

QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
STEP = Duration.of(minutes=15)


async def reporting_home(world, number):
    """Return a VEN whose quarters of the last 24 days have come in by OpenADR reports, and its request."""
    ven = await world.ven()
    await ven.offer(usage("meter"))
    wish = ReportRequest(f"w{number}", "usage", ("meter",), STEP, STEP, world.now, Duration())
    async with world.tx() as tx:
        await report.request(tx, ven.ven_id, wish, world.now, who="test")
        where = {"time_zone": "UTC", "area": None, "metering_point": f"MP-{ven.ven_id}"}
        await site.set_site(tx, ven.ven_id, **where, now=world.now, who="test")
        start_s = int(world.now.timestamp()) // 900 * 900
        rows = [(1000.0 * part,) * 192 for part in (0.9, 1.0, 1.1)]
        await potential.derived(tx, ven.ven_id, [Figures("heater", "reduce", start_s, 900, *rows)], world.now)
    await ven.drain()
    first = world.now - 24 * DAY
    values = np.random.default_rng(number).uniform(400, 700, 24 * 96).round(1).tolist()
    for part in range(0, len(values), 96):
        await told(ven, wish, first + part * QUARTER, *values[part : part + 96])
    return ven, wish


async def told(ven, wish, start, *values):
    answer = await ven.report(data(wish, start, *values, step=STEP))
    assert answer.response.code == 200


async def settled(market):
    """Sell an hour, let homes answer, let one leave, lose a quarter, correct one by its meter; return the documents."""
    world = market.world
    homes = [await reporting_home(world, number) for number in range(8)]
    programme = await world.programme(*(ven for ven, _ in homes))
    await market.seen()
    buyer = await market.buyer()
    contract = await market.contract(buyer, programme)
    interval = market.hour(1, min_w=1000, max_w=4000)
    one = await market.activation(buyer, contract, intervals=[interval])
    start = datetime.fromisoformat(interval["start"])
    called = {row.ven_id for row in await world.rows("event")}
    homes = [(ven, wish) for ven, wish in homes if ven.ven_id in called]
    assert len(homes) >= 4
    events = {}
    for ven, _ in homes:
        (delivered,) = await ven.events()
        events[ven.ven_id] = delivered
        await ven.opt(delivered)
    await market.turn(later=start + 2 * QUARTER - world.now + timedelta(minutes=1))
    await homes[1][0].opt(events[homes[1][0].ven_id], OptType.OUT)
    await market.turn(later=start + 4 * QUARTER - world.now)
    for number, (ven, wish) in enumerate(homes):
        before = [500.0 + number] * 4
        during = [300.0 + 10 * number, 310.0, 320.0, 330.0]
        if number == 2:  # a quarter is lost
            await told(ven, wish, start - 4 * QUARTER, *before, *during[:2])
            await told(ven, wish, start + 3 * QUARTER, during[3])
        else:
            await told(ven, wish, start - 4 * QUARTER, *before, *during)
    row = {
        "metering_point": f"MP-{homes[0][0].ven_id}",
        "series": "import",
        "quality": "validated",
        "energy_wh": "250.5",
    }
    row |= {"start": (start + QUARTER).isoformat(), "end": (start + 2 * QUARTER).isoformat()}
    taken = await market.post("/v1/meter-data", "admin", {"rows": [row]}, 200)
    assert taken == {"accepted": 1, "vens": 1, "refused": []}
    await market.turn(later=timedelta(minutes=10))
    return buyer, one["id"], start, [ven.ven_id for ven, _ in homes]


async def readings_of(market, ven_id, since, until, as_of):
    """Return source word -> start -> Wh, of the series that the API says count."""
    basis = await market.get(f"/v1/vens/{ven_id}/settlement-series", "viewer")
    counted = {one["point"]["series_id"]: one["sign"] for one in basis["series"] if one["settled"] or one["stands_in"]}
    span = f"since={since:%Y-%m-%dT%H:%M:%SZ}&until={until:%Y-%m-%dT%H:%M:%SZ}&as_of={as_of.replace('+00:00', 'Z')}"
    pages = await market.get(f"/v1/vens/{ven_id}/readings?{span}", "viewer")
    found = {}
    for one in pages["items"]:
        assert (one["series"]["quantity"], one["series"]["kind"]) == ("energy_real", "sum")
        assert set(one["duration_s"]) <= {900}
        if (number := one["point"]["series_id"]) in counted:
            word = "settlement meter" if one["series"]["source"] == "meter file" else "VEN register"
            for begin, value in zip(one["start"], one["value"], strict=True):
                found.setdefault(word, {})[datetime.fromisoformat(begin)] = counted[number] * value
    return found


async def recomputed(market, dispatch_id, result, ven, start):
    """Check one VEN's numbers against its readings; return baseline, use and delivery (W or None) per quarter."""
    how = await market.get(f"/v1/dispatches/{dispatch_id}/result/vens/{ven['ven_id']}", "viewer")
    assert how["method"] == result["method"] == "10of10/2"
    days = [datetime.fromisoformat(day).date() for day in ven["days_used"]]
    assert days == [datetime.fromisoformat(one["day"]).date() for one in how["days"] if one["verdict"] == "kept"]
    assert len(days) == 10
    by_source = await readings_of(market, ven["ven_id"], start - 40 * DAY, start + DAY, result["computed_at"])
    best = by_source["VEN register"] | by_source.get("settlement meter", {})
    (window,) = how["adjustment"]["windows"]
    opens, closes = (datetime.fromisoformat(window[edge]) for edge in ("start", "end"))
    today = [opens + n * QUARTER for n in range((closes - opens) // QUARTER)]

    def usual(at):
        return sum(best[at + (day - start.date())] for day in days) / len(days)

    factor = min(max(sum(best[at] for at in today) / sum(usual(at) for at in today), 0.8), 1.2)
    assert how["adjustment"]["factor"] == pytest.approx(factor)
    figures = []
    for number, told_of in enumerate(ven["intervals"]):
        at = start + number * QUARTER
        assert datetime.fromisoformat(told_of["start"]) == at
        used = None if told_of["source"] is None else 4 * by_source[told_of["source"]][at]
        assert (used is None) == (at not in best)
        base = 4 * factor * usual(at)
        assert told_of["baseline_w"] == pytest.approx(base)
        assert told_of["actual_w"] == (None if used is None else pytest.approx(used))
        figures.append((base, used, None if used is None else base - used))
    return figures


async def test_every_number_is_followed_to_readings_and_reckoned_anew(market):
    buyer, activation_id, start, homes = await settled(market)
    path = f"/brp/v1/activations/{activation_id}"
    (settlement,) = (await market.get(f"/brp/v1/settlements?activation_id={activation_id}", buyer))["items"]
    report_ = await market.get(f"{path}/report?version={settlement['report_version']}", buyer)
    dispatch_id = (await market.get(f"/v1/activations/{activation_id}", "viewer"))["dispatch_id"]
    result = await market.get(f"/v1/dispatches/{dispatch_id}/result", "viewer")
    assert {one["ven_id"] for one in result["vens"]} == set(homes)
    sums = [[0.0, 0.0, 0.0] for _ in range(4)]
    expected, heard = [0] * 4, [0] * 4
    sources = []
    for ven in sorted(result["vens"], key=lambda one: homes.index(one["ven_id"])):
        figures = await recomputed(market, dispatch_id, result, ven, start)
        sources.append([one["source"] for one in ven["intervals"]])
        stayed = 2 if ven["ven_id"] == homes[1] else 4
        got_wh = sum((gain or 0) / 4 for _, _, gain in figures[:stayed])
        assert ven["delivered_wh"] == pytest.approx(got_wh)
        for number, (base, used, gain) in enumerate(figures[:stayed]):
            expected[number] += 1
            if gain is not None:
                heard[number] += 1
                sums[number] = [total + one for total, one in zip(sums[number], (base, used, gain), strict=True)]
    meter, register = "settlement meter", "VEN register"
    assert sources == [
        [register, meter, register, register],
        [register] * 4,
        [register, register, None, register],
        *[[register] * 4 for _ in homes[3:]],
    ]
    shares = [part / whole for part, whole in zip(heard, expected, strict=True)]
    assert [one["coverage"] for one in report_["intervals"]] == pytest.approx(shares, abs=1e-4)
    weights = [one["ordered_w"] for one in report_["intervals"]]
    by_order = sum(share * weight for share, weight in zip(shares, weights, strict=True)) / sum(weights)
    assert report_["coverage"] == pytest.approx(by_order, abs=1e-4)
    paid = ordered = 0
    for one, (base, used, gain) in zip(report_["intervals"], sums, strict=True):
        assert (one["baseline_w"], one["actual_w"], one["delivered_w"]) == (round(base), round(used), round(gain))
        assert one["deficiency_w"] == max(one["ordered_w"] - round(gain), 0)
        ordered += one["ordered_w"]
        paid += min(max(round(gain), 0), one["ordered_w"])
    assert report_["delivered_wh"] == pytest.approx(sum(gain for _, _, gain in sums) / 4, abs=1)
    assert report_["ordered_wh"] == ordered // 4
    figures = settlement["figures"]
    ordered_kwh, paid_kwh = (Decimal(total) / 4000 for total in (ordered, paid))
    cent = Decimal("0.01")
    price = (paid_kwh * Decimal(figures["price_per_kwh"])).quantize(cent, ROUND_HALF_EVEN)
    penalty = ((ordered_kwh - paid_kwh) * Decimal(figures["penalty_per_kwh"])).quantize(cent, ROUND_HALF_EVEN)
    assert Decimal(figures["ordered_kwh"]) == ordered_kwh
    assert Decimal(figures["delivered_kwh"]) == paid_kwh
    assert Decimal(figures["deficiency_kwh"]) == ordered_kwh - paid_kwh
    assert (Decimal(figures["price"]), Decimal(figures["penalty"])) == (price, penalty)
    assert Decimal(figures["net"]) == price - penalty
