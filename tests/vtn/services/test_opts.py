"""EiOpt: opts for events and opt schedules (catalogue OP)."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from core.spans import Duration
from openadr.model.event import ResponseRequired
from openadr.model.opt import Availability, Opt, OptType, effective_opt
from openadr.model.target import EVERYTHING, Target
from openadr.v20b.messages import CanceledOpt, CancelOpt, CreatedOpt, CreateOpt
from support.vtn_world import HOUR, NOON, counted_statements, usage
from vtn.services import dispatch, dispatch_list, opt, ven_view
from vtn.store.rows import to_json
from vtn.store.tables import opt as opt_table

IN, OUT = OptType.IN, OptType.OUT


async def create(ven, opt_type=OUT, **what):
    said = {"opt_id": "o1", "opt_type": opt_type, "reason": "economic", "created_at": ven.world.now} | what
    answer = await ven.say(CreateOpt(ven.ven_id, "q", Opt(**said)))
    assert isinstance(answer, CreatedOpt)
    assert (answer.opt_id, answer.response.request_id) == (said["opt_id"], "q")
    return answer.response.code


async def for_event(ven, one, opt_type=OUT, **what):
    number = one.event.modification_number
    return await create(ven, opt_type, event_id=one.event.event_id, modification_number=number, **what)


def resources(*names):
    return {"target": Target(resource_ids=names)}


def schedule(hours=1, duration=HOUR, **what):
    return {"availability": (Availability(NOON + timedelta(hours=hours), duration),)} | what


async def ven_with(world, *names):
    """Return a VEN whose metadata names these resources."""
    ven = await world.ven()
    await ven.offer(usage(*names))
    return ven


async def live(world):
    """Return (optID, optType, resource) of the schedules in force."""
    rows = [row for row in await world.rows("opt") if row.event_id is None and row.ended_at is None]
    return [(row.opt_id, row.opt_type, row.resource_id) for row in rows]


async def counts(world, dispatch_id, ven):
    async with world.db.read() as conn:
        return (await opt.effective(conn, dispatch_id))[ven.ven_id]


async def of_resource(world, one, name):
    async with world.db.read() as conn:
        return effective_opt(await opt.facts(conn, one.event.event_id), name)


async def called(world, *names, **order):
    """Return a VEN, with resources of these names, and an event that it has seen."""
    ven = await ven_with(world, *names) if names else await world.ven()
    dispatch_id = await world.dispatch(ven, **order)
    (one,) = await ven.events()
    return ven, dispatch_id, one


async def test_op01_op16_an_events_opt_is_qualified_and_the_ids_are_echoed(world):
    ven, dispatch_id, one = await called(world)
    assert await for_event(ven, one, reason="x-holiday") == 200
    assert await counts(world, dispatch_id, ven) == (OUT, "x-holiday")


@pytest.mark.parametrize(
    "more", [schedule(), {"market_context": "http://grid/1"}], ids=["availability", "market context"]
)
async def test_op02_with_an_event_no_schedule_and_no_context(world, more):
    ven, _, one = await called(world)
    assert await for_event(ven, one, **more) == 459
    assert await world.rows("opt") == []


async def test_op02_without_an_event_a_schedule_is_needed(world):
    ven = await world.ven()
    assert await create(ven) == 459
    assert await create(ven, **schedule()) == 200


async def test_op04_cancelling_an_opt_id_ends_all_that_was_made_with_it(any_world):
    world = any_world
    ven = await ven_with(world, "a", "b", "c")
    await create(ven, **schedule(**resources("a")))
    await create(ven, **schedule(hours=5, **resources("b")))
    await create(ven, **schedule(hours=9, opt_id="o2", **resources("c")))
    answer = await ven.say(CancelOpt(ven.ven_id, "q", "o1"))
    assert isinstance(answer, CanceledOpt)
    assert (answer.response.code, answer.response.request_id, answer.opt_id) == (200, "q", "o1")
    assert await live(world) == [("o2", "optOut", "c")]


async def test_op05_an_opt_for_the_only_resource_is_one_for_the_ven(any_world):
    world = any_world
    one_resource, two_resources = await world.ven(), await world.ven()
    await one_resource.offer(usage("res1"))
    await two_resources.offer(usage("res1", "res2"))
    dispatch_id = await world.dispatch(one_resource, two_resources)
    for ven in (one_resource, two_resources):
        (event,) = await ven.events()
        await ven.opt(event, IN)
        assert await for_event(ven, event, reason="mustRun", **resources("res1")) == 200
    assert await counts(world, dispatch_id, one_resource) == (OUT, "mustRun")
    assert await counts(world, dispatch_id, two_resources) == (IN, None)
    async with world.db.read() as conn:
        (row,) = await dispatch_list.listing(conn, dispatch_list.DispatchFilter(dispatch_list.When.NEXT), world.now)
    assert (row.called, row.opted_in, row.opted_out) == (2, 1, 1)


async def test_op05_an_opt_for_the_only_resource_of_an_event_is_one_for_the_event(world):
    ven = await world.ven()
    await ven.offer(usage("res1", "res2"))
    dispatch_id = await world.dispatch(ven, target=Target(resource_ids=("res1",)))
    (event,) = await ven.events()
    await ven.opt(event, IN)
    await for_event(ven, event, **resources("res1"))
    assert (await counts(world, dispatch_id, ven))[0] is OUT


async def test_op05_a_schedule_of_the_only_resource_is_one_of_the_ven(world):
    ven = await world.ven()
    await ven.offer(usage("res1"))
    await create(ven, **schedule(hours=0, duration=Duration.of(hours=9), **resources("res1")))
    assert (await counts(world, await world.dispatch(ven), ven))[0] is OUT


async def test_tr12_a_schedule_cancelled_and_sent_again_is_in_force(any_world):
    ven = await any_world.ven()
    at = any_world.now
    for _ in range(2):
        assert await create(ven, created_at=at, **schedule()) == 200
        assert await live(any_world) == [("o1", "optOut", None)]
        assert (await ven.say(CancelOpt(ven.ven_id, "q", "o1"))).response.code == 200
        assert await live(any_world) == []


@pytest.mark.parametrize("own", [False, True])
async def test_op05_an_empty_target_or_only_the_own_ven_is_the_whole_ven(world, own):
    ven = await world.ven()
    assert await create(ven, **schedule(target=Target(ven_ids=(ven.ven_id,)) if own else EVERYTHING)) == 200
    assert await live(world) == [("o1", "optOut", None)]


async def test_op05_target_criteria_are_ored(world):
    ven = await world.ven()
    await ven.offer(
        usage("boiler", specifier="1", subject=Target(device_classes=("Water_Heater",))),
        usage("meter", specifier="2"),
        usage("car", specifier="3", subject=Target(device_classes=("EVSE",))),
    )
    target = Target(resource_ids=("car",), device_classes=("Water_Heater",))
    assert await create(ven, **schedule(target=target)) == 200
    assert sorted(await live(world)) == [("o1", "optOut", "boiler"), ("o1", "optOut", "car")]


async def test_op06_schedules_replace_what_they_cover_of_their_own_type(any_world):
    world = any_world
    ven = await ven_with(world, "a", "b", "c")
    await create(ven, opt_id="1", **schedule(**resources("a", "b")))
    await create(ven, opt_id="2", **schedule(hours=2, **resources("b", "c")))
    assert await live(world) == [("1", "optOut", "a"), ("2", "optOut", "b"), ("2", "optOut", "c")]
    await create(ven, IN, opt_id="3", **schedule(hours=3))
    assert len(await live(world)) == 4, "optIn and optOut are separate"
    await create(ven, opt_id="4", **schedule(hours=4))
    assert await live(world) == [("3", "optIn", None), ("4", "optOut", None)]


async def test_op06_a_later_schedule_of_the_same_opt_id_replaces_too(world):
    ven = await world.ven()
    await create(ven, **schedule(hours=1))
    await create(ven, **schedule(hours=9))
    assert await live(world) == [("o1", "optOut", None)]


async def test_op07_a_market_context_bounds_a_schedule(any_world):
    world = any_world
    ven = await world.ven()
    here = await world.programme(context="http://host/b")
    there = await world.programme(context="http://host/c")
    await create(ven, **schedule(hours=0, duration=Duration.of(hours=9), market_context="HTTP://Host/a/../b"))
    ids = [await world.dispatch(ven, under=game) for game in (here, there)]
    assert [(await counts(world, one, ven))[0] for one in ids] == [OUT, None]


async def test_op07_schedules_of_different_contexts_do_not_replace_each_other(world):
    ven = await world.ven()
    for number, context in enumerate(("http://host/b", "http://host/c", "http://HOST/b", None)):
        await create(ven, opt_id=f"{number}", **schedule(hours=number, market_context=context))
    assert [one[0] for one in await live(world)] == ["1", "2", "3"]


async def test_op08_create_opt_rules_its_resource_and_created_event_the_rest(any_world):
    world = any_world
    ven, dispatch_id, one = await called(world, "res1", "res2")
    await ven.opt(one, IN)
    await for_event(ven, one, **resources("res1"))
    await ven.opt(one, OUT)
    await ven.opt(one, IN)
    assert (await counts(world, dispatch_id, ven))[0] is IN
    assert await of_resource(world, one, "res1") is OUT
    assert await of_resource(world, one, "res2") is IN
    await for_event(ven, one, IN, opt_id="o2", **resources("res1"))
    assert await of_resource(world, one, "res1") is IN


async def test_op08_create_opt_for_the_whole_ven_outweighs_created_event(world):
    ven, dispatch_id, one = await called(world)
    await ven.opt(one, IN)
    await for_event(ven, one)
    await ven.opt(one, OUT)
    await ven.opt(one, IN)
    assert (await counts(world, dispatch_id, ven))[0] is OUT


async def test_op08_a_modification_does_not_reset_it(world):
    ven, dispatch_id, one = await called(world)
    await for_event(ven, one)
    async with world.tx() as tx:
        await dispatch.change(tx, dispatch_id, world.now, who="test", start=world.now + timedelta(hours=3))
    (new,) = await ven.events()
    await ven.opt(new, IN)
    assert (await counts(world, dispatch_id, ven))[0] is OUT


async def test_op08_an_opt_id_may_be_used_again_and_each_statement_counts(world):
    ven, _, one = await called(world, "res1")
    for opt_type, target, opt_id in (
        (OUT, resources("res1"), "o1"),
        (IN, {}, "o2"),
        (OUT, resources("res1"), "o1"),
        (IN, resources("res1"), "o3"),
        (OUT, resources("res1"), "o1"),
    ):
        assert await for_event(ven, one, opt_type, opt_id=opt_id, **target) == 200
        assert await of_resource(world, one, "res1") is opt_type


async def test_op09_resources_must_be_among_the_events(world):
    ven, _, one = await called(world, target=Target(resource_ids=("res1", "res2")))
    assert await for_event(ven, one, **resources("res1", "res3")) == 462
    assert await world.rows("opt") == []
    assert await for_event(ven, one, **resources("res1")) == 200


@pytest.mark.parametrize(
    "target",
    [
        Target(ven_ids=("another VEN",)),
        Target(group_ids=("g",)),
        Target(resource_ids=("r",), other=(("pnode", "p"),)),
        Target(device_classes=("Sauna",)),
    ],
    ids=["another VEN", "group", "grid", "class of none"],
)
async def test_op09_a_target_that_is_nothing_here_is_refused(world, target):
    ven, _, one = await called(world)
    before = await world.dump()
    assert await for_event(ven, one, target=target) == 462
    assert await create(ven, **schedule(target=target)) == 462
    assert await world.dump() == before


async def test_op10_not_for_events_that_take_no_answer(world):
    ven, _, one = await called(world, rules={"response_required": ResponseRequired.NEVER})
    assert await for_event(ven, one) == 459
    assert await world.rows("opt") == []


async def test_op11_the_device_class_is_anded(world):
    ven = await world.ven()
    await ven.offer(
        usage("boiler", specifier="1", subject=Target(device_classes=("Water_Heater",))),
        usage("car", specifier="2", subject=Target(device_classes=("EVSE",))),
    )
    heaters = {"device_class": Target(device_classes=("Water_Heater",))}
    await create(ven, **schedule(opt_id="all"))
    assert await create(ven, **schedule(), **heaters) == 200
    assert await live(world) == [("all", "optOut", None), ("o1", "optOut", "boiler")]
    assert await create(ven, **schedule(hours=4, opt_id="o2", **resources("boiler", "car")), **heaters) == 200
    assert await live(world) == [("all", "optOut", None), ("o2", "optOut", "boiler")]
    assert await create(ven, **schedule(opt_id="o3", **resources("car")), **heaters) == 462


@pytest.mark.parametrize(
    ("hours", "duration", "expected"),
    [
        (0, HOUR, None),
        (0, Duration.of(hours=1, seconds=1), OUT),
        (1.5, Duration.of(minutes=1), OUT),
        (2, HOUR, None),
        (-100, Duration(), OUT),
    ],
    ids=["ends before", "reaches in", "inside", "begins after", "open-ended"],
)
async def test_op12_a_schedule_speaks_for_events_that_it_covers(world, hours, duration, expected):
    ven = await world.ven()
    await create(ven, **schedule(hours=hours, duration=duration))
    dispatch_id = await world.dispatch(ven)
    assert (await counts(world, dispatch_id, ven))[0] is expected


async def test_op17_what_is_said_of_the_event_itself_comes_before_schedules(world):
    ven = await world.ven()
    await create(ven, **schedule(reason="notParticipating"))
    dispatch_id = await world.dispatch(ven)
    assert await counts(world, dispatch_id, ven) == (OUT, "notParticipating")
    (one,) = await ven.events()
    await ven.opt(one, IN)
    assert await counts(world, dispatch_id, ven) == (IN, None)


async def test_op12_a_schedule_that_was_cancelled_in_time_says_nothing(world):
    ven = await world.ven()
    await create(ven, **schedule())
    dispatch_id = await world.dispatch(ven)
    await ven.say(CancelOpt(ven.ven_id, "q", "o1"))
    assert (await counts(world, dispatch_id, ven))[0] is None


async def test_op13_an_events_opt_is_not_cancelled_by_cancel_opt(world):
    ven, dispatch_id, one = await called(world)
    await for_event(ven, one)
    assert (await ven.say(CancelOpt(ven.ven_id, "q", "o1"))).response.code == 452
    assert (await counts(world, dispatch_id, ven))[0] is OUT


async def test_op14_cancelling_a_superseded_schedule_is_no_error(world):
    ven = await world.ven()
    await create(ven, opt_id="old", **schedule())
    await create(ven, opt_id="new", **schedule(hours=4))
    for _ in range(2):
        assert (await ven.say(CancelOpt(ven.ven_id, "q", "old"))).response.code == 200
    assert await live(world) == [("new", "optOut", None)]


async def test_op15_unknown_ids_are_452(any_world):
    world = any_world
    ven, _, one = await called(world)
    other = await world.ven()
    await create(ven, **schedule())
    before = await world.dump()
    assert (await ven.say(CancelOpt(ven.ven_id, "q", "none such"))).response.code == 452
    assert (await other.say(CancelOpt(other.ven_id, "q", "o1"))).response.code == 452, "another VEN's optID"
    assert (await ven.say(CancelOpt("none such", "q", "o1"))).response.code == 452
    assert await create(ven, event_id="none such", modification_number=0) == 452
    assert await for_event(other, one) == 452
    assert await world.dump() == before


async def test_an_opt_for_another_modification_is_450(world):
    ven, _, one = await called(world)
    assert await create(ven, event_id=one.event.event_id, modification_number=1) == 450
    assert await world.rows("opt") == []


async def test_an_opt_for_an_event_that_is_over_is_452(world):
    ven, _, one = await called(world)
    world.later(hours=3)
    assert await for_event(ven, one) == 452


async def test_tr12_the_same_opt_again_is_no_news(any_world):
    world = any_world
    ven, _, one = await called(world, "a", "b")
    at = world.now
    event_opt = {"created_at": at, **resources("a", "b")}
    await for_event(ven, one, **event_opt)
    await create(ven, created_at=at, **schedule())
    await create(ven, created_at=at, **schedule(hours=5, opt_id="o2"))
    before = await world.dump()
    world.later(seconds=30)
    assert await for_event(ven, one, **event_opt) == 200
    assert await create(ven, created_at=at, **schedule(hours=5, opt_id="o2")) == 200
    assert await create(ven, created_at=at, **schedule()) == 200, "superseded in the meantime"
    assert await world.dump() == before


async def test_ids_too_long_for_the_store_are_454(any_world):
    world = any_world
    ven = await ven_with(world, "r" * 200)
    assert await create(ven, **schedule(opt_id="o" * 201)) == 454
    assert await create(ven, **schedule(**resources("r" * 201))) == 454
    assert await create(ven, **schedule(opt_id="o" * 200, **resources("r" * 200))) == 200


# -- hostile sizes and times


FOR_EVER = Duration.parse("P9999Y")


async def test_op12_a_duration_that_leaves_the_calendar_is_open_ended(any_world):
    world = any_world
    ven = await world.ven()
    assert await create(ven, **schedule(duration=FOR_EVER)) == 200
    dispatch_id = await world.dispatch(ven, starts_in=timedelta(days=300))
    assert (await counts(world, dispatch_id, ven))[0] is OUT
    async with world.db.read() as conn:
        (said,) = await ven_view.opts(conn, ven.ven_id)
    assert said.spans == ((NOON + timedelta(hours=1), None),)


async def test_op12_a_schedule_that_was_stored_before_its_times_were_looked_at_is_survived(world):
    ven = await world.ven()
    old = Opt("o", OUT, "economic", NOON, availability=(Availability(NOON, FOR_EVER),))
    async with world.tx() as tx:
        row = {"ven_id": ven.ven_id, "source": "createOpt", "opt_type": "optOut", "opt_id": "o", "at": NOON}
        await tx.conn.execute(insert(opt_table).values(**row, schedule=to_json(old)))
    dispatch_id = await world.dispatch(ven)
    assert (await counts(world, dispatch_id, ven))[0] is OUT


async def test_a_negative_availability_is_454(world):
    ven = await world.ven()
    assert await create(ven, **schedule(duration=Duration.of(hours=-1))) == 454
    assert await world.rows("opt") == []


async def test_op09_resources_that_the_ven_does_not_have_are_462(world):
    """Thousands of them leave no row, and the answer does not repeat them all."""
    ven, _, one = await called(world, "mine")
    strangers = resources(*(f"stranger {number}" for number in range(3000)), "mine")
    before = await world.dump()
    assert await for_event(ven, one, **strangers) == 462
    assert len(ven.raw) < 2000
    assert await create(ven, **schedule(**strangers)) == 462
    assert len(ven.raw) < 2000
    assert await world.dump() == before


async def test_an_opt_for_many_resources_is_stored_in_proportion_to_its_size(world):
    """Neither the schedule nor a text of any length stands in each of their rows, and statements do not multiply."""
    names = [f"resource {number}" for number in range(1500)]
    ven, _, one = await called(world, *names)
    times = tuple(Availability(NOON + timedelta(days=day), HOUR) for day in range(1000))
    with counted_statements() as statements:
        assert await create(ven, availability=times, **resources(*names)) == 200
        assert await for_event(ven, one, **resources(*names)) == 200
    assert len(statements) < 40
    rows = await world.rows("opt")
    assert len(rows) == 2 * len(names)
    assert sum(row.schedule is not None for row in rows) == 1
    async with world.db.read() as conn:
        said = await ven_view.opts(conn, ven.ven_id, limit=2 * len(names))
    assert {len(each.spans) for each in said if each.event_id is None} == {len(times)}
    assert await create(ven, reason="x-" + "r" * 1000, **schedule(**resources(*names))) == 454
    assert await create(ven, market_context="http://grid/" + "c" * 3000, **schedule(**resources(*names))) == 454
    assert await create(ven, availability=times + times[:1]) == 454


async def test_tr12_a_schedule_that_was_cancelled_and_is_sent_again_is_in_force(world):
    ven = await ven_with(world, "a", "b")
    said = {"created_at": world.now, **schedule(**resources("a", "b"))}
    await create(ven, **said)
    world.later(minutes=1)
    await ven.say(CancelOpt(ven.ven_id, "q", "o1"))
    world.later(minutes=1)
    assert await create(ven, **said) == 200
    assert await live(world) == [("o1", "optOut", "a"), ("o1", "optOut", "b")]
