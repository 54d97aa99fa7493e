"""What a baseline rests on besides readings and the days that are out of the ordinary."""

from enum import StrEnum


class Need(StrEnum):
    """A field of `metrics.method.Calendar` that a method asks for."""

    AGREED = "agreed"
    CONTROL = "control"
    NOMINATED = "nominated"
    TEMPERATURE = "temperature"
