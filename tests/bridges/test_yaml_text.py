"""What is written as YAML is read back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bridges.yaml_text import yaml_text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NAMES = st.text("abc", min_size=1, max_size=4)
ODD = ["?0", "- a", "a: b", "#", "yes", "1", "0x1F", "1e5", "", " ", "{x}", "!t", "&a", "*b", "|", "\u0085"]
VALUES = st.recursive(
    TEXTS | st.booleans() | st.integers(-(10**9), 10**9) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1, max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text", ["?0", "- a", "a: b", "#", "yes", "1", "0x1F", "1e5", "", " ", "{x}", "!t", "&a", "*b", "|", "\u0085"]
)
@pytest.mark.parametrize("flow", [None, True])
def test_odd_texts(text, flow):
    written = yaml_text({"a": {"b": text}, "c": [text]}, flow=flow)
    assert YAML(typ="safe").load(written) == {"a": {"b": text}, "c": [text]}


@pytest.mark.parametrize("text", ["name\tin the kitchen", "back\\slash and more", "\x1f\x1f0 0"])
@pytest.mark.parametrize("flow", [None, True])
def test_long_lines_are_not_broken_behind_an_escape(text, flow):
    values = {"k" * width: [text] for width in range(90, 130)}
    for name, value in values.items():
        assert YAML(typ="safe").load(yaml_text({name: value}, flow=flow)) == {name: value}


@given(st.dictionaries(NAMES, VALUES, max_size=5), st.sampled_from([None, True]))
def test_whatever_is_written_is_read_back(values, flow):
    assert YAML(typ="safe").load(yaml_text(values, flow=flow)) == values


def test_an_entry_is_one_line():
    assert yaml_text({"id": "a", "with": {"x": "b" * 5000}}, flow=True).count("\n") == 1
