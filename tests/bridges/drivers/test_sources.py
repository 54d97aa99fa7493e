"""Where drivers come from: ours, a household's own templates, packages; and what is wrong with them."""

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import BaseModel

from bridges import drivers
from bridges.connections import ConnectionKind, NoConnection
from bridges.device import DeviceSpec
from bridges.drivers import Origin, load, sources
from core.clock import ManualClock, system_clock
from core.errors import InvalidError

DOCS = Path(__file__).resolve().parents[3] / "docs" / "reference" / "devices.md"
PLUG = "title: A plug\npoints: {power: {topic: a/power}}\n"


def own(tmp_path: Path, name: str, text: str = PLUG) -> Path:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_ours_are_there_and_documented() -> None:
    origins = {name: source.origin for name, source in sources().items()}
    assert origins.pop("iflex") is Origin.MODULE
    assert set(origins.values()) == {Origin.TEMPLATE}
    assert {"senml_meter", "shelly1"} <= set(origins)
    row = r"^\| \[?`(\w+)`(?:\]\(devices/\1\.md\))? \|.*\| `(\w+)` \| a (\w+) \|$"
    rows = re.findall(row, DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(name, source.load().CONNECTION, source.origin) for name, source in sources().items()]


def test_a_household_has_its_own(tmp_path: Path) -> None:
    folder = own(tmp_path, "my_plug.yaml")
    assert sources(folder)["my_plug"].origin is Origin.OWN_TEMPLATE
    module = load("my_plug", folder)
    assert module.CONNECTION is ConnectionKind.MQTT
    device = module.create(DeviceSpec("a", "my_plug", "plug"), NoConnection(), system_clock()).describe()
    assert [point.id for point in device.points] == ["a.power"]
    assert "my_plug" not in sources(tmp_path / "nowhere")
    with pytest.raises(InvalidError, match="There is no driver 'my_plug'"):
        load("my_plug")


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path) -> None:
    folder = own(tmp_path, "my_plug.yaml")
    assert load("my_plug", folder).Options.__doc__ == "A plug"
    own(tmp_path, "my_plug.yaml", PLUG.replace("A plug", "Another"))
    assert load("my_plug", folder).Options.__doc__ == "Another"


@pytest.mark.parametrize("name", ["My-Plug.yaml", "1plug.yaml", ".#plug.yaml", "plug.yml", "README.md"])
def test_a_file_without_a_drivers_name_is_passed_over(tmp_path: Path, name: str) -> None:
    assert sources(own(tmp_path, name)) == sources()
    with pytest.raises(InvalidError, match="small letters, digits and _"):
        load("My-Plug", tmp_path)


def test_a_name_leads_nowhere_else(tmp_path: Path) -> None:
    own(tmp_path, "my_plug.yaml")
    (tmp_path / "inner").mkdir()
    with pytest.raises(InvalidError, match="There is no driver"):
        load("../my_plug", tmp_path / "inner")


def test_of_two_the_one_nearer_to_the_household_counts(tmp_path: Path) -> None:
    """A newer version of ours may bring a driver of a name that a household has given: nothing changes there."""
    folder = own(tmp_path, "shelly1.yaml")
    assert sources(folder)["shelly1"].origin is Origin.OWN_TEMPLATE
    assert load("shelly1", folder).Options.__doc__ == "A plug"
    assert load("shelly1").Options.__doc__ == "Shelly plugs and relays, first generation"


def test_a_template_that_is_gone_is_named(tmp_path: Path) -> None:
    source = sources(own(tmp_path, "my_plug.yaml"))["my_plug"]
    (tmp_path / "my_plug.yaml").unlink()
    with pytest.raises(InvalidError, match="cannot be read"):
        source.load()


def test_a_template_that_is_no_good_harms_only_its_devices(tmp_path: Path) -> None:
    folder = own(own(tmp_path, "my_plug.yaml"), "broken.yaml", "title: [")
    load("my_plug", folder)
    with pytest.raises(InvalidError, match=r"broken\.yaml:1"):
        load("broken", folder)


@pytest.fixture
def packaged(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("some_package_driver")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    point = EntryPoint("heatpump", module.__name__, drivers.ENTRY_POINTS)
    broken = EntryPoint("nothing", "no_such_module_anywhere", drivers.ENTRY_POINTS)
    monkeypatch.setattr(drivers, "_packages", lambda: (point, broken))
    return module


def test_a_package_brings_a_driver(packaged: ModuleType) -> None:
    class Options(BaseModel):
        """A heat pump."""

    packaged.Options, packaged.CONNECTION = Options, None  # type: ignore[attr-defined]
    packaged.create = lambda device, connection, clock: (device, connection, clock)  # type: ignore[attr-defined]
    assert sources()["heatpump"].origin is Origin.PACKAGE
    module = load("heatpump")
    assert module.CONNECTION is None
    spec = DeviceSpec("a", "heatpump", "heat_pump")
    clock = ManualClock(system_clock().now())
    assert module.create(spec, NoConnection(), clock)[0] is spec  # type: ignore[index]


def test_a_package_that_is_no_good_is_named(packaged: ModuleType) -> None:
    with pytest.raises(InvalidError, match="heatpump of a package has no Options, CONNECTION, create"):
        load("heatpump")
    with pytest.raises(InvalidError, match="nothing of a package cannot be imported"):
        load("nothing")
    assert load("shelly1").CONNECTION is ConnectionKind.MQTT
