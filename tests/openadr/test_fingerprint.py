"""The certificate fingerprint (SE-06)."""

import hashlib
import re
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidError
from openadr.fingerprint import fingerprint, fingerprint_of_pem

# The SHA-256 of nothing is a published constant; it ends in 27ae41e4 649b934c a495991b 7852b855.
OF_NOTHING = "93:4C:A4:95:99:1B:78:52:B8:55"


def test_last_ten_bytes_of_the_digest():
    assert fingerprint(b"") == OF_NOTHING
    assert len(OF_NOTHING) == 29


@given(st.binary(min_size=1, max_size=400))
def test_pem_and_der_agree(der):
    expected = fingerprint(der)
    assert re.fullmatch(r"([0-9A-F]{2}:){9}[0-9A-F]{2}", expected)
    assert bytes.fromhex(expected.replace(":", "")) == hashlib.sha256(der).digest()[22:]
    pem = ssl.DER_cert_to_PEM_cert(der)
    other = ssl.DER_cert_to_PEM_cert(b"another")
    assert fingerprint_of_pem(pem.encode()) == expected
    assert fingerprint_of_pem(b"subject=CN\n" + pem.replace("\n", "\r\n").encode() + other.encode()) == expected


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----",
        b"-----END CERTIFICATE----- -----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n*\xff\n-----END CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ],
)
def test_what_is_no_certificate_is_refused(pem):
    with pytest.raises(InvalidError):
        fingerprint_of_pem(pem)
