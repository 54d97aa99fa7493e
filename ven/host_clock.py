"""What the host says about its own clock (Linux)."""

import ctypes
import time
from typing import Final

_UNSYNCHRONISED: Final = 0x40
"""STA_UNSYNC: set at boot and whenever somebody sets the clock, cleared by NTP once it agrees."""


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    ]


def synchronised() -> bool | None:
    """Tell whether the kernel holds its clock to be synchronised; None where it cannot be asked."""
    timex = _Timex()
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not timex.status & _UNSYNCHRONISED


def uptime_s() -> float:
    """Return how long the host has been up."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
