"""A bucket of requests for each caller."""

import pytest

from web.limits import RateLimit
from web.problem import ProblemError


class Time:
    def __init__(self):
        self.s = 100.0

    def monotonic(self):
        return self.s


def test_a_bucket_empties_and_fills():
    time = Time()
    limit = RateLimit(3, 60, monotonic=time.monotonic)
    lines = [limit.take("a") for _ in range(3)]
    assert [one["RateLimit"] for one in lines] == ['"default";r=2;t=20', '"default";r=1;t=40', '"default";r=0;t=60']
    assert lines[0]["RateLimit-Policy"] == '"default";q=3;w=60'
    with pytest.raises(ProblemError) as caught:
        limit.take("a")
    assert caught.value.status == 429
    assert caught.value.headers["Retry-After"] == "20"
    assert caught.value.headers["RateLimit"] == '"default";r=0;t=60'
    limit.take("b")
    time.s += 19
    with pytest.raises(ProblemError) as caught:
        limit.take("a")
    assert caught.value.headers["Retry-After"] == "1"
    time.s += 1
    limit.take("a")
    time.s += 10_000
    assert limit.take("a")["RateLimit"] == '"default";r=2;t=20'


def test_the_number_of_callers_is_bounded():
    limit = RateLimit(1, max_callers=10)
    for number in range(1000):
        limit.take(str(number))
    assert len(limit) == 10
