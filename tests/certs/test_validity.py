"""The span of a certificate as read by hand is that which the library reads."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from certs.keys import common_name, new_key
from certs.validity import validity_of_file, validity_of_pem
from core.errors import InvalidError, NotFoundError

KEY = new_key("ec")
TIMES = st.datetimes(datetime(1951, 1, 1), datetime(9990, 1, 1)).map(lambda one: one.replace(microsecond=0, tzinfo=UTC))  # noqa: DTZ001  made aware


@settings(max_examples=30)
@given(start=TIMES, life=st.integers(1, 3650), name=st.text("abcä🏠", min_size=1, max_size=16))
def test_it_reads_what_the_library_reads(start, life, name):
    end = start + timedelta(days=life)
    builder = x509.CertificateBuilder().subject_name(common_name(name)).issuer_name(common_name(name))
    builder = builder.public_key(KEY.public_key()).serial_number(x509.random_serial_number())
    made = builder.not_valid_before(start).not_valid_after(end).sign(KEY, hashes.SHA256())
    found = validity_of_pem(made.public_bytes(Encoding.PEM).decode())
    assert (found.start, found.end) == (made.not_valid_before_utc, made.not_valid_after_utc)
    assert found.renew_at == start + (end - start) * 2 / 3


@pytest.mark.parametrize("name", ["ä" * 33, "🏠" * 17, "a" * 65, "\ud800", ""])
def test_a_name_that_is_too_long_for_a_certificate_is_refused(name):
    with pytest.raises(InvalidError, match="certificate's name"):
        common_name(name)


@given(raw=st.binary(max_size=200))
def test_whatever_is_no_certificate_is_refused(raw):
    text = f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(raw).decode()}\n-----END CERTIFICATE-----\n"
    with pytest.raises(InvalidError):
        validity_of_pem(text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"none\.pem"):
        validity_of_file(tmp_path / "none.pem")
