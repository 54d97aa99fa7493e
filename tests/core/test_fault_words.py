"""Plain words for what is wrong in a file."""

import re

import pytest

from core.fault_words import fault_words, formed, near_words


@pytest.mark.parametrize(
    ("kind", "text", "words"),
    [
        ("missing", "Field required", "is missing"),
        ("extra_forbidden", "Extra inputs are not permitted", "unknown name"),
        ("value_error", "Value error, the end is before the start", "the end is before the start"),
        ("int_type", "Input should be a valid integer", "should be a whole number"),
        ("string_pattern_mismatch", "String should match pattern '^a$'", "should have the form '^a$'"),
        ("too_short", "Tuple should have at least 1 item after validation, not 0", "should have 1 entry at least"),
        ("too_long", "Dictionary should have at most 5 items after validation, not 9", "should have 5 entries at most"),
    ],
)
def test_words_follow_a_name(kind, text, words):
    assert fault_words(kind, text, {}) == words


def test_what_is_empty_is_said_to_be():
    assert fault_words("string_type", "Input should be a valid string", None) == "is empty"


def test_what_is_wanted_stands_for_a_regular_expression():
    check = formed(re.compile("^a+$").search, "should be a's")
    assert check("aa") == "aa"
    assert check(5) == 5, "that it is no text is said by the type"
    with pytest.raises(ValueError, match="should be a's"):
        check("b")


def test_the_nearest_names_are_proposed_else_those_that_there_are():
    known = ["above", "below", "until"]
    assert near_words("abov", known) == "; do you mean above?"
    assert near_words("zzz", known) == "; there are above, below, until"
    assert near_words("zzz", [f"name{number}x" for number in range(50)]) == ""
    assert near_words("x" * 100_000, ["above"]) == "; there are above"
