"""OpenADR response codes (2.0b section 8.7) and the error that carries one."""

from enum import IntEnum

from core.errors import EvenloadError


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


class OpenADRError(EvenloadError):
    """A logical fault, answered with its code inside the normal answer on HTTP 200 (GN-11)."""

    def __init__(self, code: Code, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
