"""Errors, typed once. Edges map reasons to OpenADR's response codes, types to problem documents (RFC 9457)."""

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why a request is refused, in no protocol's terms. `openadr.v20b.codes` has OpenADR 2.0b's code for each."""

    UNKNOWN_ID = "unknown id"
    """Nothing here has that id, or it is not the caller's."""
    OUT_OF_SEQUENCE = "out of sequence"
    """It is about another modification than the present one."""
    NOT_ALLOWED = "not allowed"
    """It contradicts the present state."""
    NOT_OFFERED = "not offered"
    """It names what nobody offered."""
    INVALID_DATA = "invalid data"
    """A value is out of its range."""
    TOO_LONG = "too long"
    """A text, or a list, is longer than what is kept."""
    BREAKS_A_RULE = "breaks a rule"
    """The parts of the message do not fit each other."""
    NOT_SERVED = "not served"
    """It asks for a way of speaking that is not served here."""
    SIGNAL_NOT_SUPPORTED = "signal not supported"
    REPORT_NOT_SUPPORTED = "report not supported"
    TARGET_MISMATCH = "target mismatch"
    """Its target is nothing here."""
    NOT_REGISTERED = "not registered"
    """The caller is unknown, or may not say this."""
    NO_RESOURCE = "no resource"
    """A signal's target names no resource here."""


class EvenloadError(Exception):
    """Base of every error that a user or a peer can cause. Its text is written for that person.

    `field` names what of the request it is about, where that is one thing; `reason` is why it is refused, the usual one
    of the error's type unless another is given.
    """

    usual_reason: ClassVar[Reason] = Reason.INVALID_DATA

    def __init__(self, text: str = "", *, field: str | None = None, reason: Reason | None = None) -> None:
        super().__init__(text)
        self.field = field
        self.reason = reason or self.usual_reason


class InvalidError(EvenloadError):
    """The value is malformed or breaks a rule; sending it again unchanged will fail again."""


class NotFoundError(EvenloadError):
    """Nothing has that id."""

    usual_reason = Reason.UNKNOWN_ID


class ConflictError(EvenloadError):
    """The request contradicts the present state (a duplicate, a lost race, a past that cannot be changed)."""

    usual_reason = Reason.NOT_ALLOWED


class ForbiddenError(EvenloadError):
    """The caller is known but may not do this."""

    usual_reason = Reason.NOT_REGISTERED


class UnavailableError(EvenloadError):
    """A resource that we depend on (disk, database, broker, peer) does not answer now; trying later can help."""


class UnfinishedError(UnavailableError):
    """A part is done and stays so; the same request again completes it."""
