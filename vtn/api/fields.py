"""The types of fields that operators write: checked in plain words, with the pattern in the schema."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

LAST_YEAR: Final = 2199
"""The last year that the REST API writes (web.model)."""

_PRINTABLE: Final = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\ufffe\uffff]*$"
_URI: Final = r"^[A-Za-z][A-Za-z0-9+.-]*:([A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+(#[A-Za-z0-9._~/?-]*)?$"
_IN_EMAIL: Final = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\u00a1-\ud7ff-]"
_EMAIL: Final = rf"^{_IN_EMAIL}+@{_IN_EMAIL}+$"
_FINGERPRINT: Final = r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){9}$"


def _matching(pattern: str, wanted: str) -> AfterValidator:
    """Return a check that says in plain words what is wanted; the schema has the pattern."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(wanted)
        return text

    return AfterValidator(check)


Printable = Annotated[
    str,
    _matching(_PRINTABLE, "Write one line without control characters."),
    Field(json_schema_extra={"pattern": _PRINTABLE}),
]
"""Text that goes on the wire, and to terminals."""

Uri = Annotated[
    str,
    _matching(_URI, "Write an absolute URI without blanks, such as http://example.com/evening-peak."),
    Field(json_schema_extra={"pattern": _URI}),
]
"""An absolute URI (RFC 3986), without the brackets that only IPv6 addresses need."""

Email = Annotated[
    str,
    _matching(_EMAIL, "Write an e-mail address such as desk@brp.example."),
    Field(json_schema_extra={"pattern": _EMAIL}),
]
"""Where to write to: something before and something after one @. Whether anybody reads it only a letter tells."""

Fingerprint = Annotated[
    str,
    _matching(_FINGERPRINT, "Write a fingerprint such as 51:65:2F:E2:70:00:50:43:B8:C1."),
    Field(json_schema_extra={"pattern": _FINGERPRINT}),
]
"""The last 10 bytes of the SHA-256 of a certificate (SE-06)."""

Number = Annotated[float, Field(ge=-1e12, le=1e12)]
"""A signal's value: up to a terawatt in W, far inside what an xs:float holds."""
