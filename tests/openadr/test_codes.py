"""Every reason has its code, and every error a reason."""

import pytest

from core.errors import (
    ConflictError,
    EvenloadError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from openadr.v20b.codes import CODES, Code, OpenADRError, fault_of


def test_every_reason_has_a_code():
    assert set(CODES) == set(Reason)
    assert Code.OK not in CODES.values()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidError("no"), 454),
        (NotFoundError("no"), 452),
        (ConflictError("no"), 451),
        (ForbiddenError("no"), 463),
        (UnavailableError("no"), 454),
        (ConflictError("no", reason=Reason.OUT_OF_SEQUENCE), 450),
        (InvalidError("no", reason=Reason.NOT_OFFERED), 452),
        (NotFoundError("no", reason=Reason.TARGET_MISMATCH), 462),
    ],
    ids=repr,
)
def test_an_error_is_answered_with_the_code_of_its_reason(error, code):
    fault = fault_of(error)
    assert (fault.code, fault.description) == (code, "no")


def test_an_error_with_a_code_keeps_it():
    fault: EvenloadError = OpenADRError(Code.NOT_RECOGNISED, "what?")
    assert fault_of(fault) is fault
