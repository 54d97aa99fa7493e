"""Template files: what is good is read, what is wrong is named with its place and what to do."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from bridges.device import CapabilityKind
from bridges.drivers import TEMPLATES
from bridges.template import DeviceBody, Template, meaning
from bridges.yaml_file import FileError
from core.errors import InvalidError
from core.points import Flow, Kind, Phase, Quantity

GOOD = """\
title: A plug
parameters:
  id: {title: Id, description: On its back., example: p1}
  relay: {title: Relay, description: Which., type: integer, low: 0, high: 3, default: 0}
points:
  power: {topic: "p/{id}/power"}
  heat: {topic: "p/{id}/all", path: t.0, quantity: temperature, kind: instant, unit: °C}
capabilities:
  switch:
    values: [on, off]
    normal: off
    state: {topic: "p/{id}/{relay}", words: {true: on, 0: off}}
    set: {topic: "p/{id}/{relay}/set", words: {on: 1}}
silence_s: 600
"""


def template(tmp_path: Path, text: str) -> Template:
    path = tmp_path / "plug.yaml"
    path.write_text(text, encoding="utf-8")
    return Template(path)


def filled(tmp_path: Path, text: str = GOOD, **options: object) -> DeviceBody:
    read = template(tmp_path, text)
    return read.body(read.options.model_validate({"id": "p1"} | options))


def test_parameters_are_filled_in_with_their_types(tmp_path: Path) -> None:
    switch = filled(tmp_path, id="x", relay=2).capabilities[CapabilityKind.SWITCH]
    assert (switch.set.topic, switch.state.topic) == ("p/x/2/set", "p/x/2")
    text = GOOD.replace("normal: off", 'normal: off\n    min_interval_s: "{relay}"')
    assert filled(tmp_path, text, relay=3).capabilities[CapabilityKind.SWITCH].min_interval_s == 3


def test_words_that_yaml_takes_for_something_else_are_words(tmp_path: Path) -> None:
    switch = filled(tmp_path).capabilities[CapabilityKind.SWITCH]
    assert switch.state.words == {"true": "on", "0": "off"}
    assert switch.set.words == {"on": "1"}


def test_a_parameter_may_stand_in_another_and_only_parameters_are_replaced(tmp_path: Path) -> None:
    text = GOOD.replace("  relay:", "  topic: {title: T, description: T., default: 'x/{id}'}\n  relay:").replace(
        'topic: "p/{id}/power"', 'topic: "{topic}/power"'
    )
    assert filled(tmp_path, text).points["power"].topic == "x/p1/power"
    assert filled(tmp_path, text, topic="y/{id}/{other}").points["power"].topic == "y/p1/{other}/power"


def test_what_a_point_is(tmp_path: Path) -> None:
    points = filled(tmp_path).points
    assert meaning("power", points["power"]) == (Quantity.POWER_REAL, Kind.INSTANT, Flow.IMPORT, Phase.TOTAL)
    assert meaning("heat", points["heat"])[:2] == (Quantity.TEMPERATURE, Kind.INSTANT)


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.yaml")), ids=lambda path: path.stem)
def test_our_own_templates_are_good_and_explain_themselves(path: Path) -> None:
    read = Template(path)
    assert read.head.description
    assert YAML(typ="safe").load(path)["title"] == read.head.title
    properties = read.options.model_json_schema()["properties"]
    assert all(rule["title"] and rule["description"] for rule in properties.values())


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("title: A plug", "titel: A plug", 1, "titel: unknown name"),
        ("title: A plug\n", "", 1, "title: is missing"),
        ("low: 0, high: 3, default: 0", "low: 0, high: 3", 4, "give a default, or an example"),
        ("default: 0", "default: 7", 4, "relay: should be less than or equal to 3"),
        ("default: 0", "default: much", 4, "relay"),
        ("type: integer, ", "", 4, "low and high are for numbers"),
        ("example: p1", "pattern: '(', example: p1", 3, "id.pattern: is no regular expression"),
        ("example: p1", "pattern: '^[0-9]+$', example: p1", 3, "id: should have the form"),
        ("  relay:", "  value: {title: V, description: V., default: 1}\n  relay:", 4, "cannot be named value"),
        ("  relay:", "  copy: {title: V, description: V., default: 1}\n  relay:", 4, "cannot be named copy"),
        ("  relay:", "  Big: {title: V, description: V., default: 1}\n  relay:", 4, "Big"),
        ('"p/{id}/power"', '"p/{ident}/power"', 6, "There is no parameter 'ident'; there are id, relay"),
        ('"p/{id}/power"', '"p/+/power"', 6, "points.power.topic"),
        ('"p/{id}/power"', '""', 6, "points.power.topic"),
        ("path: t.0,", "path: t.0, record: x,", 7, "give one of them"),
        ("path: t.0,", "path: t.0, template: '{{ value }}',", 7, "give one of them"),
        ("path: t.0,", "record: x, template: '{{ value }}',", 7, "for JSON, record for SenML"),
        ("path: t.0,", "template: '{{ now() }}',", 7, "The call now() is not understood"),
        ("quantity: temperature, kind: instant, ", "", 7, "heat is none of the usual points"),
        ("kind: instant, ", "", 7, "a quantity needs a kind"),
        ("unit: °C", "unit: W", 7, "Cannot turn W into Cel"),
        ("kind: instant, ", "kind: mean, ", 7, "needs period_s"),
        ("quantity: temperature", "quantity: heat", 7, "points.heat.quantity"),
        ("unit: °C", "unit: °C, scale: 0", 7, "scale is not zero"),
        ("unit: °C", "unit: °C, scale: .nan", 7, "scale"),
        ("unit: °C", "unit: °C, scale: '2'", 7, "scale"),
        ("unit: °C", "unit: °C, qos: 2", 7, "qos"),
        ("switch:", "swich:", 9, "capabilities.swich"),
        ("normal: off", "normal: dim", 9, "normal is one of the values on, off, not dim"),
        ("0: off", "0: dim", 9, "dim is none of the values on, off"),
        ("words: {on: 1}", "words: {dim: 1}", 9, "dim is none of the values"),
        ("words: {on: 1}", "payload: go", 13, "every order would be the same"),
        ("    values: [on, off]\n", "", 9, "normal is one, too"),
        ("silence_s: 600\n", "", 8, "Say how its start is known"),
        ("silence_s: 600", "silence_s: 0", 14, "silence_s"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    with pytest.raises(FileError) as caught:
        template(tmp_path, GOOD.replace(old, new))
    assert any(fault.line == line and words in fault.text for fault in caught.value.faults), str(caught.value)
    assert "plug.yaml" in str(caught.value)


MODE = (
    "title: A\nstarts: [{topic: b}]\ncapabilities: {mode: {values: [a, b], normal: a, "
    "parts: [{state: {topic: t}, set: {topic: s, words: {a: 1, b: 0}}}]}}\n"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: Nothing\n", "give points that are read, or capabilities"),
        ("title: A\npoints:\n  power: {topic: t, record: p}\n  energy: {topic: t}\n", "SenML for one point"),
        (
            "title: A\npoints:\n  power: {topic: t, record: p}\n  energy: {topic: t, record: p}\n",
            "another point already",
        ),
        (
            "title: A\ncapabilities: {import_limit: {normal: 100, state: {topic: t, scale: 10}, set: {topic: s}}}\n",
            "different scales",
        ),
        ("title: A\npresence: {topic: t, online: 1, offline: 1}\npoints: {power: {topic: t}}\n", "different words"),
        (
            (
                "title: A\nstarts: [{topic: b}]\ncapabilities: {setpoint: {normal: 1, state: {topic: t}, "
                "set: {topic: s, lease: '{value} {lease_s}', retain: true}}}\n"
            ),
            "is not retained",
        ),
        ("title: A\nstarts: [{topic: t, offline: a}]\npoints: {power: {topic: t}}\n", "offline needs equals"),
        (
            "title: A\nstarts: [{topic: t, equals: a, offline: a}]\npoints: {power: {topic: t}}\n",
            "offline needs equals",
        ),
        ("- 1\n", "is a mapping"),
        (
            MODE.replace("set: {topic: s, words: {a: 1, b: 0}}", "set: {topic: s, words: {a: 1}}"),
            "for each of the values",
        ),
        (MODE.replace("words: {a: 1, b: 0}", "words: {a: 1, b: 1}"), "the same to all parts"),
        (MODE.replace("{topic: t}", "{topic: t, words: {x: y}}"), "y is no word that the part is told"),
        (MODE.replace("parts:", "set: {topic: s}, parts:"), "parts stand instead of"),
        ("title: A\ncapabilities: {mode: {values: [a, b], normal: a}}\n", "say how it is told"),
        ("title: A\ncapabilities: {notify: {text: true, normal: 1, set: {topic: s}}}\n", "normal is a text"),
        ("title: A\ncapabilities: {notify: {text: true, unit: W, normal: '', set: {topic: s}}}\n", "a text has no"),
        (
            "title: A\ncapabilities: {setpoint: {normal: 1, set: {topic: s, lease: '{value} {lease_s}'}}}\n",
            "a lease needs a state",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FileError, match=words):
        template(tmp_path, text)


@pytest.mark.parametrize("ident", ["a+b", "#", "x\0", "y" * 600])
def test_an_option_does_not_make_a_topic_something_else(tmp_path: Path, ident: str) -> None:
    read = template(tmp_path, GOOD.replace("example: p1", "max_length: 512, example: p1"))
    with pytest.raises((InvalidError, ValidationError)):
        read.body(read.options.model_validate({"id": ident}))


def test_options_are_a_schema(tmp_path: Path) -> None:
    schema: dict[str, Any] = template(tmp_path, GOOD).options.model_json_schema()
    assert schema["required"] == ["id"]
    assert schema["properties"]["relay"]["maximum"] == 3
    json.dumps(schema)
