"""Nonces: each counts once, and no more are kept than needed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UnavailableError
from openadr.signature.replay import NonceMemory
from openadr.signature.values import Fault, SignatureError, Verified

NOW = datetime(2025, 3, 30, 0, 59, tzinfo=UTC)
WINDOW = timedelta(seconds=60)


def verified(nonce="n", certificate=b"c", at=NOW):
    return Verified(None, certificate, "method", at, nonce)


def refused(memory, message, now=NOW):
    with pytest.raises(SignatureError) as caught:
        memory.use(message, now)
    return caught.value.fault is Fault.REPLAYED


def test_a_nonce_counts_once_for_each_certificate():
    memory = NonceMemory(WINDOW)
    memory.use(verified(), NOW)
    memory.use(verified(certificate=b"d"), NOW)
    memory.use(verified("m"), NOW)
    assert refused(memory, verified())
    assert refused(memory, verified(at=NOW + WINDOW))  # the time is no way around it


@given(st.lists(st.integers(0, 240), max_size=60))
def test_no_nonce_is_forgotten_while_its_time_is_accepted(steps):
    memory, now, used = NonceMemory(WINDOW), NOW, {}
    for number, step in enumerate(steps):
        now += timedelta(seconds=step)
        for nonce, at in used.items():
            if abs(now - at) <= WINDOW:
                assert refused(memory, verified(nonce, at=at), now)
        used[str(number)] = now + WINDOW  # as far in the future as is accepted
        memory.use(verified(str(number), at=now + WINDOW), now)


def test_more_than_can_be_kept_is_not_taken():
    memory = NonceMemory(WINDOW, most=2)
    memory.use(verified("a"), NOW)
    memory.use(verified("b"), NOW)
    with pytest.raises(UnavailableError):
        memory.use(verified("c"), NOW)
    memory.use(verified("c"), NOW + 4 * WINDOW)
    assert len(memory) == 1
