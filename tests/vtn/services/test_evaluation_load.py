"""What evaluating a dispatch asks of the database: for many VENs no more than for few (vtn.services.evaluation)."""

import itertools
from datetime import timedelta

import numpy as np
from sqlalchemy import insert

from support.vtn_world import NOON, Ven, counted_statements, power
from vtn.services import dispatch, evaluation, evaluation_inputs, load_profile, provisioning
from vtn.store.readings import Arrival, SeriesKey, Values, store_all
from vtn.store.tables import event as event_table
from vtn.store.tables import opt

START = NOON + timedelta(hours=1)
MOST_STATEMENTS = 22  # eight of them ask for outages, holidays, other calls and who left them, and whether it is final
HALF_S = 1800
DAY_S = 86_400
FIRST_S = int(NOON.timestamp()) // DAY_S * DAY_S - 20 * DAY_S


async def homes(world, count):
    """Return VENs that nobody has to speak for."""
    async with world.tx() as tx:
        names = [f"home {next(world.numbers)}" for _ in range(count)]
        return [Ven(world, await provisioning.create_ven(tx, name, world.now, who="test"), None) for name in names]


async def consume(world, *kinds, days=21):
    """Let (VEN, (quantity, kind, resources)) report some weeks, one VEN after the other day by day."""
    rng = np.random.default_rng(5)
    for day in range(days):
        arrivals = []
        for ven, (quantity, kind, resources) in kinds:
            for resource in resources:
                values = rng.uniform(100, 900, 48).round(1)
                if kind == "register":
                    values = 43_200.0 * day + np.cumsum(values)
                key, unit = SeriesKey(ven.ven_id, resource, quantity, kind), "W" if quantity == "power_real" else "Wh"
                arrivals.append(Arrival(key, unit, Values(FIRST_S + day * DAY_S, HALF_S, tuple(map(float, values)))))
        async with world.tx() as tx:
            await store_all(tx, arrivals, world.now)


KINDS = (
    ("energy_real", "sum", ("meter",)),
    ("energy_real", "register", ("meter",)),
    ("power_real", "mean", ("meter",)),
    ("energy_real", "sum", ("a", "b", "c")),
    ("energy_real", "sum", ()),
)


async def test_evaluating_takes_as_many_statements_for_many_vens_as_for_few(any_world):
    world = any_world
    counts = []
    for count in (5, 60):
        vens = await homes(world, count)
        await consume(world, *zip(vens, itertools.cycle(KINDS), strict=False))
        await world.dispatch(*vens[::2])  # an event of the same time: no day of a baseline, but one more question
        dispatch_id = await world.dispatch(*vens, signals=(power(-200.0, -400.0),))
        rows = await world.rows("event", dispatch_id=dispatch_id)
        said = {"source": "createdEvent", "opt_type": "optIn", "modification_number": 0, "at": world.now}
        async with world.tx() as tx:
            await tx.conn.execute(insert(opt), [{"event_id": row.id, "ven_id": row.ven_id, **said} for row in rows])
            await dispatch.cancel_event(tx, rows[0].id, world.now, who="test")
            cut = event_table.update().where(event_table.c.id == rows[1].id)
            await tx.conn.execute(cut.values(cancelled_at=START + timedelta(minutes=50)))
        with counted_statements() as seen:
            result = await evaluation.evaluate(world.db, dispatch_id, START + timedelta(hours=3))
        assert result.called == count - 1
        assert sum(one.counts for one in result.vens) > count // 2
        counts.append(len([one for one in seen if not one.startswith("BEGIN")]))
    assert counts[1] <= MOST_STATEMENTS
    assert counts[1] - counts[0] in (0, 1), "why nothing is settled is asked once, where there is such a VEN"


async def test_energies_read_together_are_those_of_each_alone(any_world):
    world = any_world
    vens = await homes(world, 10)
    await consume(world, *zip(vens, itertools.cycle(KINDS), strict=False))
    end_s = FIRST_S + 21 * DAY_S
    spans = {
        ven.ven_id: (FIRST_S + 1000 * number, end_s - 7200 * number) for number, ven in enumerate(reversed(vens))
    } | {"nobody": (FIRST_S, FIRST_S + 3600)}
    async with world.db.read() as conn:
        together = await load_profile.energy_of_each(conn, spans, HALF_S)
        assert list(together) == list(spans)
        for ven_id, one in together.items():
            alone = await load_profile.energy(conn, ven_id, *spans[ven_id], HALF_S)
            assert one.starts_s.tolist() == alone.starts_s.tolist()
            assert one.energy_wh.tobytes() == alone.energy_wh.tobytes()
    unmeasured = [name for name, one in together.items() if np.isnan(one.energy_wh).all()]
    assert unmeasured == [vens[9].ven_id, vens[4].ven_id, "nobody"]


async def test_it_does_not_matter_how_many_vens_are_read_at_once(world, monkeypatch):
    vens = await homes(world, 7)
    await consume(world, *zip(vens, itertools.cycle(KINDS), strict=False))
    dispatch_id = await world.dispatch(*vens, signals=(power(-200.0, -400.0),))
    whole = await evaluation.compute(world.db, dispatch_id, START + timedelta(hours=3))
    assert [one.ven_id for one in whole.result.vens] == sorted(one.ven_id for one in vens)
    for some in (1, 3, 7):
        monkeypatch.setattr(evaluation_inputs, "_SOME", some)
        assert await evaluation.compute(world.db, dispatch_id, START + timedelta(hours=3)) == whole
