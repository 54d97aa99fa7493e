"""Names and texts of the templates that a search writes; tests/ven/test_discover.py searches at a real broker."""

import re

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridges.discovery.search import template_name, template_text


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
