"""The household file that setup writes is one that check finds good, whatever things are called."""

import pytest
from ruamel.yaml import YAML

from ven.first_file import Chosen, quoted, written
from ven.household_edit import NewDevice
from ven.household_file import load_household

METER = Chosen(NewDevice("meter", "shelly1_meter", "grid_meter", {"id": "shellyem-1"}))
BOILER = Chosen(NewDevice("boiler", "shelly1", "plug", {"id": "shellyplug-s-1"}), ("switch",), 2000.0)
PUMP = Chosen(
    NewDevice("pump", "ems_esp_heat_pump", "heat_pump", {"normal_w": 9000}), ("import_limit", "boost"), 3000.0
)
LAMP = Chosen(NewDevice("lamp", "shelly1", "plug", {"id": "shellyplug-s-2"}), ("switch",))


def loaded(tmp_path, *devices, name="home"):
    path = tmp_path / "household.yaml"
    path.write_text(written(name, "localhost", 1883, devices))
    return load_household(path)


def test_a_meter_counts_and_the_largest_is_shed_first(tmp_path):
    home = loaded(tmp_path, METER, BOILER, PUMP, LAMP)
    (resource,) = home.resources
    assert (resource.id, resource.meter, resource.devices) == ("home", "meter", ("boiler", "pump", "lamp"))
    watts, levels = home.programmes
    assert [step.device for step in watts.shed.order] == ["pump", "boiler"]
    assert levels.levels == {
        1: {"pump": {"import_limit": "-50%"}},
        2: {"pump": {"import_limit": "-50%"}, "boiler": {"switch": "off"}},
        3: {"pump": {"import_limit": "-50%"}, "boiler": {"switch": "off"}},
    }
    assert home.device("boiler").nominal_w == 2000


@pytest.mark.parametrize("devices", [(), (METER,), (LAMP,)])
def test_a_home_without_anything_to_switch_has_no_programmes(tmp_path, devices):
    home = loaded(tmp_path, *devices)
    assert home.programmes == ()
    assert len(home.devices) == len(devices)


@pytest.mark.parametrize("name", ["on", "123", "1e5", "-", "home.1", "a-b_c", "0x1F", "true", "None", "12:30"])
def test_names_are_names(tmp_path, name):
    odd = Chosen(NewDevice(name, "shelly1", "plug", {"id": "shellyplug-s-1"}), ("switch",), 100.0)
    home = loaded(tmp_path, odd, name=name)
    (step,) = home.programmes[0].shed.order
    assert (home.name, home.devices[0].id, step.device) == (name, name, name)
    assert YAML(typ="safe").load(f"[{quoted(name)}]") == [name]
