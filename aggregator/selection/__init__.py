"""Whom to call: `select` before an event, `correct` each minute of it. Pure arithmetic on a Fleet, no clock, no SQL."""

from aggregator.selection.loop import Call, Member, Members, Moves, Release, Why, correct
from aggregator.selection.partial import stepped
from aggregator.selection.selecting import greedy, select
from aggregator.selection.target import Ask, Choice

__all__ = [
    "Ask",
    "Call",
    "Choice",
    "Member",
    "Members",
    "Moves",
    "Release",
    "Why",
    "correct",
    "greedy",
    "select",
    "stepped",
]
