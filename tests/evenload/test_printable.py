"""Texts of other people made fit for a terminal."""

from evenload.printable import printable


def test_printable():
    assert printable("grüße 🙂\t\x00") == "grüße 🙂??"
