"""Which way consumption changes."""

from enum import StrEnum


class Direction(StrEnum):
    """What is asked of consumption, or offered of it."""

    REDUCE = "reduce"
    INCREASE = "increase"

    @property
    def sign(self) -> int:
        """The sign of the change of consumption: -1 or 1."""
        return -1 if self is Direction.REDUCE else 1

    @property
    def opposite(self) -> "Direction":
        """The other one."""
        return Direction.INCREASE if self is Direction.REDUCE else Direction.REDUCE
