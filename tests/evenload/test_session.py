"""What a session prints: nothing that a terminal would obey goes through."""

import pytest

from core.errors import InvalidError
from evenload import cli
from evenload.session import Session

HOSTILE = "home\x9b31m\x1b[2J\u202e"
SHOWN = "home?31m?[2J?"


@pytest.fixture
def session():
    return Session("https://vtn.example", "evl_x", None)


@pytest.mark.parametrize("rows", [[], [{"value": HOSTILE}]], ids=["none", "some"])
def test_the_title_of_a_listing_is_harmless(session, rows, capsys):
    session.parts({}, (HOSTILE, rows, ("value",)))
    printed = capsys.readouterr().out
    assert printed.startswith(f"{SHOWN}:")
    assert not {"\x9b", "\x1b", "\u202e"} & set(printed)


def test_a_result_of_several_lines_is_harmless_and_keeps_its_lines(session, capsys):
    session.tell({}, f"one\n{HOSTILE}")
    assert capsys.readouterr().out == f"one\n{SHOWN}\n"


def test_an_error_that_quotes_a_foreign_text_is_harmless(monkeypatch, capsys):
    def refuse(_arguments):
        raise InvalidError(f"one\n{HOSTILE}")

    monkeypatch.setattr(cli, "app", refuse)
    with pytest.raises(SystemExit):
        cli.main([])
    assert capsys.readouterr().err == f"evenload: one\n{SHOWN}\n"
