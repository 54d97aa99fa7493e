"""How likely a VEN responds, from what it did when it was called."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import insert, select

from aggregator.flexibility.reliability import DECAY, PRIOR, reliability
from openadr.model.event import ResponseRequired
from openadr.model.opt import Opt, OptType
from openadr.model.target import Target
from openadr.v20b.messages import CreateOpt
from support.vtn_world import HOUR, usage
from vtn.services import dispatch
from vtn.store.tables import evaluation, ven


async def chance(world, *vens):
    index = {one.ven_id: place for place, one in enumerate(vens)}
    async with world.db.read() as conn:
        return (await reliability(conn, index, select(ven.c.id), world.now)).tolist()


async def called(world, answers, **order):
    """Call VENs, let them answer (None: not at all), and let the event pass; return the dispatch."""
    made = await world.dispatch(*(one for one, _ in answers), **order)
    for one, said in answers:
        if said is not None:
            (event,) = await one.events()
            await one.opt(event, said)
    world.later(hours=3)
    return made


async def evaluated(world, dispatch_id, version, **ratios):
    vens = [{"ven_id": name, "performance_ratio": ratio} for name, ratio in ratios.items()]
    async with world.tx() as tx:
        await tx.conn.execute(
            insert(evaluation).values(
                dispatch_id=dispatch_id, version=version, method={}, result={"vens": vens}, input_hash="x",
                created_at=world.now,
            )
        )  # fmt: skip


def beta(*active):
    """Return the posterior mean for what was done, newest first."""
    weights = [DECAY**n for n in range(len(active))]
    good = PRIOR[0] + sum(w for w, did in zip(weights, active, strict=True) if did)
    return good / (sum(PRIOR) + sum(weights))


async def homes(world, number=1):
    """Return VENs whose meters were heard of."""
    made = [await world.ven() for _ in range(number)]
    await world.metered(*made)
    return made


async def test_nothing_known_is_the_prior(world):
    (one,) = await homes(world)
    assert await chance(world, one) == [0.8]


async def test_answers_count_newest_first(world):
    a, b, c = await homes(world, 3)
    first = await called(world, [(a, OptType.OUT), (b, OptType.IN), (c, None)])
    second = await called(world, [(a, OptType.IN), (b, OptType.IN)])
    await evaluated(world, first, 1, **{b.ven_id: 1.0})
    await evaluated(world, second, 1, **{a.ven_id: 1.0, b.ven_id: 1.0})
    found = await chance(world, a, b, c)
    assert found == pytest.approx([beta(True, False), beta(True, True), beta(False)])


async def test_silence_where_no_answer_was_wanted_is_no_refusal(world):
    a, b = await homes(world, 2)
    quiet = {"response_required": ResponseRequired.NEVER}
    made = await called(world, [(a, None), (b, None)], rules=quiet)
    assert await chance(world, a, b) == [0.8, 0.8]
    await evaluated(world, made, 1, **{a.ven_id: 1.0, b.ven_id: 0.1})
    assert await chance(world, a, b) == pytest.approx([beta(True), beta(False)])


async def test_who_has_no_meter_is_not_judged(world):
    one = await world.ven()
    assert np.isnan(await chance(world, one)).all()
    made = await called(world, [(one, OptType.IN)])
    await evaluated(world, made, 1, **{one.ven_id: None})
    assert np.isnan(await chance(world, one)).all()


async def test_agreeing_proves_nothing_until_it_was_measured(world):
    (one,) = await homes(world)
    for _ in range(3):
        made = await called(world, [(one, OptType.IN)])
        assert await chance(world, one) == [0.8]
    await evaluated(world, made, 1, **{one.ven_id: 1.0})
    assert await chance(world, one) == pytest.approx([beta(True)])


async def test_op05_an_opt_out_of_the_only_resource_is_the_ven_s(world):
    (one,) = await homes(world)
    await one.offer(usage("heater"))
    await world.dispatch(one)
    (event,) = await one.events()
    await one.opt(event, OptType.IN)
    number, target = event.event.modification_number, Target(resource_ids=("heater",))
    out = Opt("o", OptType.OUT, "mustRun", world.now, event.event.event_id, number, target=target)
    assert (await one.say(CreateOpt(one.ven_id, "q", out))).response.code == 200
    world.later(hours=3)
    assert await chance(world, one) == [beta(False)]


async def test_delivery_counts_where_it_was_evaluated(world):
    a, b, c = await homes(world, 3)
    made = await called(world, [(one, OptType.IN) for one in (a, b, c)])
    await evaluated(world, made, 1, **{a.ven_id: 0.1, b.ven_id: 0.9})
    await evaluated(world, made, 2, **{a.ven_id: 0.5, b.ven_id: 0.49, c.ven_id: None})
    assert await chance(world, a, b, c) == pytest.approx([beta(True), beta(False), 0.8])


async def test_what_did_not_happen_does_not_count(world):
    (one,) = await homes(world)
    await called(world, [(one, OptType.OUT)], test_event=True)
    await called(world, [(one, OptType.OUT)], direction=None)
    cancelled = await world.dispatch(one, starts_in=timedelta(hours=1), duration=HOUR)
    async with world.tx() as tx:
        await dispatch.cancel(tx, cancelled, world.now, who="test")
    world.later(hours=5)
    await world.dispatch(one, starts_in=timedelta(hours=1))  # still to come
    assert await chance(world, one) == [0.8]


async def test_a_later_opt_by_name_decides(world):
    (one,) = await homes(world)
    await world.dispatch(one)
    (event,) = await one.events()
    await one.opt(event, OptType.IN)
    await one.opt(event, OptType.OUT)
    world.later(hours=3)
    assert await chance(world, one) == pytest.approx([beta(False)])
