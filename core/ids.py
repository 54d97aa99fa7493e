"""Opaque ids. An id is text that is compared byte for byte and never parsed."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def new_id(prefix: str) -> str:
    """Return a fresh id such as `evt_01k8...`: 48 bits of machine time, then 80 random bits.

    Ids made later sort after ids made earlier (to the millisecond), which keeps database indexes dense.
    """
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    digits = []
    for _ in range(26):
        number, digit = divmod(number, 32)
        digits.append(_ALPHABET[digit])
    return f"{prefix}_{''.join(reversed(digits))}"


def new_code(groups: int = 4, size: int = 4) -> str:
    """Return a one-time code for people to type, such as `7KQ2-M9XA-3TDP-8WLC`: 5 bits a character, 80 in all.

    So many cannot be found from a stored hash either.
    """
    return "-".join("".join(secrets.choice(_CODE_ALPHABET) for _ in range(size)) for _ in range(groups))
