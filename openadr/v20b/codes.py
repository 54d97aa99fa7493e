"""OpenADR response codes (2.0b section 8.7), and the error that carries one."""

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Final

from core.errors import EvenloadError, Reason


class Code(IntEnum):
    """Application-layer response codes. Second digit 5: compliance; 6: deployment."""

    OK = 200
    OUT_OF_SEQUENCE = 450
    NOT_ALLOWED = 451
    INVALID_ID = 452
    NOT_RECOGNISED = 453
    INVALID_DATA = 454
    COMPLIANCE = 459
    SIGNAL_NOT_SUPPORTED = 460
    REPORT_NOT_SUPPORTED = 461
    TARGET_MISMATCH = 462
    NOT_REGISTERED = 463
    DEPLOYMENT = 469


CODES: Final[Mapping[Reason, Code]] = MappingProxyType(
    {
        Reason.OUT_OF_SEQUENCE: Code.OUT_OF_SEQUENCE,  # EV-48, EV-56
        Reason.NOT_ALLOWED: Code.NOT_ALLOWED,  # EV-34
        Reason.UNKNOWN_ID: Code.INVALID_ID,  # GN-08, EV-48, OP-15, RP-55, RG-11
        Reason.NOT_OFFERED: Code.INVALID_ID,  # RP-20, RP-55
        Reason.INVALID_DATA: Code.INVALID_DATA,  # RP-27, RP-30
        Reason.TOO_LONG: Code.INVALID_DATA,
        Reason.BREAKS_A_RULE: Code.COMPLIANCE,  # OP-02, OP-10, RP-05, RP-07, RP-26
        Reason.NOT_SERVED: Code.COMPLIANCE,  # RG-04
        Reason.SIGNAL_NOT_SUPPORTED: Code.SIGNAL_NOT_SUPPORTED,  # EV-51
        Reason.REPORT_NOT_SUPPORTED: Code.REPORT_NOT_SUPPORTED,  # RP-20
        Reason.TARGET_MISMATCH: Code.TARGET_MISMATCH,  # EV-49, EV-50, OP-09
        Reason.NOT_REGISTERED: Code.NOT_REGISTERED,  # SE-07, RG-14
        Reason.NO_RESOURCE: Code.DEPLOYMENT,  # EV-52
    }
)
"""Our reasons in OpenADR 2.0's terms (2.0b section 8.7), with the rules of the catalogue that ask for the code."""


class OpenADRError(EvenloadError):
    """A logical fault, answered with its code inside the normal answer on HTTP 200 (GN-11)."""

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


def fault_of(error: EvenloadError) -> OpenADRError:
    """Return an error in OpenADR's terms: itself if it carries a code, else the code of its reason."""
    return error if isinstance(error, OpenADRError) else OpenADRError(CODES[error.reason], str(error))
