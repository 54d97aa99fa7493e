"""Whom an event's target means here: groups, parties, places in the grid, areas on the map."""

import pytest

from bridges.yaml_file import FileError
from openadr.model.event import DeliveredEvent, EventStatus
from openadr.model.signal import Interval, Signal
from openadr.model.target import Target
from openadr.v20b.decode import decode
from openadr.v20b.encode import encode
from openadr.v20b.messages import CreatedEvent, DistributeEvent, OadrResponse, Response
from ven.explain import explain
from ven.household_file import load_household
from ven.rules import targeted
from ven.targets import Targets, names

OURS = {
    "groups": ["north", "Zone 3"],
    "parties": ["dso-7"],
    "aggregated_pnodes": ["LZ_NORTH"],
    "pnodes": ["bus-12"],
    "delivery_points": ["735999000000000017"],
    "meters": ["urn:uuid:9"],
    "transports": [{"receipt": "A", "delivery": "B"}],
    "location": {"latitude": 59.5, "longitude": 18.5},
}
AREA = "59.0 18.0 60.0 18.0 60.0 19.0 59.0 19.0 59.0 18.0"
ELSEWHERE = "49.0 18.0 50.0 18.0 50.0 19.0 49.0 19.0 49.0 18.0"


def grid(criterion, text):
    return Target(other=((criterion, text),))


@pytest.mark.parametrize(
    ("target", "meant"),
    [
        (Target(group_ids=("north",)), True),
        (Target(group_names=("Zone 3",)), True),
        (Target(group_ids=("North",)), False),  # GN-09
        (Target(group_ids=("south", "north")), True),
        (Target(party_ids=("dso-7",)), True),
        (Target(party_ids=("north",)), False),
        (grid("aggregatedPnode", "LZ_NORTH"), True),
        (grid("aggregatedPnode", "bus-12"), False),
        (grid("pnode", "bus-12"), True),
        (grid("pnode", "LZ_NORTH"), False),
        (grid("serviceDeliveryPoint", "735999000000000017"), True),
        (grid("serviceDeliveryPoint", "0735999000000000017"), False),
        (grid("meterAsset", "urn:uuid:9"), True),
        (grid("meterAsset", "urn:uuid:8"), False),
        (grid("transportInterface", "A\nB"), True),
        (grid("transportInterface", "B\nA"), False),
        (grid("serviceArea", AREA), True),
        (grid("serviceLocation", AREA), True),
        (grid("serviceArea", ELSEWHERE), False),
        (Target(other=(("serviceArea", ELSEWHERE), ("serviceArea", AREA))), True),
        (grid("serviceArea", "NaN NaN"), False),
        (grid("pnode", AREA), False),
        (Target(), False),
    ],
)
def test_ev67_a_target_names_what_we_belong_to(target, meant):
    assert names(target, Targets.model_validate(OURS)) is meant
    assert not names(target, Targets())


def test_an_area_beyond_all_sense_is_not_read():
    ours = Targets.model_validate(OURS)
    assert names(grid("serviceArea", f"{AREA} " * 4000), ours) is False
    for count, meant in ((99, True), (100, False)):
        many = tuple(("serviceArea", ELSEWHERE) for _ in range(count))
        assert names(Target(other=(*many, ("serviceArea", AREA))), ours) is meant


@pytest.fixture
def member(variant):
    """A household of which all belongs to `OURS`, and the heater, as a resource, to a group of its own."""
    resources = [
        {"id": "warm", "meter": "meter", "devices": ["heater"], "targets": {"groups": ["heaters"], "meters": ["m-1"]}},
        {"id": "rest", "devices": ["plug"]},
    ]
    return variant(targets=OURS, resources=resources)


@pytest.mark.parametrize(
    ("target", "devices"),
    [
        (Target(group_ids=("north",)), {"meter", "heater", "plug"}),
        (Target(group_ids=("heaters",)), {"heater"}),
        (grid("meterAsset", "m-1"), {"heater"}),
        (Target(group_ids=("heaters",), resource_ids=("rest",)), {"heater", "plug"}),
        (Target(group_ids=("heaters",), device_classes=("Smart_Appliance",)), {"heater", "plug"}),
        (Target(ven_ids=("somebody",), group_ids=("heaters",)), {"heater"}),
        (Target(ven_ids=("somebody",), party_ids=("dso-7",)), {"meter", "heater", "plug"}),
        (Target(group_ids=("south",), party_ids=("dso-8",)), None),
    ],
)
def test_ev67_one_criterion_is_enough(member, target, devices):
    assert targeted(member, target, "ven-1") == (None if devices is None else frozenset(devices))


@pytest.mark.parametrize(
    ("target", "classes", "code"),
    [
        (Target(group_ids=("north",)), (), 200),
        (Target(group_ids=("south",)), (), 462),
        (Target(group_ids=("north",)), ("Water_Heater",), 200),
        (Target(group_ids=("north",)), ("Pool_Pump",), 469),
        (Target(group_ids=("north",)), ("Pool_Pump", "Water_Heater"), 200),
        (Target(group_ids=("heaters",)), ("Smart_Appliance",), 469),
        (Target(group_ids=("south",)), ("Water_Heater",), 462),
        (grid("serviceArea", AREA), (), 200),
        (grid("serviceArea", ELSEWHERE), (), 462),
    ],
)
def test_ev68_event_and_signal_both_have_to_match(benches, member, event, target, classes, code):
    (usual,) = event().signals
    signal = Signal(
        "SIMPLE", "level", "s", (Interval(usual.intervals[0].duration, 3.0),), None, Target(device_classes=classes)
    )
    bench = benches(member).register()
    delivery = DistributeEvent(
        "vtn", "r", (DeliveredEvent(event(target=target, signals=(signal,)), EventStatus.FAR),), Response()
    )
    bench.poll(decode(encode(delivery), strict=True))
    (answer,) = bench.exchange(CreatedEvent, OadrResponse(Response())).event_responses
    assert (answer.code, answer.opt_type) == (code, "optIn" if code == 200 else "optOut")


def test_explain_says_whom_a_target_means(member, event):
    delivered = [
        DeliveredEvent(event(name, target=Target(group_ids=(name,))), EventStatus.FAR) for name in ("heaters", "x")
    ]
    body = encode(DistributeEvent("vtn", "r", tuple(delivered), Response()))
    heaters, strange = explain(member, body, event().created_at, "ven-1")
    assert {order.device for order in heaters.orders} == {"heater"}
    assert (strange.code, strange.orders) == (462, ())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("targets: {groups: ['']}", "groups"),
        ("targets: {groups: north}", "groups"),
        ("targets: {gruops: [north]}", "gruops"),
        ("targets: {location: {latitude: 91, longitude: 0}}", "latitude"),
        ("targets: {location: {latitude: .nan, longitude: 0}}", "latitude"),
        ("targets: {location: {latitude: 9}}", "longitude"),
        ("targets: {transports: [{receipt: A}]}", "delivery"),
        (f"targets: {{groups: [{', '.join(['a'] * 101)}]}}", "groups"),
        (f"targets: {{parties: [{'p' * 201}]}}", "parties"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path, entry, words):
    path = tmp_path / "household.yaml"
    path.write_text(f"version: 1\nname: home\nidentity: id\nstate: s\n{entry}\n", encoding="utf-8")
    with pytest.raises(FileError) as caught:
        load_household(path)
    assert words in str(caught.value)
    assert ":5:" in str(caught.value)
