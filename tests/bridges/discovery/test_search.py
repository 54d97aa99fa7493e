"""What a search asks, and what it does with announcements; tests/ven/test_discover.py searches at a real broker."""

import re
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridges.connections import NoConnection
from bridges.discovery import FoundDevice
from bridges.discovery.collecting import BoundedCollector
from bridges.discovery.homeassistant import SOURCE as HOME_ASSISTANT
from bridges.discovery.search import Search, template_name, template_text
from core.clock import ManualClock
from core.errors import UnavailableError

GRID = {"portal": "c0619ab00112", "instance": 30}


def test_a_template_is_named_after_its_device():
    assert template_name("zigbee2mqtt:0x00158d0001a2b3c4") == "found_zigbee2mqtt_0x00158d0001a2b3c4"


def test_devices_in_other_letters_have_names_of_their_own():
    names = {template_name(f"homeassistant:{name}") for name in ("厨房", "客厅", "Küche", "Kuche", "x" * 90, "x" * 91)}
    assert len(names) == 6


@given(st.text(min_size=1, max_size=300))
def test_every_name_is_one_of_a_driver(key):
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", template_name(key))


@given(st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=5))
def test_a_template_is_read_back_as_it_was(template):
    assert YAML(typ="safe").load(template_text({"points": template})) == {"points": template}


class Line(NoConnection):
    """A connection to nothing that keeps what is asked; `up` False: nothing can be sent."""

    def __init__(self):
        self.up = True
        self.sent = []

    async def publish(self, topic, payload, *_):
        if not self.up:
            raise UnavailableError("away")
        self.sent.append((topic, payload))

    async def subscribe(self, *_):
        pass


class Told(BoundedCollector):
    """A collector that has heard what a test puts into it."""

    def __init__(self):
        super().__init__()
        self.wanted = []

    def questions(self):
        return tuple(self.wanted)


def searching(monkeypatch):
    collector, line = Told(), Line()
    monkeypatch.setattr("bridges.discovery.search.COLLECTORS", (lambda: collector,))
    return Search(line, ManualClock(datetime(2026, 3, 2, 17, 0, tzinfo=UTC))), collector, line


def device(source="victron", name="Meter", driver="victron_grid_meter", template=None, speaks=""):
    options = GRID if driver else {}
    skipped = () if driver or template else (("set point", "Add it by hand."),)
    return FoundDevice(
        f"{source}:meter", source, name, "", "", "grid_meter", driver, options, template, skipped, speaks
    )


async def test_each_question_is_asked_once_and_again_only_if_it_could_not_be_sent(monkeypatch):
    search, collector, line = searching(monkeypatch)
    collector.wanted = [("a/rpc", "1"), ("b/rpc", "1")]
    line.up = False
    await search._look_once(Path())
    line.up = True
    for _ in range(3):
        await search._look_once(Path())
    assert line.sent == [("a/rpc", "1"), ("b/rpc", "1")]


async def test_questions_are_bounded(monkeypatch):
    search, collector, line = searching(monkeypatch)
    collector.wanted = [(f"device-{number}/rpc", "") for number in range(1000)]
    await search._look_once(Path())
    assert len(line.sent) == 300


TEMPLATE = {
    "title": "The same meter",
    "description": "For Home Assistant.",
    "points": {"power": {"topic": "N/c0619ab00112/grid/30/Ac/Power", "path": "value"}},
}


async def test_an_announcement_for_home_assistant_waits_for_the_devices_own(monkeypatch, tmp_path):
    search, collector, _ = searching(monkeypatch)
    collector.put(device(HOME_ASSISTANT, driver=None, template=TEMPLATE))
    await search._look_once(tmp_path)
    collector.put(device())  # what was asked for comes a moment later
    for _ in range(5):
        await search._look_once(tmp_path)
    assert [sight.driver for sight in search.result().sights] == ["victron_grid_meter"]


async def test_one_that_has_no_other_counts(monkeypatch, tmp_path):
    search, collector, _ = searching(monkeypatch)
    collector.put(device(HOME_ASSISTANT, driver=None, template=TEMPLATE))
    for _ in range(5):
        await search._look_once(tmp_path)
    assert [sight.device.source for sight in search.result().sights] == [HOME_ASSISTANT]


async def test_what_cannot_be_used_by_itself_is_not_told_of_where_another_announcement_has_it(monkeypatch, tmp_path):
    search, collector, _ = searching(monkeypatch)
    collector.put(device(driver=None, speaks="N/c0619ab00112/grid/30/"))
    await search._look_once(tmp_path)
    assert [why for _, why in search.result().unusable] == ["Add it by hand."]
    collector.put(device(HOME_ASSISTANT, driver=None, template=TEMPLATE))
    for _ in range(5):
        await search._look_once(tmp_path)
    assert search.result().unusable == ()


async def test_what_is_announced_anew_is_taken(monkeypatch, tmp_path):
    search, collector, _ = searching(monkeypatch)
    for each in (device(driver=None), device(), device(name="Main meter")):
        collector.put(each)
        await search._look_once(tmp_path)
    result = search.result()
    assert [(sight.device.name, sight.driver) for sight in result.sights] == [("Main meter", "victron_grid_meter")]
    assert result.unusable == ()
