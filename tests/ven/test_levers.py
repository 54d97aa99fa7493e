"""By what a device's consumption is changed: every capability that stands for watts, in both directions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridges.device import Capability, CapabilityKind, Device
from core.direction import Direction
from ven.household import Step
from ven.levers import best, fit, levers

SWITCH = Capability(CapabilityKind.SWITCH, "on", values=("on", "off"))
LIMIT = Capability(CapabilityKind.IMPORT_LIMIT, 3000.0, "W", low=0.0, high=3000.0, floor=600.0)
KILOWATTS = Capability(CapabilityKind.IMPORT_LIMIT, 3.0, "kW", low=0.0, high=3.0)
AMPERES = Capability(CapabilityKind.CURRENT_LIMIT, 16.0, "A", low=6.0, high=32.0)
DUTY = Capability(CapabilityKind.DUTY, 100.0, "%", low=0.0, high=100.0)
STORAGE = Capability(CapabilityKind.STORAGE_POWER, 0.0, "W", low=-2500.0, high=2000.0)
OFFSET = Capability(CapabilityKind.OFFSET, 0.0, "K", low=-5.0, high=5.0)
REDUCE, INCREASE = Direction.REDUCE, Direction.INCREASE


def device(*capabilities, nominal_w=3000.0):
    return Device("it", "load", (), capabilities, nominal_w)


def told(one, direction, wanted_w, step=None):
    lever = best(levers(one, direction, step), wanted_w)
    if lever is None:
        return None
    settings, change_w = lever.change(wanted_w)
    return {str(each.capability): each.value for each in settings}, pytest.approx(change_w)


@pytest.mark.parametrize(
    ("one", "direction", "wanted_w", "expected"),
    [
        (device(SWITCH), REDUCE, 100.0, ({"switch": "off"}, 3000.0)),
        (device(SWITCH), INCREASE, 100.0, ({"switch": "on"}, 3000.0)),
        (device(LIMIT), REDUCE, 1000.0, ({"import_limit": 2000.0}, 1000.0)),
        (device(LIMIT), REDUCE, 9000.0, ({"import_limit": 600.0}, 2400.0)),
        (device(LIMIT), INCREASE, 9000.0, None),
        (device(KILOWATTS), REDUCE, 1500.0, ({"import_limit": 1.5}, 1500.0)),
        (device(AMPERES, nominal_w=11040.0), REDUCE, 2760.0, ({"current_limit": 12.0}, 2760.0)),
        (device(AMPERES, nominal_w=11040.0), REDUCE, 11040.0, ({"current_limit": 6.0}, 6900.0)),
        (device(DUTY), REDUCE, 750.0, ({"duty": 75.0}, 750.0)),
        (device(STORAGE), REDUCE, 1200.0, ({"storage_power": -1200.0}, 1200.0)),
        (device(STORAGE), REDUCE, 9000.0, ({"storage_power": -2500.0}, 2500.0)),
        (device(STORAGE), INCREASE, 500.0, ({"storage_power": 500.0}, 500.0)),
        (device(STORAGE), INCREASE, 9000.0, ({"storage_power": 2000.0}, 2000.0)),
        # What is finer goes first where it reaches far enough.
        (device(SWITCH, LIMIT), REDUCE, 1000.0, ({"import_limit": 2000.0}, 1000.0)),
        (device(SWITCH, LIMIT), REDUCE, 2900.0, ({"switch": "off"}, 3000.0)),
        (device(OFFSET), REDUCE, 1000.0, None),
    ],
)  # fmt: skip
def test_what_a_device_is_told_for_so_many_watts(one, direction, wanted_w, expected):
    assert told(one, direction, wanted_w) == expected


def test_a_step_of_its_own_says_what_to_tell_and_what_it_brings():
    step = Step(device="it", do={"offset": "-2K"}, changes_w=800)
    assert told(device(OFFSET, SWITCH), REDUCE, 100.0, step) == ({"offset": -2.0}, 800.0)
    nothing = Step(device="it", do={"mode": "eco"}, changes_w=800)
    assert told(device(OFFSET), REDUCE, 100.0, nothing) is None


@given(
    st.sampled_from([SWITCH, LIMIT, KILOWATTS, AMPERES, DUTY, STORAGE]),
    st.sampled_from(Direction),
    st.floats(1, 1e9),
    st.floats(100, 50_000),
)
def test_no_lever_goes_beyond_what_it_may(capability, direction, wanted_w, nominal_w):
    for lever in levers(device(capability, nominal_w=nominal_w), direction):
        settings, change_w = lever.change(wanted_w)
        assert 0 <= change_w <= lever.most_w * (1 + 1e-9)
        assert all(fit(capability, each.value) == each.value for each in settings)
        if lever.scale is not None:
            assert change_w >= min(wanted_w, lever.most_w) * (1 - 1e-9)
