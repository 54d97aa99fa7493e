"""Whom to call: `select` before an event, `correct` each minute of it. Pure arithmetic on a Fleet, no clock, no SQL."""

from aggregator.selection.ask import Ask, Choice
from aggregator.selection.choosing import greedy, select
from aggregator.selection.loop import Call, Member, Members, Moves, Release, Why, correct

__all__ = ["Ask", "Call", "Choice", "Member", "Members", "Moves", "Release", "Why", "correct", "greedy", "select"]
