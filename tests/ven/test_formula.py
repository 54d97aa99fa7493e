"""Formulas of household files are arithmetic, and nothing else."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from ven import formula


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ("value", 3.0, 3.0),
        ("value * 100", 0.6, 60.0),
        (" max(6, value*25) ", 0.1, 6.0),
        ("min(1300, -value, 2)", -5.0, 2.0),
        ("(value - 1) / 2 + 3", 5.0, 5.0),
        ("round(value)", 2.6, 3.0),
        ("abs(+value)", -2.0, 2.0),
        ("1 / value", 0.0, None),
        ("max(6, value)", math.nan, None),
        ("min(6, value)", math.inf, None),
        ("value * 1e308 * 10", 5.0, None),
    ],
)
def test_a_formula_is_worked_out(text, value, result):
    found = formula.read(text).of(value)
    assert found == result if result is None else found == pytest.approx(result)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "power",
        "value ** 9",
        "value.real",
        "value[0]",
        "__import__('os')",
        "max(value)",
        "min(*value)",
        "max(value, 1, key=abs)",
        "'a' * 9",
        "True",
        "value if value else 1",
        "lambda: 1",
        "value; value",
        "value < 1",
        "1j",
        "9" * 400,
        "(" * 99 + "value" + ")" * 99 + "+1" * 20,
        "\0",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(InvalidError, match=r"no formula|at most"):
        formula.read(text)


@given(st.text(alphabet="value0123456789.+-*/(), minaxbsroud", max_size=60), st.floats(allow_nan=False))
def test_no_text_makes_anything_but_a_number(text, value):
    try:
        read = formula.read(text)
    except InvalidError:
        return
    result = read.of(value)
    assert result is None or math.isfinite(result)
