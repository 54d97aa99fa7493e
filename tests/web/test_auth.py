from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from web.attempts import FailureLimit
from web.auth import Authenticator, Principal, Role, hash_token, new_token
from web.problem import ProblemError


class Time:
    def __init__(self):
        self.s = 1000.0

    def monotonic(self):
        return self.s

    def utcnow(self):
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.s - 1000)


class Lookup:
    def __init__(self, *tokens, **more):
        self.by_hash = {hash_token(token): Principal("p1", "Ann", Role.DISPATCHER, **more) for token in tokens}
        self.asked = 0

    async def by_token_hash(self, token_hash):
        self.asked += 1
        return self.by_hash.get(token_hash)


def request(*authorization):
    return make_mocked_request("GET", "/", headers=CIMultiDict([("Authorization", one) for one in authorization]))


async def refused(authenticator, *authorization, status=401):
    with pytest.raises(ProblemError) as caught:
        await authenticator.require(request(*authorization), Role.VIEWER)
    assert caught.value.status == status
    return caught.value


def test_tokens_are_random_and_only_their_hash_tells():
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert token.startswith("evl_")
        assert len(token) == 47
    assert hash_token("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_roles():
    ladder = [Role.VIEWER, Role.DISPATCHER, Role.ADMIN]
    for low, high in pairwise(ladder):
        assert high.includes(low)
        assert not low.includes(high)
    for alone in (Role.BRP, Role.HOUSEHOLD):
        assert [role for role in Role if role.includes(alone)] == [alone]
        assert [role for role in Role if alone.includes(role)] == [alone]


async def test_a_token_is_looked_up_once_until_its_time_or_a_clear():
    token, time = new_token(), Time()
    lookup = Lookup(token)
    authenticator = Authenticator(lookup, cache_s=10, monotonic=time.monotonic, utcnow=time.utcnow)
    for _ in range(3):
        assert (await authenticator.require(request(f"Bearer {token}"), Role.VIEWER)).name == "Ann"
    assert (await authenticator.require(request(f"bearer {token}"), Role.BRP, Role.DISPATCHER)).id == "p1"
    assert lookup.asked == 1
    time.s += 10
    await authenticator.require(request(f"Bearer {token}"), Role.VIEWER)
    assert lookup.asked == 2
    lookup.by_hash.clear()
    await authenticator.require(request(f"Bearer {token}"), Role.VIEWER)
    authenticator.clear()
    await refused(authenticator, f"Bearer {token}")


async def test_an_answer_from_before_a_clear_is_not_kept():
    token = new_token()

    class Racing(Lookup):
        async def by_token_hash(self, token_hash):
            principal = await super().by_token_hash(token_hash)
            self.by_hash.clear()
            authenticator.clear()
            return principal

    authenticator = Authenticator(Racing(token))
    await authenticator.require(request(f"Bearer {token}"), Role.VIEWER)
    await refused(authenticator, f"Bearer {token}")


async def test_the_cache_is_bounded():
    tokens = [new_token() for _ in range(5)]
    lookup = Lookup(*tokens)
    authenticator = Authenticator(lookup, cache_size=2)
    for token in [*tokens, tokens[4], tokens[3]]:
        await authenticator.require(request(f"Bearer {token}"), Role.VIEWER)
    assert lookup.asked == 5
    await authenticator.require(request(f"Bearer {tokens[0]}"), Role.VIEWER)
    assert lookup.asked == 6


async def test_a_token_ends_at_its_expiry_also_out_of_the_cache():
    token, time = new_token(), Time()
    lookup = Lookup(token, expires_at=time.utcnow() + timedelta(seconds=5))
    authenticator = Authenticator(lookup, cache_s=100, monotonic=time.monotonic, utcnow=time.utcnow)
    await authenticator.require(request(f"Bearer {token}"), Role.VIEWER)
    time.s += 5
    assert "expired" in (await refused(authenticator, f"Bearer {token}")).detail
    assert lookup.asked == 1


@pytest.mark.parametrize(
    "authorization",
    [(), ("",), ("Bearer",), ("Bearer ",), ("Basic YTpi",), ("Bearer ünicode",), ("Bearer a", "Bearer b")],
)
async def test_no_token(authorization):
    lookup = Lookup()
    error = await refused(Authenticator(lookup), *authorization)
    assert error.headers == {"WWW-Authenticate": 'Bearer realm="evenload"'}
    assert lookup.asked == 0


async def test_a_malformed_token_costs_no_lookup_and_an_unknown_one_does():
    lookup = Lookup()
    authenticator = Authenticator(lookup)
    error = await refused(authenticator, "Bearer " + "x" * 5000)
    assert 'error="invalid_token"' in error.headers["WWW-Authenticate"]
    assert lookup.asked == 0
    await refused(authenticator, f"Bearer {new_token()}")
    assert lookup.asked == 1


async def test_another_role_is_forbidden():
    token = new_token()
    authenticator = Authenticator(Lookup(token))
    with pytest.raises(ProblemError, match="needs the role admin or brp; your token has the role dispatcher") as caught:
        await authenticator.require(request(f"Bearer {token}"), Role.ADMIN, Role.BRP)
    assert caught.value.status == 403


async def test_failed_attempts_are_limited_but_a_good_token_passes():
    fresh, time = new_token(), Time()
    limit = FailureLimit(max_failures=3, window_s=60, monotonic=time.monotonic)
    authenticator = Authenticator(Lookup(fresh), limit=limit, monotonic=time.monotonic, cache_s=1000)
    for _ in range(3):
        await refused(authenticator, f"Bearer {new_token()}")
    error = await refused(authenticator, f"Bearer {new_token()}", status=429)
    assert error.headers == {"Retry-After": "61"}
    await authenticator.require(request(f"Bearer {fresh}"), Role.VIEWER)
    time.s += 60
    await refused(authenticator, f"Bearer {new_token()}")


@pytest.mark.parametrize("aged", ["by time", "by a clear"])
async def test_who_is_at_work_stays_let_in_when_the_cache_is_old(aged):
    known, time = new_token(), Time()
    lookup = Lookup(known)
    limit = FailureLimit(max_failures=2, window_s=60, monotonic=time.monotonic)
    authenticator = Authenticator(lookup, limit=limit, monotonic=time.monotonic, cache_s=10)
    await authenticator.require(request(f"Bearer {known}"), Role.VIEWER)
    await refused(authenticator, f"Bearer {new_token()}")
    if aged == "by time":
        time.s += 11
    else:
        authenticator.clear()
    await authenticator.require(request(f"Bearer {known}"), Role.VIEWER)
    lookup.by_hash.clear()
    authenticator.clear()
    await refused(authenticator, f"Bearer {known}")
    await refused(authenticator, f"Bearer {known}", status=429)


async def test_over_http(toy):
    response = await toy.client.get("/me")
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="evenload"'
    assert (await response.json())["type"] == "urn:evenload:problem:unauthenticated"
    response = await toy.client.get("/me", headers=toy.bearer(Role.BRP))
    assert (await response.json())["id"] == "p_brp"
    assert (await toy.client.get("/me", headers=toy.bearer(Role.HOUSEHOLD))).status == 403
    assert (await toy.client.get("/me", headers=toy.bearer(Role.ADMIN))).status == 200
    response = await toy.client.post("/kettles", json={"name": "x"}, headers=toy.bearer(Role.VIEWER))
    assert response.status == 403
    assert toy.shelf.kettles == {}


async def test_a_strangers_body_is_not_read(toy):
    response = await toy.client.post("/kettles", data=b"x" * 1_000_000)
    assert response.status == 401
