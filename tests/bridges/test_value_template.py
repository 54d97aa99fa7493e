"""Value templates: what publishers announce is understood, everything else is refused by name, and nothing grows.

The templates are of the forms that EMS-ESP 3.7 (src/core/mqtt.cpp), zigbee2mqtt (lib/extension/homeassistant.ts),
zwave-js-ui (api/hass/configurations.ts), OpenMQTTGateway (main/config_mqttDiscovery.h) and Tasmota (xdrv_12) write.
"""

import contextlib
import json
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bridges.template_functions import FILTERS, FUNCTIONS, MOST_TEXT, TESTS
from bridges.value_template import MOST_TEMPLATE, read
from core.errors import InvalidError


@pytest.mark.parametrize(
    ("text", "payload", "value"),
    [
        # EMS-ESP
        ("{{value_json['hpPower'] if value_json['hpPower'] is defined else 0}}", '{"hpPower":2.4}', 2.4),
        ("{{'online' if value_json['hpPower'] is defined else 'offline'}}", "{}", "offline"),
        ("{%if value_json.mode is undefined%}off{%elif value_json.mode=='day'%}heat{%else%}auto{%endif%}", "{}", "off"),
        (
            "{%if value_json.mode is undefined%}off{%elif value_json.mode=='day'%}heat{%else%}auto{%endif%}",
            '{"mode":"day"}',
            "heat",
        ),
        (
            "{{'offline' if value_json.hc1 is undefined or value_json.hc1.mode is undefined else 'online'}}",
            '{"hc1":{"mode":"auto"}}',
            "online",
        ),
        # zigbee2mqtt
        ("{{ value_json.state_l1 }}", '{"state_l1":"ON"}', "ON"),
        ("{{ value_json['update']['state'] == 'available' }}", '{"update":{"state":"idle"}}', False),
        (
            "{% set values = {None:None,'idle':'idle','heat':'heating'} %}{{ values[value_json.running_state] }}",
            '{"running_state":"heat"}',
            "heating",
        ),
        (
            "{% set values = {None:None,'idle':'idle','heat':'heating'} %}{{ values[value_json.running_state] }}",
            '{"running_state":null}',
            None,
        ),
        # zwave-js-ui
        ("{{ value_json.value }}", '{"time":1772470800000,"value":true}', True),
        ('{{ "OFF" if value_json.value == 0 else "ON" }}', '{"value":99}', "ON"),
        ("{{ value_json.value | default('') }}", "{}", None),
        ("{{ value_json.value | round(0) }}", '{"value":98.7}', 99.0),
        # OpenMQTTGateway
        ("{{ value_json.tempc | is_defined }}", '{"tempc":21.5}', 21.5),
        ("{{ value_json.tempc | is_defined }}", "{}", None),
        ("{{ value_json.power | is_defined | float > 0 }}", '{"power":"12"}', True),
        ("{% if value_json.power > 0.02 -%} on {% else %} off {%- endif %}", '{"power":0.01}', "off"),
        ("{% if value_json.get('rssi') -%}home{%- else -%}not_home{%- endif %}", '{"rssi":-70}', "home"),
        # Tasmota and others
        ("{{value_json['ENERGY']['Power']}}", '{"ENERGY":{"Power":[120,130]}}', "refused"),
        ("{{value_json['ENERGY']['Power'][1]}}", '{"ENERGY":{"Power":[120,130]}}', 130.0),
        ("{{ value.split(';')[0] }}", "1234.5;17", 1234.5),
        ("{{ value_json.power | float / 10 }}", '{"power":"235"}', 23.5),
        ("{{ (value | int * 3) % 4 + 1 - -2 }}", "3", 4.0),
        ("{{ 7 // 2 }}", "", 3.0),
        ("{{ value | upper ~ '-' ~ 1 }}", "a", "A-1"),
        ("{{ value in ['on', 'open'] and not value == 'open' }}", "on", True),
        ("{{ 'b' not in value }}", "abc", False),
        ("{{ 'disk' in value_json.disks }}", '{"disks":{"disk":1}}', True),
        ("{{ 3 < value | float <= 5 }}", "5", True),
        ("{{ iif(value_json.heating, 'heat', 'off') }}", '{"heating":false}', "off"),
        ("{{ value_json.a | iif(1, 2, 3) }}", '{"a":null}', 3.0),
        ("{{ float(value, 0) + int('2') }}", "x", 2.0),
        ("{{ [value_json.l1, value_json.l2] | max }}", '{"l1":1,"l2":4}', 4.0),
        ("{{ max(1, 2) - min(1, 2) + [3] | min | abs }}", "", 4.0),
        ("{{ value | replace(',', '.') | trim }}", " 3,5 ", 3.5),
        ("{{ value | multiply(0.001) | add(1) | round(2) }}", "42500", 43.5),
        ("{{ value | multiply(2, none) }}", "x", None),
        ("{{ value | add(2, 7) }}", "x", 7.0),
        ("{{ value | bool }}", "enable", True),
        ("{{ bool(value, 'neither') }}", "maybe", "neither"),
        ("{{ value_json | length }}", "[1,2,3]", 3.0),
        ("{{ value_json is defined }}", "no json", False),
        ("{{ value_json.x is defined }}", "no json", None),
        ("{{ value_json.a is none }}", '{"a":null}', True),
        ("{{ value_json.a is number and value_json.b is string }}", '{"a":1,"b":"c"}', True),
        ("{{ value | is_number }}", "1e3", True),
        ("{{ value | round(2, 'floor') }}", "1.239", 1.23),
        ("{{ value | round(0, 'half') }}", "1.3", 1.5),
        ("{% set x = value_json.a %}{% if x %}{{ x }}{% endif %}", '{"a":5}', 5.0),
        ("{# said of it #}plain", "", "plain"),
    ],
)
def test_what_publishers_announce(text: str, payload: str, value: object) -> None:
    template = read(text)
    if value == "refused":
        with pytest.raises(InvalidError, match="no single value"):
            template.value(payload)
        return
    result = template.value(payload.encode())
    assert (result, type(result)) == (value, type(value))
    assert template.value(payload) == value


@pytest.mark.parametrize("payload", ["None", "unknown", "", "  "])
def test_what_home_assistant_calls_unknown(payload: str) -> None:
    assert read("{{ value }}").value(payload) is None


@pytest.mark.parametrize(
    "text",
    [
        "{{ value_json.a.b }}",
        "{{ value_json.a | float }}",
        "{{ value_json.a + 1 }}",
        "{{ value_json.a > 1 }}",
        "{{ value_json.a | int }}",
        "{{ value_json.a | max }}",
        "{{ value_json.a }}",
        "{{ none }}",
        "{{ 1 if value_json.a }}",
        "{{ value_json.a.get('b') }}",
        "{{ value_json.a.split() }}",
        "{{ value_json.a | to_json }}",
    ],
)
def test_what_is_not_there_makes_the_value_unknown(text: str) -> None:
    assert read(text).value("{}") is None


def test_a_text_with_leading_zeros_is_no_number() -> None:
    assert read("{{ value }}").value("0123") == "0123"
    assert read("{{ value }}").value("0.5") == 0.5
    assert read("{{ value }}").value("-.5") == -0.5


@pytest.mark.parametrize(
    ("text", "payload", "reason"),
    [
        ("{{ 1 / value | int }}", "0", "zero"),
        ("{{ value + 1 }}", "a", "not a number"),
        ("{{ value < 1 }}", "a", "not a number"),
        ("{{ value | float }}", "nan", "not a number"),
        ("{{ value_json }}", "[1]", "no single value"),
        ("{{ value_json == [1] }}", "[1]", "not compared"),
        ("{{ value | max }}", "a", "no list"),
        ("{{ value | length + 1 | length }}", "a", "no length"),
        ("{{ value_json | max }}", json.dumps([1] * 1001), "too long"),
        ("{{ value }}", "x" * (MOST_TEXT + 1), "too long"),
        ("{{ value_json.a }}", '{"a":' + "9" * 60 + "}", "out of range"),
        ("{% set a = value ~ value %}" * 3 + "{% set a = a ~ a %}" * 20 + "{{ a }}", "x" * 100, "too long"),
        ("{{ value | replace('', value) }}", "x" * 100, "too long"),
        ("{{ value_json | to_json }}", json.dumps(["x" * 100] * 100), "too long"),
        ("{{ " + " * ".join(["value | int"] * 40) + " }}", "9999999", "out of range"),
        ("{{ value }}", "x" * 300_000, "too long"),
        ("{{ value.get('a') }}", "x", "no mapping"),
        ("{{ value.split('') }}", "x", "cannot be split"),
        ("{{ value | round(99) }}", "1", "digits"),
        ("{{ value | round(1, 'up') }}", "1", "rounding"),
        ("{{ 1 in value }}", "1", "no text"),
    ],
)
def test_a_payload_that_the_template_cannot_work_with_is_refused(text: str, payload: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        read(text).value(payload)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{% for x in value %}{% endfor %}", "loops"),
        ("{% macro m() %}{% endmacro %}", "macros"),
        ("{% include 'a' %}", "include"),
        ("{% import 'a' as b %}", "imports"),
        ("{% from 'a' import b %}", "imports"),
        ("{% extends 'a' %}", "extends"),
        ("{% block a %}{% endblock %}", "blocks"),
        ("{% set a %}x{% endset %}", "set"),
        ("{% set a, b = 1, 2 %}", "several names"),
        ("{% set ns = namespace(a=1) %}", "namespace"),
        ("{% filter upper %}x{% endfilter %}", "filter"),
        ("{% with a = 1 %}{% endwith %}", "with"),
        ("{% call value() %}{% endcall %}", "call"),
        ("{{ now() }}", "now"),
        ("{{ states('sensor.a') }}", "states"),
        ("{{ value.format(1) }}", "format"),
        ("{{ value.__class__() }}", "__class__"),
        ("{{ (value)()() }}", "this"),
        ("{{ 'x' * 1 if range(9) }}", "range"),
        ("{{ value | regex_replace('a', 'b') }}", "regex_replace"),
        ("{{ value is sameas value }}", "sameas"),
        ("{{ 2 ** 99 }}", "powers"),
        ("{{ value[1:2] }}", "slices"),
        ("{{ entity_id }}", "entity_id"),
        ("{{ value | int(*value) }}", r"\*"),
        ("{{ value | int(1, 2, 3) }}", "arguments"),
        ("{{ value | float(fallback=3) }}", "arguments"),
        ("{{ {value: 1}['a'] }}", "keys"),
        ("{{ 1e999 }}", "out of range"),
        ("{{ " + "9" * 100 + " }}", "out of range"),
        ("{{ value", "no template"),
        ("{{ '\\x' }}", "no template"),
        ("x" * (MOST_TEMPLATE + 1), "too long"),
        ("{{ value" + " + 1" * 900 + " }}", "levels"),
        ("{% if value %}" * 100 + "{% endif %}" * 100, "levels|no template"),
        ("{{ " + "(" * 1900 + "1" + ")" * 1900 + " }}", "no template"),
    ],
)
def test_what_is_refused_is_named(text: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        read(text)


@pytest.mark.parametrize("name", ["__class__", "__init__", "format", "items", "keys", "mro", "real", "_values"])
def test_no_python_object_is_ever_reached(name: str) -> None:
    assert read(f"{{{{ value.{name} is defined or value_json.{name} is defined }}}}").value('{"a":1}') is False
    assert read(f"{{{{ value_json['{name}'] }}}}").value(json.dumps({name: 3})) == 3


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{{ value_json.a.b }}", "a.b"),
        ("{{value_json['ENERGY']['Power'][0]}}", "ENERGY.Power.0"),
        (" {{ value_json.tempc | is_defined }} ", "tempc"),
        ("{{ value }}", ""),
        ("{{value_json['nrg'] if value_json['nrg'] is defined else 0}}", "nrg"),
        (
            "{{value_json['hc1']['t'] if value_json.hc1 is defined and value_json['hc1']['t'] is defined else 0}}",
            "hc1.t",
        ),
        ("{{ value_json['a.b'] }}", None),
        ("{{ value_json }}", None),
        ("{{ value_json.a | float }}", None),
        ("{{ value_json.a if value_json.b is defined else 0 }}", None),
        ("{{ value_json.a if value_json.a is defined or value_json.b is defined else 0 }}", None),
        ("{{ value_json[-1] }}", None),
        ("{{ value_json[value] }}", None),
        ("{{ value_json.a }}{{ value_json.b }}", None),
        ("{{ value_json.a }} W", None),
        ("{% if value %}{% endif %}", None),
    ],
)
def test_the_way_through_json_of_a_template_that_is_no_more(text: str, path: str | None) -> None:
    assert read(text).path == path


@pytest.mark.parametrize(
    ("text", "value", "order", "payload"),
    [
        (
            '{"cmd":{"SetMode":"{{ value }}"}}',
            "Charge",
            '{"cmd":{"SetMode":"Charge"}}',
            '{"cmd":{"SetMode":"{value}"}}',
        ),
        ('{"seltemp": {{ value | float }} }', 21.5, '{"seltemp": 21.5 }', '{"seltemp": {value} }'),
        ("{{ value | int }}", 21.0, "21", "{value}"),
        ("{{ (value | float * 100) | round(0) | int }}", 0.5, "50", None),
        ("{% set cmd = {'data': [['x', value]]} %}{{ cmd | to_json }}", 5.0, '{"data":[["x",5]]}', None),
        ("{{ {'state': value} | tojson }}", "on", '{"state":"on"}', None),
        ("{{ value }}{{ value }}", "a", "aa", None),
        ("{{ value }}{value}", "a", "a{value}", None),
        ("set {{ 'x' if value == 'on' else 'y' }}", "on", "set x", None),
    ],
)
def test_orders(text: str, value: float | str, order: str, payload: str | None) -> None:
    template = read(text)
    assert (template.order(value), template.payload) == (order, payload)


def test_an_order_that_reckons_with_messages_is_refused() -> None:
    with pytest.raises(InvalidError, match="not there"):
        read("{{ value_json.a + 1 }}").order("x")


def test_jinja_is_imported_only_when_a_template_is_read() -> None:
    code = "import bridges.value_template, sys; assert 'jinja2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


_WORDS = [
    *("value", "value_json", "x", "1", "0.5", "'a'", "none", "true", "(", ")", "[", "]", "{", "}", ",", ":", "=", "."),
    *("+", "-", "*", "/", "//", "%", "**", "~", "|", "==", "<", ">=", "in", "is", "not", "and", "or", "if", "else"),
    *(
        "{{",
        "}}",
        "{%",
        "%}",
        "set",
        "endif",
        "elif",
        "endset",
        "for",
        "endfor",
        "raw",
        "-",
        "{#",
        "#}",
        "\n",
        "\\",
        '"',
    ),
    *FILTERS,
    *FUNCTIONS,
    *TESTS,
    *("get", "split", "__class__"),
]
_TEXTS = st.text(max_size=200) | st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join)
_EXPRESSIONS = st.recursive(
    st.sampled_from(["value", "value_json", "value_json.a", "1", "2.5", "'x'", "none", "[1, 2]", "{'a': 1}", "true"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "~", "==", "<", "in", "and"]), inner).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        st.tuples(inner, st.sampled_from(sorted(FILTERS))).map(lambda parts: f"({parts[0]} | {parts[1]})"),
        st.tuples(inner, st.sampled_from(sorted(TESTS))).map(lambda parts: f"({parts[0]} is {parts[1]})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]} | default({parts[1]}))"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]})[{parts[1]}]"),
        st.tuples(inner, inner).map(lambda parts: f"max({parts[0]}, {parts[1]})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]}).get({parts[1]})"),
    ),
    max_leaves=8,
)
_PAYLOADS = st.binary(max_size=60) | st.sampled_from(
    [b'{"a":1}', b'{"a":{"a":"1"}}', b"[1,2]", b"3", b'"x"', b"null", b"1e308", b"[" * 5000, b"9" * 5000, b'{"a":[]}']
)


def _try(text: str, payload: bytes) -> None:
    try:
        template = read(text)
    except InvalidError:
        return
    for work in (lambda: template.value(payload), lambda: template.order(payload.decode("utf-8", "replace"))):
        try:
            result = work()
        except InvalidError:
            continue
        assert result is None or isinstance(result, bool | float | str)
        assert not isinstance(result, str) or len(result) <= MOST_TEXT


@given(_TEXTS, _PAYLOADS)
@example("{{" * 1500, b"")
@example("{%-" * 1300, b"")
@example("{{'" + "\\" * 3900, b"")
@example("{#" * 2000, b"")
@example("{{ value" + ".a" * 1900, b"")
@example("{{ value" + "|int" * 900 + "}}", b"1")
@example("{{ " + "not " * 900 + "1 }}", b"1")
@example("{{ " + "[" * 1900, b"1")
@example("{{" + "1if 1else " * 390 + "1}}", b"1")
@example("{% set a = [a, a] %}" * 190 + "{{ a | to_json }}", b"1")
def test_no_text_does_anything_but_work_or_be_refused(text: str, payload: bytes) -> None:
    _try(text, payload)


@given(_EXPRESSIONS, _PAYLOADS)
def test_no_expression_does_anything_but_work_or_be_refused(expression: str, payload: bytes) -> None:
    _try(f"{{{{ {expression} }}}}", payload)


# -- Jinja itself as the oracle, for what Home Assistant leaves as it is

_AS_IN_JINJA = ["abs", "default", "length", "lower", "upper", "trim", "string", "capitalize"]
_JINJAS_TESTS = sorted(set(TESTS) - {"is_number"})
_SHARED = st.recursive(
    st.sampled_from(
        [
            *("value", "value_json", "value_json.a", "value_json.b", "value_json.c", "value_json.a.b", "none", "true"),
            *("1", "2.5", "0", "'x'", "'Ab c'", "''", "[1, 2]", "{'a': 1}", "false"),
        ]
    ),
    lambda inner: st.one_of(
        st.tuples(
            inner, st.sampled_from([*"+-*/~<>", "%", "//", "==", "!=", "<=", ">=", "in", "not in", "and", "or"]), inner
        ).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"),
        st.tuples(inner, st.sampled_from(_AS_IN_JINJA)).map(lambda parts: f"({parts[0]} | {parts[1]})"),
        st.tuples(inner, st.sampled_from(["is", "is not"]), st.sampled_from(_JINJAS_TESTS)).map(
            lambda parts: f"({parts[0]} {parts[1]} {parts[2]})"
        ),
        inner.map(lambda part: f"(not {part})"),
        inner.map(lambda part: f"(-{part})"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]} else {parts[2]})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]} if {parts[1]})"),
        st.tuples(inner, inner).map(lambda parts: f"({parts[0]} | default({parts[1]}, true))"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} | replace({parts[1]}, {parts[2]}))"),
        st.tuples(inner, st.sampled_from(["0", "-1", "'a'", "'b'"])).map(lambda parts: f"({parts[0]})[{parts[1]}]"),
        st.tuples(inner, inner, inner).map(lambda parts: f"({parts[0]} < {parts[1]} <= {parts[2]})"),
    ),
    max_leaves=6,
)
_SHARED_TEMPLATES = _SHARED.map(lambda part: f"{{{{ {part} }}}}") | st.tuples(_SHARED, _SHARED, _SHARED, _SHARED).map(
    lambda parts: (
        f"{{% if {parts[0]} %}}{{{{ {parts[1]} }}}}{{% elif {parts[2]} %}} x "
        f"{{% else %}}{{% set y = {parts[3]} %}}{{{{ y }}}}{{% endif %}}{{{{ y }}}}"
    )
)


@given(
    _SHARED_TEMPLATES,
    st.sampled_from(
        ['{"a":1,"b":"text","c":null}', '{"a":{"b":[1,"2"]},"b":2.5,"c":true}', "{}", "3", '"s"', "no", "[1,2]", "null"]
    ),
)
def test_what_is_worked_out_is_what_jinja_renders(text: str, payload: str) -> None:
    values: dict[str, object] = {"value": payload}
    with contextlib.suppress(ValueError):
        values["value_json"] = json.loads(payload)
    try:
        rendered = ImmutableSandboxedEnvironment().from_string(text).render(values).strip()
    except (UndefinedError, TypeError, ValueError, ArithmeticError):
        expected = None  # Home Assistant logs an error, and the state stays unknown
    else:
        expected = read("{{ value }}").value(rendered)
    try:
        result = read(text).value(payload)
    except InvalidError as error:
        # Stricter on purpose: lists are no values, and texts are neither multiplied nor formatted.
        stricter = "mapping" in str(error) or ("not a number" in str(error) and ("*" in text or "%" in text))
        assert expected is None or stricter
    else:
        assert result == expected
