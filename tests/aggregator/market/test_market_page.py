"""docs/explanation/market.md says what the tables of transitions say."""

import re
from pathlib import Path

from aggregator.trade import activations, offers, requests

PAGE = Path(__file__).parents[3] / "docs" / "explanation" / "market.md"


def test_the_page_lists_every_transition_and_no_other():
    rows = re.findall(r"^\| (request|offer|activation) \| (\w+) \| (\w+) \| (\w+) \|$", PAGE.read_text(), re.MULTILINE)
    tables = {"request": requests.TRANSITIONS, "offer": offers.TRANSITIONS, "activation": activations.TRANSITIONS}
    known = {
        (what, status.value, event.value, reached.value)
        for what, table in tables.items()
        for status, moves in table.items()
        for event, reached in moves.items()
    }
    assert set(rows) == known
    assert len(rows) == len(known)
