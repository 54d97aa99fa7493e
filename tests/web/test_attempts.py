"""Who guesses has to wait, longer each time; who does not is not held up by others."""

import pytest

from web.attempts import FailureLimit, attempting, network_of
from web.problem import ProblemError


class Time:
    s = 0.0

    def monotonic(self):
        return self.s


@pytest.fixture
def time():
    return Time()


def test_failures_are_counted_per_address_in_bounded_memory(time):
    limit = FailureLimit(max_failures=2, window_s=60, max_addresses=10, monotonic=time.monotonic)
    for number in range(1000):
        limit.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(limit) == 10
    limit.failed("2001:db8::1")
    limit.failed("2001:db8::2")
    assert limit.wait_s("2001:db8::ffff") == 60.0
    assert limit.wait_s("2001:db8:0:1::1") == 0.0
    time.s += 30
    limit.failed("not an address")
    limit.failed("not an address")
    assert limit.wait_s("not an address") == 60.0
    time.s += 31
    assert limit.wait_s("2001:db8::ffff") == 0.0


def test_the_wait_doubles_with_each_failure_up_to_its_longest_and_is_forgotten(time):
    limit = FailureLimit(2, 10.0, monotonic=time.monotonic, longest_s=60.0)
    waits = []
    for _ in range(7):
        limit.failed("a")
        waits.append(limit.wait_s("a"))
        time.s += waits[-1]
    assert waits == [0.0, 10.0, 20.0, 40.0, 60.0, 60.0, 60.0]
    time.s += 60.0
    limit.failed("a")
    assert limit.wait_s("a") == 0.0


def test_attempts_at_the_same_time_are_counted_before_they_are_tried(time):
    limit = FailureLimit(3, monotonic=time.monotonic)
    for _ in range(3):
        attempting([(limit, "a")]).__enter__()
    with pytest.raises(ProblemError) as refused, attempting([(limit, "a")]):
        raise AssertionError
    assert refused.value.status == 429
    assert refused.value.headers == {"Retry-After": "61"}


def test_a_good_attempt_and_one_that_was_not_judged_do_not_count(time):
    limit = FailureLimit(1, monotonic=time.monotonic)
    for _ in range(5):
        with attempting([(limit, "a")]) as attempt:
            attempt.is_good = True
        with pytest.raises(OSError, match="disk"), attempting([(limit, "a")], wrong=KeyError):
            raise OSError("disk")
    with pytest.raises(KeyError), attempting([(limit, "a")], wrong=KeyError):
        raise KeyError
    assert limit.wait_s("a") > 0


def test_one_customer_has_one_network():
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1:2:3") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
