"""Passwords: what is stored, what matches, what is refused."""

import base64

import pytest

from core.errors import InvalidError
from vtn.services.passwords import PasswordCheck, hash_password, password_matches

GOOD = "correct horse battery"


def test_the_same_password_is_stored_differently_each_time():
    first, second = hash_password(GOOD), hash_password(GOOD)
    assert first != second
    assert GOOD not in first
    assert password_matches(GOOD, first)
    assert password_matches(GOOD, second)
    assert not password_matches(GOOD + " ", first)


def test_other_ways_to_type_the_same_letters_match():
    assert password_matches("Zu\u0308rich ist sch\u00f6n", hash_password("Z\u00fcrich ist scho\u0308n"))


@pytest.mark.parametrize("bad", ["short", "x" * 201, "a long one with\nline break"])
def test_bad_passwords_are_refused(bad):
    with pytest.raises(InvalidError, match="A password has"):
        hash_password(bad)


@pytest.mark.parametrize(
    "stored",
    [None, "", "scrypt", "scrypt$14$8$5$YQ==$YQ==", "scrypt$99$8$1$YQ==$" + "A" * 44, "plain$14$8$5$YQ==$" + "A" * 44,
     "scrypt$x$8$5$YQ==$" + "A" * 44, "scrypt$14$8$5$$" + "A" * 44],
)  # fmt: skip
def test_nothing_matches_what_is_no_hash(stored):
    assert not password_matches("anything at all", stored)
    assert not password_matches("", stored)


def test_a_published_vector_matches():
    """RFC 7914, section 12: N = 16384, r = 8, p = 1, its first 32 bytes."""
    key = bytes.fromhex("7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2")
    salt, known = (base64.b64encode(raw).decode() for raw in (b"SodiumChloride", key))
    assert password_matches("pleaseletmein", f"scrypt$14$8$1${salt}${known}")
    assert not password_matches("pleaseletmeIn", f"scrypt$14$8$1${salt}${known}")


async def test_checking_happens_beside_the_loop():
    check = PasswordCheck()
    stored = await check.hash(GOOD)
    assert await check.matches(GOOD, stored)
    assert not await check.matches("another good guess", stored)
